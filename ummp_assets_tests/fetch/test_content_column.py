"""The column of contents, whatever the bodies were held in."""

import hashlib
from pathlib import Path

import pytest

from ummp_assets.errors import ManifestCorrupt
from ummp_assets.fetch.body import Body, BodyWriter
from ummp_assets.fetch.content_column import content_column


def _body(scratch: Path, *pieces: bytes, inline_bytes: int = 1_000) -> Body:
    writer = BodyWriter(scratch, inline_bytes, 10_000)
    for piece in pieces:
        writer.write(piece)
    return writer.finish()


def test_contents_stand_in_order_whatever_held_them(tmp_path: Path) -> None:
    in_pieces = _body(tmp_path, b"a" * 400, b"b" * 300)
    in_a_file = _body(tmp_path, b"c" * 50, inline_bytes=10)
    spilled = _body(tmp_path, b"d" * 20, b"e").spill(tmp_path)
    column = content_column([in_pieces, None, in_a_file, spilled, None, _body(tmp_path, b"f")])
    contents = [b"a" * 400 + b"b" * 300, None, b"c" * 50, b"d" * 20 + b"e", None, b"f"]
    assert column.to_pylist() == contents
    assert column.null_count == 2
    for body, content in ((in_pieces, contents[0]), (in_a_file, contents[2]), (spilled, contents[3])):
        assert body.sha256 == hashlib.sha256(content or b"").hexdigest()


def test_blob_of_another_size_than_it_had_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(b"longer than it was")
    blob = Body("0" * 64, 10, None, blob="blobs/00", open_blob=lambda: file.open("rb"))
    with pytest.raises(ManifestCorrupt, match="blobs/00 holds 18 bytes instead of 10"):
        content_column([blob, _body(tmp_path, b"hello")])


def test_body_that_comes_two_bytes_at_a_time_takes_few_pieces(tmp_path: Path) -> None:
    body = _body(tmp_path, *[b"xy"] * 5_000, inline_bytes=10_000)
    assert body.pieces is not None
    assert len(body.pieces) < 20
    assert body.read() == b"xy" * 5_000
