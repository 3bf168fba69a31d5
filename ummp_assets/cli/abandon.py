"""`ummp abandon`: give up a batch that will never get through."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ummp_assets.cli.terminal import answers, json_option, print_json
from ummp_assets.errors import InvalidInput

if TYPE_CHECKING:
    from ummp_assets.settings import Settings

__all__ = ["abandon_command"]


@click.command("abandon")
@click.argument("batch")
@click.option("--reason", required=True, help="A sentence for the dead letters: why it is given up.")
@json_option
def abandon_command(batch: str, reason: str, as_json: bool) -> None:
    """Give up a BATCH of requests that will never be committed, such as ummp.requests.normal~00000012.

    A batch that fails is asked for again by itself, for about a day; first mend what its run says. Given up, its
    messages become dead letters, and what it claimed is free: of the copies that other batches set aside as duplicates
    of its contents, the first enter their datasets. This cannot be undone.
    """
    from ummp_assets.datasets.abandonment import abandon_batch
    from ummp_assets.datasets.events import publish_ready_event
    from ummp_assets.datasets.promote import promote_twins
    from ummp_assets.modality_stages import modality_stages
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.index import open_index
    from ummp_assets.storage.objects import open_store

    settings = load_settings()
    store = open_store(settings)
    _refuse_while_it_runs(settings, batch)
    index = open_index(settings)
    try:
        letters = abandon_batch(store, index, settings, batch, reason)
        versions = promote_twins(store, index, settings, modality_stages(settings))
        for version in versions:
            publish_ready_event(settings, store, version)
    finally:
        index.close()
    if as_json:
        promoted = [{"name": version.dataset, "version": version.version} for version in versions]
        print_json({"batch": batch, "dead_letters": letters, "versions_with_copies": promoted})
        return
    names = ", ".join(f"{version.dataset} v{version.version}" for version in versions) or "no dataset"
    answers().print(
        f"{batch} is given up: {letters:,} messages are dead letters; copies of its contents entered {names}.",
        soft_wrap=True,
        markup=False,
    )


def _refuse_while_it_runs(settings: "Settings", batch: str) -> None:
    """Raise `InvalidInput` when Dagster has a run of the batch that may still go on."""
    from ummp_assets.cli.stack.dagster_home import dagster_home

    home = Path(os.environ.get("DAGSTER_HOME") or dagster_home(settings.home_path))
    if not home.is_dir():
        return
    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

    waiting = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING]
    unfinished = [*waiting, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    with DagsterInstance.from_config(str(home)) as instance:
        if instance.get_runs_count(RunsFilter(tags={"dagster/partition": batch}, statuses=unfinished)):
            raise InvalidInput(f"a run of {batch} waits or is under way: terminate it in the web UI first")
