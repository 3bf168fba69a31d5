"""Batches that a person gave up: the stage `abandonment` is committed for them, and the stages that would claim a
content or add it to a dataset, those that clean and the commit, refuse to run."""

from ummp_assets.errors import BatchAbandoned
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import stage_path

__all__ = ["STAGE", "is_abandoned", "require_not_abandoned"]

STAGE = "abandonment"


def is_abandoned(store: ObjectStore, batch: str) -> bool:
    """Return whether a batch was given up."""
    return store.exists(stage_path(STAGE, batch))


def require_not_abandoned(store: ObjectStore, batch: str) -> None:
    """Raise `BatchAbandoned` when a batch was given up: what it claimed belongs to others now."""
    if is_abandoned(store, batch):
        raise BatchAbandoned(
            f"batch {batch} was given up ({store.uri(stage_path(STAGE, batch))}), and what it claimed is free for "
            "others. Its messages are on the dead-letter topic: send those that are still wanted again."
        )
