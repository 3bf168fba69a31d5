"""Model parameters out of a training process.

publish_parameters("translator", round=3, arrays=weights, worker="gpu-1", samples=50_000, workers=8)
"""

import time
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy.typing as npt
from kafka.errors import KafkaError, RetriableError

from ummp_assets.errors import BrokerUnavailable, InvalidInput
from ummp_assets.messages.clients import make_producer
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets.training.packing import pack, split

__all__ = ["ParametersRole", "publish_parameters"]

ParametersRole = Literal["local", "global"]

_DELIVERY_SECONDS = 120.0
_CLOSE_SECONDS = 10.0


def publish_parameters(
    model: str,
    round: int,  # noqa: A002 - the word of the field and of the literature
    arrays: Mapping[str, npt.ArrayLike],
    *,
    worker: str,
    samples: int,
    role: ParametersRole = "local",
    workers: int | None = None,
    settings: Settings | None = None,
) -> None:
    """Publish a model's parameters and return once the broker has stored them.

    Publishing the same again changes nothing; publishing others for the same round and worker replaces the first.

    Parameters
    ----------
    round:
        Round of federated training, at least 0.
    arrays:
        Parameters by name, any shape.
    worker:
        Name of this process, unique within the round.
    samples:
        How many samples the parameters were trained on in this round, at least 1: their weight in the average.
    role:
        `local` parameters are averaged, `global` ones are the average.
    workers:
        How many workers send parameters in this round. Where it is not stated, a round is averaged as soon as a batch
        holds any parameters of it.

    Raises
    ------
    InvalidInput
        An argument is impossible.
    BrokerUnavailable
        The broker did not store everything in time; the call can be repeated.
    """
    if samples < 1:
        raise InvalidInput(f"samples={samples}: parameters of no samples have no weight in an average")
    settings = settings or load_settings()
    packed, checksum = pack(arrays, settings.training.parameter_codec)
    header = {
        "model": model,
        "round": round,
        "worker": worker,
        "role": role,
        "samples": samples,
        "codec": settings.training.parameter_codec,
        "checksum": checksum,
        "workers": workers,
    }
    _send(settings, model, split(packed, header, settings.training.chunk_bytes))


def _send(settings: Settings, model: str, messages: Iterator[bytes]) -> None:
    ensure_topics(settings)
    topic = topic_names(settings).parameters
    # Compressed already, and again by the producer it would only cost time.
    producer = make_producer(settings, compression_type=None)
    try:
        sent = [producer.send(topic, key=model.encode(), value=value) for value in messages]
        deadline = time.monotonic() + _DELIVERY_SECONDS
        for future in sent:
            future.get(timeout=max(0.0, deadline - time.monotonic()))
    except RetriableError as error:
        raise BrokerUnavailable(settings.bootstrap_servers, error) from error
    except KafkaError as error:
        raise InvalidInput(f"the broker at {settings.bootstrap_servers} refused the parameters: {error}") from error
    finally:
        producer.close(timeout=_CLOSE_SECONDS)
