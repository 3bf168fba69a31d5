"""`ummp datasets list` and `show`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ummp_assets.cli.datasets.options import open_configured_store, version_option
from ummp_assets.cli.terminal import answers, json_option, print_json

if TYPE_CHECKING:
    from ummp_assets.datasets.versions import DatasetVersion
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["list_command", "show_command", "summary_of"]


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List all datasets with their newest version."""
    from rich.table import Table

    from ummp_assets.datasets.versions import list_datasets, read_version

    store = open_configured_store()
    versions = [read_version(store, name) for name in list_datasets(store)]
    if as_json:
        print_json([summary_of(store, version) for version in versions])
        return
    if not versions:
        answers().print(f"No dataset yet in {store.uri()}.", soft_wrap=True)
        return
    table = Table()
    for name in ("dataset", "version", "rows", "MB", "modalities"):
        table.add_column(name, justify="right" if name in ("version", "rows", "MB") else "left")
    for version in versions:
        modalities = ", ".join(sorted({count.modality for count in version.counts}))
        size = f"{version.byte_count / 1e6:,.1f}"
        table.add_row(version.dataset, str(version.version), f"{version.rows:,}", size, modalities)
    answers().print(table)


@click.command("show")
@click.argument("name")
@version_option
@json_option
def show_command(name: str, version: int | None, as_json: bool) -> None:
    """Show one version: rows by split, columns, outcomes, watermark, and how to load it."""
    from ummp_assets.datasets.versions import read_version
    from ummp_assets.datasets.withdrawals import is_withdrawn

    store = open_configured_store()
    found = read_version(store, name, version)
    withdrawal = is_withdrawn(store, name, found.version)
    takedown = withdrawal.takedown if withdrawal else None
    if as_json:
        print_json({**summary_of(store, found), **asdict(found), "withdrawn_by": takedown})
        return
    console = answers()
    parent = f"on v{found.parent}" if found.parent else "the first"
    lines = [
        f"{found.dataset} v{found.version} ({parent}, made by {found.cause})",
        *([f"withdrawn by the takedown {takedown}: open a later version"] if takedown else []),
        f"manifest  {store.uri(found.path)}",
        f"sha256    {found.sha256}",
        f"rows      {found.rows:,} in {found.byte_count / 1e6:,.1f} MB",
        *(f"  {count.modality}/{count.split}: {count.rows:,} rows" for count in found.counts),
        *(f"columns of {kind}: {_columns(columns)}" for kind, columns in found.columns.items()),
        *(f"watermark {topic}: {ends}" for topic, ends in found.watermark.items()),
        f'load it   ummp_assets.open_dataset("{found.dataset}", version={found.version})',
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def summary_of(store: "ObjectStore", version: "DatasetVersion") -> dict[str, Any]:
    """Return what every command that prints a version as JSON says of it."""
    return {
        "name": version.dataset,
        "version": version.version,
        "rows": version.rows,
        "bytes": version.byte_count,
        "manifest": store.uri(version.path),
        "sha256": version.sha256,
    }


def _columns(columns: Any) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in columns)
