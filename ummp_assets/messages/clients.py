"""kafka-python clients with the deployment's address, security and time limits.

A broker that cannot be reached raises `BrokerUnavailable`, which names the address and what to do, within
`kafka_timeout_seconds` instead of kafka-python's 30 seconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import (
    AuthorizationError,
    KafkaConfigurationError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
)

from ummp_assets.errors import BrokerRefused, BrokerUnavailable, InvalidSettings
from ummp_assets.settings import Settings

__all__ = ["broker_errors", "close_producer", "make_admin", "make_consumer", "make_producer", "set_retry_backoff"]

_MAX_REQUEST_BYTES = 32 * 2**20


def make_admin(settings: Settings) -> KafkaAdminClient:
    """Return an admin client, usable in a `with` statement; raises `BrokerUnavailable`."""
    return _connect(KafkaAdminClient, settings)


def make_consumer(settings: Settings, *topics: str, **options: Any) -> KafkaConsumer:
    """Return a consumer that never commits by itself and reads committed messages only; raises `BrokerUnavailable`.

    Parameters
    ----------
    options:
        kafka-python options that win over these defaults.
    """
    defaults = {
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "auto_offset_reset": "none",
        "max_partition_fetch_bytes": 4 * 2**20,
        "fetch_max_wait_ms": 100,
        "retry_backoff_ms": 10,
    }
    consumer = _connect(KafkaConsumer, settings, *topics, **{**defaults, **options})
    set_retry_backoff(consumer, consumer.config["retry_backoff_ms"])
    return consumer


def set_retry_backoff(consumer: KafkaConsumer, milliseconds: int) -> None:
    """Set how long a consumer that has nothing to fetch waits before it asks for metadata again.

    kafka-python 3.0 keeps this setting from its metadata: 100 ms pass before a consumer asks for that of the partitions
    it was just given, more than half of the time in which a batch of 4,000 messages is read.
    """
    consumer.config["retry_backoff_ms"] = consumer._cluster.config["retry_backoff_ms"] = milliseconds


def make_producer(settings: Settings, **options: Any) -> KafkaProducer:
    """Return an idempotent producer that waits for all replicas; raises `BrokerUnavailable`.

    Parameters
    ----------
    options:
        kafka-python options that win over the defaults, e.g. `transactional_id`.
    """
    defaults = {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": 5,
        "batch_size": 256 * 1024,
        "compression_type": "zstd",
        "max_request_size": _MAX_REQUEST_BYTES,
    }
    return _connect(KafkaProducer, settings, **{**defaults, **options})


def close_producer(producer: KafkaProducer, timeout_seconds: float) -> None:
    """Close a producer within about twice the limit, whether the broker still answers or not."""
    try:
        producer.close(timeout=timeout_seconds)
    except KafkaTimeoutError:
        # Without a broker, close() of kafka-python 3.0 gives up before it ends its thread.
        producer._sender.force_close()
        producer._sender.join(timeout_seconds)
        producer.close(timeout=0)


@contextmanager
def broker_errors(settings: Settings) -> Iterator[None]:
    """Turn the loss of the broker in mid-work into `BrokerUnavailable`, and a refusal into `BrokerRefused`."""
    try:
        yield
    except (AuthorizationError, SaslAuthenticationFailedError) as error:
        raise BrokerRefused(settings.bootstrap_servers, error) from error
    except (KafkaConnectionError, KafkaTimeoutError) as error:
        raise BrokerUnavailable(settings.bootstrap_servers, error) from error


def _connect(client: Any, settings: Settings, *topics: str, **options: Any) -> Any:
    servers = settings.bootstrap_servers
    limits = {"bootstrap_timeout_ms": int(settings.kafka_timeout_seconds * 1000)}
    merged = {**limits, **settings.kafka_client, **options, "bootstrap_servers": servers.split(",")}
    try:
        return client(*topics, **merged)
    except (TypeError, ValueError, KafkaConfigurationError) as error:
        raise InvalidSettings(f"UMMP_KAFKA_BOOTSTRAP_SERVERS={servers} or UMMP_KAFKA_CLIENT: {error}") from error
    except (AuthorizationError, SaslAuthenticationFailedError) as error:
        raise BrokerRefused(servers, error) from error
    except KafkaError as error:
        raise BrokerUnavailable(servers, error) from error
