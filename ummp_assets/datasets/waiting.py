"""Waiting for a dataset version, in a training process that has nothing but the store."""

import time

from ummp_assets.datasets.versions import DatasetVersion, latest_version, read_version, version_path
from ummp_assets.errors import WaitTimeout
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import open_store

__all__ = ["wait_for_dataset"]

_POLL_SECONDS = 0.25


def wait_for_dataset(
    name: str, *, min_version: int = 1, timeout_seconds: float = 600.0, settings: Settings | None = None
) -> DatasetVersion:
    """Wait until a dataset has a version, and return the newest one.

    Asks the store for one object four times a second, so that neither a broker nor Dagster has to be reachable.

    Parameters
    ----------
    min_version:
        The version that must exist.

    Raises
    ------
    WaitTimeout
        It did not come in time; the message says which version is the newest.
    """
    store = open_store(settings or load_settings())
    deadline = time.monotonic() + timeout_seconds
    while not store.exists(version_path(name, min_version)):
        left = deadline - time.monotonic()
        if left <= 0:
            newest = latest_version(store, name)
            raise WaitTimeout(
                f"dataset {name} had no version {min_version} after {timeout_seconds:g} s (newest: "
                f"{newest or 'none'}, in {store.uri()}). `ummp status` shows what its requests wait for."
            )
        time.sleep(min(_POLL_SECONDS, left))
    return read_version(store, name)
