"""The raw bytes of a downloaded sample, wherever they stand."""

from collections.abc import Mapping
from typing import Any

from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.storage.objects import ObjectStore

__all__ = ["raw_bytes"]


def raw_bytes(store: ObjectStore, row: Mapping[str, Any]) -> bytes:
    """Return the bytes of a row of `RAW_SCHEMA`: from the column `content`, or from the store at `blob`.

    Check `byte_count` first where memory matters: a blob is read whole.

    Raises
    ------
    ManifestCorrupt
        The row has neither, or the blob that it names is gone.
    """
    content: bytes | None = row["content"]
    if content is not None:
        return content
    if row["blob"] is None:
        raise ManifestCorrupt(f"sample {row['sample_id']} has neither content nor a blob")
    try:
        return store.read(row["blob"])
    except ObjectNotFound as error:
        raise ManifestCorrupt(
            f"{error}: it held the raw bytes of sample {row['sample_id']}. `ummp datasets scrub --repair` restores it "
            "from a replica; without one, materialize `downloads` of the batch again, which fetches them anew."
        ) from error
