"""What only a remote store can get wrong: unknown schemes, servers that are down or refuse."""

import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from ummp_assets.errors import InvalidSettings, ObjectNotFound, StoreUnavailable
from ummp_assets.settings import load_settings
from ummp_assets.storage.fsspec_store import FsspecStore
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.storage.s3_server import TERSE_BUCKET


@pytest.mark.parametrize("url", ["nosuch://bucket/prefix", "gs://bucket"])
def test_scheme_without_implementation_names_the_setting(url: str) -> None:
    with pytest.raises(InvalidSettings, match=f"UMMP_STORE={url}"):
        open_store(load_settings(store=url))


def test_settings_name_an_fsspec_url(s3_bucket: str) -> None:
    store = open_store(load_settings(store=f"s3://{s3_bucket}/prefix/"))

    assert isinstance(store, FsspecStore)
    assert store.uri("a/b") == f"s3://{s3_bucket}/prefix/a/b"
    assert store.uri() == f"s3://{s3_bucket}/prefix"


def test_server_that_is_down_is_unavailable_in_every_call(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        options = f'{{"endpoint_url": "http://127.0.0.1:{port}", "key": "k", "secret": "s"}}'
        code = """
from pathlib import Path
from ummp_assets.errors import StoreUnavailable
from ummp_assets.storage.fsspec_store import FsspecStore
store = FsspecStore("s3://bucket/prefix")
Path("file").write_bytes(b"x")
calls = (
    lambda: store.read("a"), lambda: store.open("a"), lambda: store.exists("a"), lambda: store.delete("a"),
    lambda: store.write("a", b"x"), lambda: store.create("a", b"x"), lambda: store.upload(Path("file"), "a"),
    lambda: list(store.list("a")),
)
for call in calls:
    try:
        print("returned", call())
    except StoreUnavailable as error:
        print(error.path)
"""
        environment = {
            "PYTHONPATH": ":".join(sys.path),
            "FSSPEC_S3": options,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )

    assert done.stdout.splitlines() == ["s3://bucket/prefix/a"] * 8
    assert (tmp_path / "file").exists()


def test_bucket_that_is_missing_is_made_at_the_first_put(s3_bucket: str) -> None:
    store = FsspecStore(f"s3://bucket-{uuid.uuid4().hex}/prefix")
    with pytest.raises(ObjectNotFound):
        store.read("a")
    assert list(store.list()) == []

    assert store.create("a", b"x")

    assert store.read("a") == b"x"


def test_create_refused_without_the_condition_finds_the_object(s3_bucket: str) -> None:
    store = FsspecStore(f"s3://{TERSE_BUCKET}/{uuid.uuid4().hex}")

    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert store.read("a") == b"first"


def test_large_upload_arrives_in_parts_as_it_was(s3_bucket: str) -> None:
    store = FsspecStore(f"s3://{s3_bucket}/{uuid.uuid4().hex}")
    file = store.scratch_directory() / "large"
    # Above 100 MiB s3fs sends parts of 50 MiB; the marks lie across their borders.
    marks = {position * 2**20 - 4: b"mark %d" % position for position in (50, 100)}
    with file.open("wb") as opened:
        opened.truncate(101 * 2**20)
        for position, mark in marks.items():
            opened.seek(position)
            opened.write(mark)

    store.upload(file, "large")

    assert [found.byte_count for found in store.list()] == [101 * 2**20]
    for position, mark in marks.items():
        with store.open("large") as opened:
            opened.seek(position - 2)
            assert opened.read(len(mark) + 4) == b"\0\0" + mark + b"\0\0"
    assert not file.exists()


def test_refusal_of_the_back_end_is_unavailable_with_the_address() -> None:
    store = FsspecStore("memory://refusing")
    store.write("a", b"x")
    with pytest.raises(StoreUnavailable, match="memory://refusing/a/b"):
        store.write("a/b", b"x")
