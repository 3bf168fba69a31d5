"""`ummp datasets collect`: files that no manifest names, deleted."""

from datetime import UTC, datetime, timedelta

import click

from ummp_assets.cli.datasets.options import open_configured_store, print_paths
from ummp_assets.cli.terminal import json_option

__all__ = ["collect_command"]


@click.command("collect")
@click.option("--dry-run", is_flag=True, help="Only list the files.")
@json_option
def collect_command(dry_run: bool, as_json: bool) -> None:
    """Delete files that no manifest names, left by attempts that were killed or replaced.

    Younger files than UMMP_DATASETS__GARBAGE_AGE_HOURS are never touched: they may belong to a run.
    """
    from ummp_assets.datasets.garbage import collect_garbage, find_garbage
    from ummp_assets.settings import load_settings

    store, now = open_configured_store(), datetime.now(UTC)
    age = timedelta(hours=load_settings().datasets.garbage_age_hours)
    if dry_run:
        paths = [info.path for info in find_garbage(store, now, safety_age=age)]
    else:
        paths = collect_garbage(store, now, safety_age=age)
    print_paths(paths, "would be deleted" if dry_run else "deleted", as_json)
