"""The stage `downloads` from a committed `requests` stage to its own manifest, over real sockets."""

import hashlib
import json
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from ummp_assets.errors import ManifestMissing, StoreUnavailable
from ummp_assets.fetch.stage import download
from ummp_assets.settings import FetchSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import read_manifest
from ummp_assets_tests.fetch.batches import (
    BATCH,
    commit_requests,
    outcomes_of,
    request_row,
    samples_of,
    table_of,
)
from ummp_assets_tests.fetch.servers import Received, answer, serving

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


def _by_path(request: Received, connection: socket.socket) -> None:
    """Answer /<size>-<seconds> with that many bytes after that time, all else with 404."""
    size, _, seconds = request.path.lstrip("/").partition("?")[0].partition("-")
    if not size.isdecimal():
        answer(connection, b"no such page", status=404)
        return
    time.sleep(float(seconds) if seconds[:1].isdecimal() else 0)
    answer(connection, size.encode() * (int(size) // len(size)), headers={"Content-Type": "text/plain", "ETag": '"1"'})


def _scratch_files(store: ObjectStore) -> list[Path]:
    return [path for path in store.scratch_directory().rglob("*") if path.name != "lock"]


def test_download_stores_bytes_and_where_they_came_from(store: ObjectStore, index: Index, settings: Settings) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        dates = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "ETag": '"7"'}
        answer(connection, PNG, headers={"Content-Type": "image/png", **dates})

    with serving(handler) as server:
        uri = f"{server.url}/picture"
        commit_requests(store, [request_row(0, uri, label='"cat"', attributes='{"a":1}')])
        manifest = download(store, index, settings, BATCH)
    [row] = samples_of(store, manifest)
    attempts = json.loads(row.pop("attempts"))
    assert row.pop("fetched_at") == attempts[0].pop("time")
    assert attempts == [{"uri": uri, "address": "127.0.0.1", "status": 200, "error": None, "bytes": len(PNG)}]
    row.pop("evidence")
    assert row == {
        "sample_id": "ummp.requests.normal~0~0",
        "dataset": "pages",
        "uri": uri,
        "modality": "image",
        "media_type": "image/png",
        "sha256": hashlib.sha256(PNG).hexdigest(),
        "byte_count": len(PNG),
        "content": PNG,
        "blob": None,
        "label": '"cat"',
        "attributes": '{"a":1}',
        "final_uri": uri,
        "etag": '"7"',
        "last_modified": "Wed, 21 Oct 2015 07:28:00 GMT",
    }
    assert manifest == read_manifest(store, "downloads", BATCH)


def test_rows_keep_the_order_of_requests_whatever_arrives_first(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    with serving(_by_path) as server:
        paths = ["10-0.3", "20", "missing", "30-0.1", "40"]
        commit_requests(store, [f"{server.url}/{path}" for path in paths])
        manifest = download(store, index, settings, BATCH)
    assert [row["uri"].rsplit("/")[-1] for row in samples_of(store, manifest)] == ["10-0.3", "20", "30-0.1", "40"]
    assert outcomes_of(store, manifest) == [("2", "http_client_error")]


def test_objects_above_inline_bytes_are_blobs_named_by_their_hash(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    with serving(_by_path) as server:
        commit_requests(store, [f"{server.url}/300000", f"{server.url}/300000", f"{server.url}/5"])
        manifest = download(store, index, settings, BATCH)
    first, second, small = samples_of(store, manifest)
    body = b"300000" * 50_000
    assert first["blob"] == second["blob"] == f"blobs/{hashlib.sha256(body).hexdigest()}"
    assert first["content"] is None
    assert store.read(first["blob"]) == body
    assert (small["content"], small["blob"], small["byte_count"]) == (b"55555", None, 5)
    assert [item.path for item in store.list("blobs")] == [first["blob"]]


def test_scratch_folder_is_empty_after_a_batch(store: ObjectStore, index: Index, settings: Settings) -> None:
    with serving(_by_path) as server:
        commit_requests(store, [f"{server.url}/300000", f"{server.url}/5000000", f"{server.url}/5"])
        download(store, index, settings, BATCH)
    assert _scratch_files(store) == []


def test_request_sha256_is_verified(store: ObjectStore, index: Index, settings: Settings) -> None:
    right = hashlib.sha256(b"55555").hexdigest()
    with serving(_by_path) as server:
        uri = f"{server.url}/5"
        rows = [request_row(0, uri, sha256=right.upper()), request_row(1, uri, sha256="0" * 64)]
        commit_requests(store, rows)
        manifest = download(store, index, settings, BATCH)
    assert [row["sha256"] for row in samples_of(store, manifest)] == [right]
    assert outcomes_of(store, manifest) == [("1", "checksum_mismatch")]


def test_failures_keep_their_attempts(store: ObjectStore, index: Index, settings: Settings) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, b"broken", status=500)

    with serving(handler) as server:
        commit_requests(store, [f"{server.url}/a"])
        manifest = download(store, index, settings, BATCH)
    [row] = table_of(store, manifest, "failures")
    assert row["sample_id"] == "ummp.requests.normal~0~0"
    assert [(item["status"], item["error"]) for item in json.loads(row["attempts"])] == [
        (500, "The server answered 500")
    ] * 3


def test_unknown_schemes_and_deadlines_are_outcomes(store: ObjectStore, index: Index, settings: Settings) -> None:
    with serving(_by_path) as server:
        rows = [
            request_row(0, "gopher://example.org/"),
            request_row(1, "no scheme"),
            request_row(2, f"{server.url}/5", deadline="2001-01-01T00:00:00Z"),
            request_row(3, f"{server.url}/5", deadline="2999-01-01T00:00:00Z"),
        ]
        commit_requests(store, rows)
        manifest = download(store, index, settings, BATCH)
    assert outcomes_of(store, manifest) == [
        ("0", "unsupported_scheme"),
        ("1", "invalid_uri"),
        ("2", "deadline_passed"),
    ]
    assert len(server.received) == 1


def test_bytes_of_no_known_kind_are_dead(store: ObjectStore, index: Index, settings: Settings) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, b"\0\1\2\3", headers={"Content-Type": "application/octet-stream"})

    with serving(handler) as server:
        commit_requests(store, [f"{server.url}/a"])
        manifest = download(store, index, settings, BATCH)
    assert outcomes_of(store, manifest) == [("0", "unknown_modality")]


def test_progress_reaches_the_total(store: ObjectStore, index: Index, settings: Settings) -> None:
    seen: list[tuple[int, int]] = []
    with serving(_by_path) as server:
        commit_requests(store, [f"{server.url}/5"] * 20)
        download(store, index, settings, BATCH, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20)
    assert seen == sorted(seen)


def test_requests_not_committed_is_said(store: ObjectStore, index: Index, settings: Settings) -> None:
    with pytest.raises(ManifestMissing, match="requests"):
        download(store, index, settings, BATCH)


def test_a_full_disk_fails_the_run_with_the_path_and_commits_nothing(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(_by_path) as server:
        commit_requests(store, [f"{server.url}/3000000"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            with pytest.raises(StoreUnavailable, match=r"\.scratch.*File too large"):
                download(store, index, settings, BATCH)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with pytest.raises(ManifestMissing):
            read_manifest(store, "downloads", BATCH)
        assert _scratch_files(store) == []
        assert download(store, index, settings, BATCH).rows("samples") == 1


class _SlowStore(LocalStore):
    """A store to which large objects are on their way until something else has happened."""

    def __init__(self, root: Path, happened: threading.Event) -> None:
        super().__init__(root)
        self._happened = happened
        self.waited_in_vain = False

    def upload(self, file: Path, path: str) -> None:
        if path.startswith("blobs/"):
            self.waited_in_vain = not self._happened.wait(20)
        super().upload(file, path)


def test_transfers_go_on_while_a_large_object_is_on_its_way_to_the_store(
    index: Index, settings: Settings, tmp_path: Path
) -> None:
    asked_for_last = threading.Event()
    store = _SlowStore(tmp_path / "slow", asked_for_last)

    def handler(request: Received, connection: socket.socket) -> None:
        if request.path == "/7-last":
            asked_for_last.set()
        _by_path(request, connection)

    with serving(handler) as server:
        # More than what may wait for the writer in memory.
        uris = [f"{server.url}/300000", *(f"{server.url}/90000?{n}" for n in range(300)), f"{server.url}/7-last"]
        commit_requests(store, uris)
        manifest = download(store, index, settings, BATCH)
    assert not store.waited_in_vain
    assert [row["byte_count"] for row in samples_of(store, manifest)] == [300_000, *[90_000] * 300, 7]


def test_contents_that_wait_for_a_slow_object_leave_memory(
    store: ObjectStore, index: Index, settings: Settings, fetch_settings: FetchSettings, tmp_path: Path
) -> None:
    from ummp_assets.fetch.body import BodyWriter
    from ummp_assets.fetch.fetched import Fetched, FetchRequest
    from ummp_assets.fetch.ordering import InOrder

    def fetched(content: bytes) -> Fetched:
        writer = BodyWriter(tmp_path, 2_000_000, 2_000_000)
        writer.write(content[:1_000])
        writer.write(content[1_000:])
        return Fetched(writer.finish(), "http://a", "2026-01-01T00:00:00Z")

    contents = [bytes([65 + position]) * 1_000_000 for position in range(17)]
    with InOrder(tmp_path, max_held_bytes=2_500_000) as order:
        for position, content in enumerate(contents[1:], 1):
            order.put(FetchRequest(position, str(position), "d", "http://a", "auto"), fetched(content))
        assert order.take(100, 2_500_000) == []
        order.put(FetchRequest(0, "0", "d", "http://a", "auto"), fetched(contents[0]))
        taken = order.take(2, 2_500_000) + order.take(100, 2_500_000)
        bodies = [result.body for _, result in taken if isinstance(result, Fetched)]
        in_memory = [body for body in bodies if body.held_bytes]
        for position in range(18, 40):
            order.put(FetchRequest(position, str(position), "d", "http://a", "auto"), fetched(contents[0]))
    # Somebody may be reading them since they were taken.
    assert all(body.held_bytes for body in in_memory)
    # Two stand in memory, then three make a lot, and two lots may be on their way.
    assert [body.held_bytes for body in bodies[:9]] == [1_000_000] * 3 + [0] * 6
    assert [request.position for request, _ in taken] == list(range(17))
    assert [body.head(3) for body in bodies] == [content[:3] for content in contents]
    assert [body.read() for body in bodies] == contents
    assert bodies[4].sha256 == hashlib.sha256(contents[4]).hexdigest()
    file = bodies[4].spill(tmp_path).file
    assert file is not None
    assert file.read_bytes() == contents[4]


def test_contents_that_cannot_wait_outside_memory_are_an_error_of_the_scratch_folder(tmp_path: Path) -> None:
    from ummp_assets.fetch.body import BodyWriter
    from ummp_assets.fetch.fetched import Fetched, FetchRequest
    from ummp_assets.fetch.ordering import InOrder

    def put_all(order: InOrder) -> None:
        for position in range(1, 20):
            writer = BodyWriter(tmp_path, 2_000_000, 2_000_000)
            writer.write(b"x" * 1_000_000)
            fetched = Fetched(writer.finish(), "http://a", "2026-01-01T00:00:00Z")
            order.put(FetchRequest(position, str(position), "d", "http://a", "auto"), fetched)

    with InOrder(tmp_path / "gone", max_held_bytes=2_500_000) as order, pytest.raises(FileNotFoundError):
        put_all(order)
