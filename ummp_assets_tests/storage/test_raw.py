"""Raw bytes of a sample: inline, in a blob, or lost."""

import pytest

from ummp_assets.errors import ManifestCorrupt
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.raw import raw_bytes


def test_inline_content_is_returned_even_when_empty(store: ObjectStore) -> None:
    assert raw_bytes(store, {"sample_id": "t~0~1", "content": b"", "blob": None}) == b""


def test_blob_is_read_from_the_store(store: ObjectStore) -> None:
    store.write("blobs/abc", b"large")

    assert raw_bytes(store, {"sample_id": "t~0~1", "content": None, "blob": "blobs/abc"}) == b"large"


def test_lost_blob_and_row_without_bytes_raise(store: ObjectStore) -> None:
    with pytest.raises(ManifestCorrupt, match=r"blobs/abc: it held .* t~0~1\. `ummp datasets scrub --rep"):
        raw_bytes(store, {"sample_id": "t~0~1", "content": None, "blob": "blobs/abc"})
    with pytest.raises(ManifestCorrupt, match="t~0~1"):
        raw_bytes(store, {"sample_id": "t~0~1", "content": None, "blob": None})
