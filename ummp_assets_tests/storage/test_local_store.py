"""What only a local folder can get wrong: permissions, full disks, other file systems, killed writers."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ummp_assets.errors import InvalidSettings, StoreUnavailable
from ummp_assets.settings import load_settings
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import open_store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        other = Path(folder)
        if other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is no file system of its own here")
        yield other


def _temporary_files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ".scratch").rglob("*") if path.is_file() and path.name != "lock")


def test_store_in_a_folder_that_cannot_be_made_says_path_and_cause(tmp_path: Path) -> None:
    # Below a regular file even root can make no folder.
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(tmp_path / "file" / "root")

    for write in (store.write, store.create):
        with pytest.raises(StoreUnavailable, match=r"file/root/a/b: .*Not a directory"):
            write("a/b", b"x")
    assert not store.exists("a/b")
    assert list(store.list()) == []
    store.delete("a/b")


@pytest.mark.parametrize("path", ["object/b", "object/b/c"])
def test_put_below_an_object_fails_and_leaves_nothing(root: Path, path: str) -> None:
    store = LocalStore(root)
    store.write("object", b"x")

    with pytest.raises(StoreUnavailable, match="object"):
        store.write(path, b"y")
    with pytest.raises(StoreUnavailable, match="object"):
        store.create(path, b"y")

    assert [found.path for found in store.list()] == ["object"]
    assert _temporary_files(root) == []


@pytest.mark.parametrize("put", ["write", "create"])
def test_full_disk_keeps_the_old_object_and_no_part(root: Path, put: str) -> None:
    store = LocalStore(root)
    store.write("old", b"old")
    # A limit on the size of files stands in for a full disk: the kernel cuts the write in the middle.
    code = f"""
import resource, signal
from pathlib import Path
from ummp_assets.errors import InvalidSettings, StoreUnavailable
from ummp_assets.storage.local_store import LocalStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    LocalStore(Path({str(root)!r})).{put}("{"old" if put == "write" else "new"}", b"x" * 100_000)
except StoreUnavailable as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "File too large" in said
    assert str(root) in said
    assert [(found.path, found.byte_count) for found in store.list()] == [("old", 3)]
    assert store.read("old") == b"old"
    assert _temporary_files(root) == []


def test_upload_across_file_systems_moves_the_file(root: Path, other_file_system: Path) -> None:
    file = other_file_system / "file"
    file.write_bytes(b"far away" * 100_000)
    store = LocalStore(root)

    store.upload(file, "blobs/far")

    assert store.read("blobs/far") == b"far away" * 100_000
    assert not file.exists()
    assert _temporary_files(root) == []


def test_objects_are_readable_by_other_users_as_the_umask_says(root: Path, other_file_system: Path) -> None:
    (other_file_system / "file").write_bytes(b"x")
    code = f"""
import os
from pathlib import Path
from ummp_assets.storage.local_store import LocalStore
os.umask(0o027)
store = LocalStore(Path({str(root)!r}))
store.write("written", b"x")
store.create("created", b"x")
store.upload(Path({str(other_file_system / "file")!r}), "uploaded")
"""
    subprocess.run([sys.executable, "-c", code], check=True)

    assert [oct((root / name).stat().st_mode & 0o777) for name in ("written", "created", "uploaded")] == ["0o640"] * 3


_WRITER = """
import sys, time
from pathlib import Path
from ummp_assets.storage.local_store import LocalStore
store = LocalStore(Path(sys.argv[1]))
store.write("done", b"x")
(store.scratch_directory() / "half a file").write_bytes(b"x" * 1_000)
print("writing", flush=True)
time.sleep(600)
"""


def test_scratch_of_a_killed_writer_is_cleared_and_of_a_living_one_kept(root: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(root)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
        assert _temporary_files(root) == ["half a file", "half a file"]
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()

        LocalStore(root).write("next", b"x")

        assert _temporary_files(root) == ["half a file"]
        assert [found.path for found in LocalStore(root).list()] == ["done", "next"]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def test_scratch_is_empty_after_a_process_ended(root: Path) -> None:
    code = _WRITER.replace("time.sleep(600)", "")
    subprocess.run([sys.executable, "-c", code, str(root)], check=True, capture_output=True)

    assert [path.name for path in (root / ".scratch").iterdir()] == ["lock"]


def test_objects_in_a_linked_folder_are_listed(root: Path, other_file_system: Path) -> None:
    store = LocalStore(root)
    store.write("a", b"x")
    (root / "blobs").symlink_to(other_file_system)
    (other_file_system / "b").write_bytes(b"yy")
    (root / "dangling").symlink_to(root / "nowhere")

    assert [(found.path, found.byte_count) for found in store.list()] == [("a", 1), ("blobs/b", 2)]


def test_settings_name_a_folder_or_file_url(tmp_path: Path) -> None:
    for url in (str(tmp_path / "root"), f"file://{tmp_path}/root"):
        store = open_store(load_settings(store=url))
        assert isinstance(store, LocalStore)
        assert store.uri("a/b") == f"{tmp_path}/root/a/b"


def test_file_in_the_place_of_the_store_is_no_empty_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidSettings, match=f"the store {tmp_path}/file is a file: UMMP_STORE"):
        open_store(load_settings(store=str(tmp_path / "file")))
