"""`ummp broker`: the embedded broker alone, for any Kafka client on this machine."""

import logging
from pathlib import Path

import click

from ummp_assets.errors import EmbeddedBrokerFailed
from ummp_assets.messages.embedded.serving import BrokerOptions, serve

__all__ = ["broker_command"]


@click.command("broker")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".ummp/broker"),
    show_default=True,
    help="Folder that holds everything; made if absent.",
)
@click.option("--host", default=BrokerOptions.host, show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=9092,
    show_default=True,
    help="Port to listen on; 0 lets the system choose.",
)
@click.option("--allow-remote", is_flag=True, help="Permit an address that other machines can reach.")
@click.option("--fsync", is_flag=True, help="Let acknowledged records survive a loss of power, for a price in speed.")
@click.option(
    "--default-partitions",
    type=click.IntRange(1, 10_000),
    default=BrokerOptions.default_partitions,
    show_default=True,
    help="Partitions of topics that are created without a number.",
)
def broker_command(data: Path, host: str, port: int, allow_remote: bool, fsync: bool, default_partitions: int) -> None:
    """Run the embedded Kafka broker until Ctrl-C.

    It is for one machine: no replication, no encryption, no accounts.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = BrokerOptions(data, host, port, allow_remote, fsync, default_partitions)
    try:
        serve(options, lambda address: click.echo(f"bootstrap servers: {address}"))
    except EmbeddedBrokerFailed as failure:
        raise click.ClickException(str(failure)) from failure
