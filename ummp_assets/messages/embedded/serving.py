"""Running the broker until it is told to stop."""

import asyncio
import ipaddress
import logging
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ummp_assets.errors import EmbeddedBrokerFailed
from ummp_assets.messages.embedded.broker import Broker
from ummp_assets.messages.embedded.server import Server

__all__ = ["BrokerOptions", "serve"]

_LOGGER = logging.getLogger(__name__)
_NOTICE = (
    "The embedded broker listens on %s and keeps its data in %s. It is for one machine: no replication, no encryption, "
    "no accounts; it is no cluster and never will be. For more, point UMMP_KAFKA_BOOTSTRAP_SERVERS at Apache Kafka."
)


@dataclass(frozen=True)
class BrokerOptions:
    """How to run the broker.

    Attributes
    ----------
    data_directory:
        Holds everything that the broker keeps; created if absent; one broker at a time may use it.
    host, port:
        Where to listen; port 0 lets the system choose.
    allow_remote:
        Permit a host that other machines can reach.
    fsync:
        Force acknowledged data to the disk, so that they survive a loss of power as well as a killed process.
    default_partitions:
        Partitions of topics that are created without a number; at least 1.
    retention_check_seconds:
        Time between two looks for expired segments and for logs to compact; Kafka's default is 300 s.
    """

    data_directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    allow_remote: bool = False
    fsync: bool = False
    default_partitions: int = 1
    retention_check_seconds: float = 300.0


def serve(options: BrokerOptions, on_listening: Callable[[str], None], *, stop_with_stdin: bool = False) -> None:
    """Run the broker in this process until SIGTERM or SIGINT.

    Parameters
    ----------
    options:
        How to run it.
    on_listening:
        Called once with the address, `host:port`, when connections are accepted.
    stop_with_stdin:
        Stop as well when standard input ends, as it does with the process that holds the other end.

    Raises
    ------
    EmbeddedBrokerFailed
        The address is refused or in use, or the data folder cannot be used.
    """
    if not options.allow_remote and not _is_loopback(options.host):
        raise EmbeddedBrokerFailed(
            f"{options.host} can be reached from other machines, and this broker has neither encryption nor accounts: "
            "use 127.0.0.1, or --allow-remote if you mean it"
        )
    _allow_many_files()
    asyncio.run(_serve(options, on_listening, stop_with_stdin=stop_with_stdin))


async def _serve(options: BrokerOptions, on_listening: Callable[[str], None], *, stop_with_stdin: bool) -> None:
    broker = Broker(options.data_directory, fsync=options.fsync, default_partitions=options.default_partitions)
    server = Server(broker)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop_signal, stop.set)
    if stop_with_stdin:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    try:
        address = f"{options.host}:{await _listen(server, options)}"
        upkeep = [
            asyncio.create_task(broker.keep_up()),
            asyncio.create_task(broker.keep_small(options.retention_check_seconds)),
        ]
        _LOGGER.info(_NOTICE, address, options.data_directory)
        on_listening(address)
        await stop.wait()
        for task in upkeep:
            task.cancel()
        await server.close()
    finally:
        broker.close()


async def _listen(server: Server, options: BrokerOptions) -> int:
    try:
        return await server.listen(options.host, options.port)
    except OSError as cause:
        raise EmbeddedBrokerFailed(
            f"cannot listen on {options.host}:{options.port}: {cause.strerror or cause}"
        ) from cause


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _allow_many_files() -> None:
    """Lift the soft limit of open files: each partition in use holds two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS refuses "unlimited"
        _LOGGER.warning("the limit of open files could not be lifted")
