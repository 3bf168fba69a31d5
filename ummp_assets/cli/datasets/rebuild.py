"""`ummp datasets rebuild`: a version made anew from stored messages and raw bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ummp_assets.cli.datasets.options import version_option
from ummp_assets.cli.terminal import answers, json_option, notes, print_json, progress_bar

if TYPE_CHECKING:
    from ummp_assets.datasets.rebuild import Rebuilt

__all__ = ["rebuild_command"]

_SHOWN = 10


@click.command("rebuild")
@click.argument("name")
@version_option
@click.option("--repair", is_flag=True, help="Put rebuilt shards where the store's own are missing or damaged.")
@json_option
def rebuild_command(name: str, version: int | None, repair: bool, as_json: bool) -> None:
    """Make a version anew from the stored messages and raw bytes, beside the store, and compare the two.

    Every step of its history is repeated with today's code and settings, without the network. Exit code 1: its rows
    are other ones now, or something damaged could not be repaired.
    """
    from ummp_assets.datasets.rebuild import rebuild_version
    from ummp_assets.datasets.versions import read_version
    from ummp_assets.modality_stages import modality_stages
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    settings = load_settings()
    store = open_store(settings)
    number = version or read_version(store, name).version
    with progress_bar("rebuilding version") as on_progress:
        rebuilt = rebuild_version(
            store,
            settings,
            name,
            number,
            modality_stages(settings),
            repair=repair,
            on_step=lambda step: on_progress(step, number),
        )
    if as_json:
        print_json(
            {**_summary(rebuilt), "added": rebuilt.added, "removed": rebuilt.removed, "changed": rebuilt.changed}
        )
    else:
        _print(rebuilt)
    if not rebuilt.has_same_rows or set(rebuilt.damaged) - set(rebuilt.repaired):
        raise click.exceptions.Exit(1)


def _summary(rebuilt: "Rebuilt") -> dict[str, object]:
    return {
        "name": rebuilt.dataset,
        "version": rebuilt.version,
        "identical": rebuilt.is_identical,
        "same_rows": rebuilt.has_same_rows,
        "committed_sha256": rebuilt.committed_sha256,
        "rebuilt_sha256": rebuilt.rebuilt_sha256,
        "other_rules": rebuilt.other_rules,
        "damaged": rebuilt.damaged,
        "repaired": rebuilt.repaired,
    }


def _versions(versions: Sequence[str]) -> str:
    return " and ".join(versions) or "none"


def _print(rebuilt: "Rebuilt") -> None:
    console = answers()
    title = f"{rebuilt.dataset} v{rebuilt.version}"
    if rebuilt.is_identical:
        console.print(f"{title} is rebuilt to the byte: sha256 {rebuilt.rebuilt_sha256}", soft_wrap=True)
    elif rebuilt.has_same_rows:
        console.print(f"{title}: every row has the same values; the files differ")
    else:
        console.print(f"{title} would be another one now, by code, settings or stored bytes:")
    for kind in ("added", "removed", "changed"):
        ids = getattr(rebuilt, kind)
        for sample_id in ids[:_SHOWN]:
            console.print(f"  {kind} {sample_id}", soft_wrap=True, markup=False)
        if len(ids) > _SHOWN:
            console.print(f"  ... and {len(ids) - _SHOWN:,} more {kind}: --json lists them")
    for rule, (before, now) in rebuilt.other_rules.items():
        console.print(f"  {rule} was {_versions(before)}, is {_versions(now)}", soft_wrap=True, markup=False)
    for path in rebuilt.damaged:
        state = "repaired" if path in rebuilt.repaired else "damaged"
        console.print(f"  {state}: {path}", soft_wrap=True, markup=False)
    if set(rebuilt.damaged) - set(rebuilt.repaired):
        notes().print("--repair puts rebuilt shards in their place, where they are the same to the byte.")
