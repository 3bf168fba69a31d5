"""One Dagster instance, one store for each topic prefix.

Dagster remembers run keys for ever. Another store's batches begin at number 1 again, and a run that is asked for under
a key that was used is dropped without a word: messages would be planned and never collected.
"""

import json

import dagster as dg

from ummp_assets.errors import InvalidSettings
from ummp_assets.settings import Settings
from ummp_assets.storage.identity import store_identity
from ummp_assets.storage.objects import ObjectStore

__all__ = ["require_same_store"]


def require_same_store(instance: dg.DagsterInstance, store: ObjectStore, settings: Settings) -> None:
    """Keep in the instance which store its batches are in; raise `InvalidSettings` when it was another one before."""
    key = f"ummp/store/{settings.topic_prefix}"
    found = store_identity(store)
    kept = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
    if kept is None:
        instance.daemon_cursor_storage.set_cursor_values({key: json.dumps({"id": found, "uri": store.uri()})})
        return
    known = json.loads(kept)
    if known["id"] != found:
        raise InvalidSettings(
            f"UMMP_STORE={store.uri()} is another store than the one that this Dagster instance has run batches of "
            f"topic prefix {settings.topic_prefix} for ({known['uri']}). Dagster remembers their keys for ever and "
            "would silently drop the new store's. Set UMMP_STORE back, or use another UMMP_HOME (with plain Dagster: "
            "DAGSTER_HOME), or another UMMP_TOPIC_PREFIX."
        )
