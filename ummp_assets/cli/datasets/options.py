"""What the commands of `ummp datasets` share: the option of a version, and how stores are opened."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["open_configured_store", "version_option"]

version_option = click.option("--version", type=click.IntRange(min=1), help="Default: the newest.")


def open_configured_store() -> "ObjectStore":
    """Return the store that the settings name."""
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    return open_store(load_settings())
