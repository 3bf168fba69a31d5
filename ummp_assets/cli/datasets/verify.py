"""`ummp datasets verify`: every shard of a version against its manifest."""

import hashlib
from typing import TYPE_CHECKING

import click

from ummp_assets.cli.datasets.options import open_configured_store, version_option
from ummp_assets.cli.datasets.show import summary_of
from ummp_assets.cli.terminal import answers, json_option, notes, print_json

if TYPE_CHECKING:
    from ummp_assets.datasets.versions import Shard
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["verify_command"]

_CHUNK_BYTES = 1 << 20


@click.command("verify")
@click.argument("name")
@version_option
@json_option
def verify_command(name: str, version: int | None, as_json: bool) -> None:
    """Read every shard of a version and compare it with the manifest. Exit code 1: something is damaged."""
    from ummp_assets.datasets.versions import read_shards, read_version

    store = open_configured_store()
    found = read_version(store, name, version)
    shards = list(read_shards(store, found))
    damages = [damage for shard in shards if (damage := _damage(store, shard))]
    if as_json:
        print_json({**summary_of(store, found), "shards": len(shards), "damages": damages})
    else:
        for damage in damages:
            notes().print(damage, soft_wrap=True, markup=False)
        answers().print(
            f"{found.dataset} v{found.version}: {len(shards) - len(damages)} of {len(shards)} shards intact"
        )
    if damages:
        if not as_json:
            repair = f"ummp datasets rebuild {found.dataset} --version {found.version} --repair"
            notes().print(
                f"`ummp datasets scrub --repair` restores files from a replica, `{repair}` from the stored raw bytes.",
                soft_wrap=True,
            )
        raise click.exceptions.Exit(1)


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
