"""The contract of `ObjectStore`, on every implementation."""

import contextlib
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ummp_assets.errors import InvalidInput, ObjectNotFound
from ummp_assets.storage.objects import ObjectStore, check_path

OUTSIDE = ["/etc/passwd", "../up", "a/../../up", "a/./b", "a//b", "a/", "", ".", "..", "a\\b", "a\0b", ".scratch/a"]


def test_read_gives_what_was_written_and_replaced(object_store: ObjectStore) -> None:
    object_store.write("a/b/c.bin", b"first")
    object_store.write("a/b/c.bin", b"second \0 \xff")

    assert object_store.read("a/b/c.bin") == b"second \0 \xff"
    with object_store.open("a/b/c.bin") as file:
        assert file.seek(7) == 7
        assert file.read() == b"\0 \xff"


def test_empty_object_is_an_object(object_store: ObjectStore) -> None:
    object_store.write("empty", b"")

    assert object_store.exists("empty")
    assert object_store.read("empty") == b""
    assert [(found.path, found.byte_count) for found in object_store.list()] == [("empty", 0)]


def test_missing_object_is_not_found_by_its_full_address(object_store: ObjectStore) -> None:
    object_store.write("a/b", b"x")

    for path in ("a/c", "nowhere/c", "a"):
        assert not object_store.exists(path)
        with pytest.raises(ObjectNotFound) as caught:
            object_store.read(path)
        assert object_store.uri(path) in str(caught.value)
        with pytest.raises(ObjectNotFound):
            object_store.open(path)


def test_create_puts_only_what_is_not_there(object_store: ObjectStore) -> None:
    assert object_store.create("a/b", b"first")
    assert not object_store.create("a/b", b"second")

    assert object_store.read("a/b") == b"first"


def test_delete_removes_and_is_silent_when_there_is_none(object_store: ObjectStore) -> None:
    object_store.write("a/b", b"x")
    object_store.delete("a/b")
    object_store.delete("a/b")
    object_store.delete("nowhere/b")

    assert not object_store.exists("a/b")
    assert list(object_store.list()) == []


def test_list_is_in_order_of_paths_and_only_below_the_folder(object_store: ObjectStore) -> None:
    # '-' < '.' < '/' < '0': a walk folder by folder would put a/x before a-b.
    paths = ["a-b", "a.txt", "a/x", "a/y/z", "a0", "b/x"]
    for path in reversed(paths):
        object_store.write(path, path.encode())
    before = time.time()

    found = list(object_store.list())

    assert [item.path for item in found] == paths
    assert [item.byte_count for item in found] == [len(path) for path in paths]
    assert all(abs(before - item.modified_seconds) < 60 for item in found)
    assert [item.path for item in object_store.list("a")] == ["a/x", "a/y/z"]
    assert list(object_store.list("a/x")) == []
    assert list(object_store.list("nowhere")) == []


def test_upload_moves_a_file_from_scratch_and_from_elsewhere(object_store: ObjectStore, tmp_path: Path) -> None:
    near, far = object_store.scratch_directory() / "near", tmp_path / "far"
    near.write_bytes(b"near")
    far.write_bytes(b"far")

    object_store.upload(near, "blobs/near")
    object_store.upload(far, "blobs/far")

    assert object_store.read("blobs/near") == b"near"
    assert object_store.read("blobs/far") == b"far"
    assert not near.exists()
    assert not far.exists()


def test_upload_of_no_file_says_which(object_store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=str(tmp_path / "none")):
        object_store.upload(tmp_path / "none", "blobs/none")

    assert list(object_store.list()) == []


@pytest.mark.parametrize("path", OUTSIDE)
def test_path_that_would_leave_the_root_is_refused_everywhere(
    object_store: ObjectStore, path: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    calls: list[Callable[[], object]] = [
        lambda: object_store.read(path),
        lambda: object_store.open(path),
        lambda: object_store.write(path, b"x"),
        lambda: object_store.create(path, b"x"),
        lambda: object_store.upload(file, path),
        lambda: object_store.exists(path),
        lambda: object_store.delete(path),
        lambda: list(object_store.list(path)) if path else check_path(path),
    ]
    for call in calls:
        with pytest.raises(InvalidInput, match="no path inside a store"):
            call()
    assert file.exists()
    assert list(object_store.list()) == []


def test_scratch_files_are_no_objects(object_store: ObjectStore) -> None:
    (object_store.scratch_directory() / "part").write_bytes(b"x")

    assert list(object_store.list()) == []


def test_object_name_scratch_below_the_top_is_an_object(object_store: ObjectStore) -> None:
    object_store.write("a/.scratch/b", b"x")

    assert [found.path for found in object_store.list()] == ["a/.scratch/b"]


def _create(store: ObjectStore, path: str, data: bytes) -> bool:
    return store.create(path, data)


def test_create_by_many_processes_has_exactly_one_winner(
    shared_store: ObjectStore, workers: ProcessPoolExecutor
) -> None:
    for number in range(5):
        contents = [f"{number} by {worker} ".encode() * 1_000 for worker in range(4)]
        won = [workers.submit(_create, shared_store, f"entries/{number}", data) for data in contents]
        winners = [data for data, future in zip(contents, won, strict=True) if future.result()]
        assert len(winners) == 1
        assert shared_store.read(f"entries/{number}") == winners[0]


def _write_versions(store: ObjectStore, byte_count: int, versions: int) -> None:
    for version in range(versions):
        store.write("object", bytes([version]) * byte_count)


def _read_versions(store: ObjectStore, byte_count: int) -> tuple[int, bool]:
    """Read until the last version, through both ways of reading; return the reads and whether each was whole."""
    reads, whole = 0, True
    data = b""
    while not data or data[0] != _LAST:
        data = store.read("object")
        seen = [data]
        # S3 tells a reader whose object was replaced; it never gives it parts of both.
        with store.open("object") as file, contextlib.suppress(OSError):
            seen.append(file.read())
        reads += 1
        whole = whole and all(len(set(content)) == 1 and len(content) == byte_count for content in seen)
    return reads, whole


_LAST = 40


def test_write_is_atomic_for_readers_in_other_processes(
    shared_store: ObjectStore, workers: ProcessPoolExecutor
) -> None:
    byte_count = 400_000
    shared_store.write("object", bytes(byte_count))

    readers = [workers.submit(_read_versions, shared_store, byte_count) for _ in range(2)]
    workers.submit(_write_versions, shared_store, byte_count, _LAST + 1).result()

    for reader in readers:
        reads, whole = reader.result(timeout=60)
        assert reads > 0
        assert whole


def _list_until(store: ObjectStore, marker: str) -> list[str]:
    """List again and again until the marker is there; return the objects that stood in each listing."""
    steady: set[str] | None = None
    while True:
        paths = {found.path for found in store.list()}
        steady = paths if steady is None else steady & paths
        if marker in paths:
            return sorted(steady)


def test_list_while_others_put_and_delete_keeps_what_stays(
    shared_store: ObjectStore, workers: ProcessPoolExecutor
) -> None:
    shared_store.write("a/stays", b"x")
    shared_store.write("z/stays", b"x")
    listing = workers.submit(_list_until, shared_store, "y/end")
    for number in range(30):
        shared_store.write(f"folder-{number % 7}/{number}", b"x")
        shared_store.delete(f"folder-{number % 7}/{number}")
    shared_store.write("y/end", b"x")

    assert listing.result(timeout=60) == ["a/stays", "z/stays"] or listing.result() == ["a/stays", "y/end", "z/stays"]


def test_put_of_another_process_is_seen_at_once(shared_store: ObjectStore, workers: ProcessPoolExecutor) -> None:
    shared_store.write("a/first", b"x")
    assert [found.path for found in shared_store.list("a")] == ["a/first"]
    assert not shared_store.exists("a/second")

    workers.submit(_write, shared_store, "a/second").result()

    assert [found.path for found in shared_store.list("a")] == ["a/first", "a/second"]
    assert shared_store.exists("a/second")


def _write(store: ObjectStore, path: str) -> None:
    store.write(path, b"x")


def test_store_travels_to_another_process(object_store: ObjectStore) -> None:
    object_store.write("a", b"x")
    here = object_store.scratch_directory()

    other = pickle.loads(pickle.dumps(object_store))

    assert other.read("a") == b"x"
    assert other.scratch_directory() != here
    assert here.is_dir()
