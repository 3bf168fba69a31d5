"""`ummp datasets purge`: shards that takedowns withdrew, deleted."""

from datetime import UTC, datetime

import click

from ummp_assets.cli.datasets.options import open_configured_store, print_paths
from ummp_assets.cli.terminal import json_option

__all__ = ["purge_command"]


@click.command("purge")
@json_option
def purge_command(as_json: bool) -> None:
    """Delete the shards that takedowns withdrew longer than UMMP_DATASETS__PURGE_DELAY_HOURS ago."""
    from ummp_assets.datasets.withdrawals import purge_withdrawn

    print_paths(purge_withdrawn(open_configured_store(), datetime.now(UTC)), "purged", as_json)
