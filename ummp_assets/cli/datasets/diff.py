"""`ummp datasets diff`: what was added, removed or relabelled between two versions, and why."""

from collections import Counter
from typing import TYPE_CHECKING

import click

from ummp_assets.cli.datasets.options import open_configured_store
from ummp_assets.cli.terminal import answers, json_option, print_json

if TYPE_CHECKING:
    from ummp_assets.datasets.compare import Difference, VersionDiff

__all__ = ["diff_command"]

_SHOWN = 20


@click.command("diff")
@click.argument("name")
@click.argument("old", type=click.IntRange(min=1), metavar="N")
@click.argument("new", type=click.IntRange(min=1), metavar="M")
@click.option("--all", "show_all", is_flag=True, help=f"List every sample, not only the first {_SHOWN}.")
@json_option
def diff_command(name: str, old: int, new: int, show_all: bool, as_json: bool) -> None:
    """Show what changed in dataset NAME from version N to the later version M, sample by sample, and why."""
    from ummp_assets.datasets.compare import diff_versions

    found = diff_versions(open_configured_store(), name, old, new)
    if as_json:
        print_json(found)
    else:
        _print(found, show_all)


def _print(found: "VersionDiff", show_all: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    console = answers()
    counts = {kind: found.count(kind) for kind in ("added", "removed", "relabelled")}
    said = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    console.print(f"{found.dataset} v{found.old} to v{found.new}: {said}")
    if not found.differences:
        return
    causes = Table()
    for column in ("change", "samples", "in version", "why"):
        causes.add_column(column, justify="right" if column == "samples" else "left", overflow="fold")
    grouped = Counter((item.version, item.kind, _why(item)) for item in found.differences)
    for (version, kind, why), count in sorted(grouped.items()):
        causes.add_row(kind, f"{count:,}", str(version), Text(why))
    console.print(causes)
    shown = found.differences if show_all else found.differences[:_SHOWN]
    for item in shown:
        change = f": {item.before} -> {item.after}" if item.kind == "relabelled" else ""
        console.print(f"{item.kind:<10} {item.sample_id}{change}", soft_wrap=True, markup=False)
    if len(found.differences) > len(shown):
        console.print(f"... and {len(found.differences) - len(shown):,} more: --all or --json")


def _why(item: "Difference") -> str:
    named = f"{item.cause} {', '.join(item.batches)}".rstrip()
    return f"{named}: {item.reason}" if item.reason else named
