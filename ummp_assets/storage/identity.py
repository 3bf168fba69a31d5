"""Which store this is: an id that is made once and moves with the store, whatever address it has."""

import json
import uuid

from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.storage.objects import ObjectStore

__all__ = ["store_identity"]

_PATH = "store.json"


def store_identity(store: ObjectStore) -> str:
    """Return the store's id, and make it where there is none; raises `StoreUnavailable` and `ManifestCorrupt`."""
    try:
        data = store.read(_PATH)
    except ObjectNotFound:
        # Of several that come first, one puts its id, and all read that one.
        store.create(_PATH, json.dumps({"format": 1, "id": uuid.uuid4().hex}).encode() + b"\n")
        data = store.read(_PATH)
    try:
        return str(json.loads(data)["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestCorrupt(f"{store.uri(_PATH)} names no store: {error}") from error
