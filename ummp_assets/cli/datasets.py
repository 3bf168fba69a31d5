"""`ummp datasets`: list, show, verify."""

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ummp_assets.cli.terminal import answers, json_option, notes, print_json

if TYPE_CHECKING:
    from ummp_assets.datasets.versions import DatasetVersion, Shard
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["datasets_group"]

_CHUNK_BYTES = 1 << 20
_version_option = click.option("--version", type=click.IntRange(min=1), help="Default: the newest.")


@click.group("datasets", invoke_without_command=True)
@click.pass_context
def datasets_group(context: click.Context) -> None:
    """List, show and verify datasets. Without a command: list."""
    if context.invoked_subcommand is None:
        context.invoke(list_command)


@datasets_group.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List all datasets with their newest version."""
    from rich.table import Table

    from ummp_assets.datasets.versions import list_datasets, read_version

    store = _open_store()
    versions = [read_version(store, name) for name in list_datasets(store)]
    if as_json:
        print_json([_summary(store, version) for version in versions])
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


@datasets_group.command("show")
@click.argument("name")
@_version_option
@json_option
def show_command(name: str, version: int | None, as_json: bool) -> None:
    """Show one version: rows by split, columns, outcomes, watermark, and how to load it."""
    from ummp_assets.datasets.versions import read_version

    store = _open_store()
    found = read_version(store, name, version)
    if as_json:
        print_json({**_summary(store, found), **asdict(found)})
        return
    console = answers()
    parent = f"on v{found.parent}" if found.parent else "the first"
    lines = [
        f"{found.dataset} v{found.version} ({parent}, made by {found.cause})",
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


@datasets_group.command("verify")
@click.argument("name")
@_version_option
@json_option
def verify_command(name: str, version: int | None, as_json: bool) -> None:
    """Read every shard of a version and compare it with the manifest. Exit code 1: something is damaged."""
    from ummp_assets.datasets.versions import read_shards, read_version

    store = _open_store()
    found = read_version(store, name, version)
    shards = list(read_shards(store, found))
    damages = [damage for shard in shards if (damage := _damage(store, shard))]
    if as_json:
        print_json({**_summary(store, found), "shards": len(shards), "damages": damages})
    else:
        for damage in damages:
            notes().print(damage, soft_wrap=True, markup=False)
        answers().print(
            f"{found.dataset} v{found.version}: {len(shards) - len(damages)} of {len(shards)} shards intact"
        )
    if damages:
        raise click.exceptions.Exit(1)


def _open_store() -> "ObjectStore":
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    return open_store(load_settings())


def _summary(store: "ObjectStore", version: "DatasetVersion") -> dict[str, Any]:
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


def _damage(store: "ObjectStore", shard: "Shard") -> str | None:
    """Return what is wrong with a shard's file, or None."""
    from ummp_assets.errors import ObjectNotFound

    digest, byte_count = hashlib.sha256(), 0
    try:
        with store.open(shard.path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                byte_count += len(chunk)
    except ObjectNotFound:
        return f"{store.uri(shard.path)} is missing"
    if byte_count != shard.byte_count:
        return f"{store.uri(shard.path)} has {byte_count:,} bytes, the manifest says {shard.byte_count:,}"
    if digest.hexdigest() != shard.sha256:
        return f"{store.uri(shard.path)} has another content than the manifest says"
    return None
