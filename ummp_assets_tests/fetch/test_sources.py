"""Files, fsspec stores, SQL and APIs, each against the real thing."""

import json
import os
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pytest
from pydantic import SecretStr

from ummp_assets.fetch.api_paging import resolve_pointer
from ummp_assets.fetch.fetched import FetchRequest
from ummp_assets.fetch.files import FileSource
from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.settings import FetchSettings
from ummp_assets_tests.fetch.batches import request_row
from ummp_assets_tests.fetch.conftest import Fetch
from ummp_assets_tests.fetch.servers import Received, answer, serving
from ummp_assets_tests.storage.s3_server import s3_environment

TEXT = b"The quick brown fox jumps over the lazy dog."


# file:


def test_file_below_a_root_is_read(fetch: Fetch, tmp_path: Path) -> None:
    folder = tmp_path / "data with spaces"
    folder.mkdir()
    (folder / "ä.txt").write_bytes(TEXT)
    [row], outcomes = fetch((folder / "ä.txt").as_uri(), allowed_roots=(str(folder),))
    assert (row["content"], row["final_uri"], outcomes) == (TEXT, (folder / "ä.txt").as_uri(), [])


def test_paths_that_leave_the_roots_are_refused(fetch: Fetch, tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "root-of-others"
    for folder in (root, other):
        folder.mkdir()
        (folder / "x.txt").write_bytes(TEXT)
    (root / "link").symlink_to(other / "x.txt")
    (root / "folder").symlink_to(other)
    rows = [
        (other / "x.txt").as_uri(),
        f"file://{root}/../root-of-others/x.txt",
        f"file://{root}/%2e%2e/root-of-others/x.txt",
        f"file://{root}/link",
        f"file://{root}/folder/x.txt",
        f"file://elsewhere{root}/x.txt",
        "file:///etc/passwd",
    ]
    samples, outcomes = fetch(*rows, allowed_roots=(str(root),))
    assert (samples, outcomes) == ([], [(str(n), "outside_roots") for n in range(len(rows))])


def test_nothing_is_read_without_roots(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(TEXT)
    assert fetch((tmp_path / "x.txt").as_uri()) == ([], [("0", "outside_roots")])


def test_files_that_cannot_be_read_end_as_their_reason(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(b"x" * 5_000_000)
    (tmp_path / "other").write_bytes(TEXT)
    rows = [request_row(0, f"file://{tmp_path}/missing"), request_row(1, f"file://{tmp_path}")]
    rows += [request_row(2, f"file://{tmp_path}/empty"), request_row(3, f"file://{tmp_path}/large")]
    rows += [request_row(4, f"file://{tmp_path}/other", sha256="0" * 64)]
    _, outcomes = fetch(*rows, allowed_roots=(str(tmp_path),))
    assert [reason for _, reason in outcomes] == [
        "object_not_found",
        "object_not_found",
        "empty_body",
        "object_too_large",
        "checksum_mismatch",
    ]


def test_pipe_is_no_file_and_is_not_waited_for(fetch: Fetch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    _, outcomes = fetch((tmp_path / "pipe.txt").as_uri(), allowed_roots=(str(tmp_path),))
    assert outcomes == [("0", "object_not_found")]


def test_link_that_is_put_into_a_path_while_it_is_opened_is_not_followed(tmp_path: Path) -> None:
    """Folder and link change places all the time: whatever moment is met, nothing from outside is read."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder, text in ((root / "folder", "inside"), (outside, "secret")):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text(text)
    (root / "link").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for names in (("folder", "aside"), ("link", "folder"), ("folder", "link"), ("aside", "folder")):
                (root / names[0]).rename(root / names[1])

    source = FileSource(FetchSettings(allowed_roots=(str(root),)), tmp_path)
    request = FetchRequest(0, "0", "d", (root / "folder" / "a.txt").as_uri(), "auto")
    met: Counter[str] = Counter()
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(3_000):
            try:
                met[source.fetch(request, "").body.read().decode()] += 1
            except SourceError as error:
                met[error.reason] += 1
    finally:
        stop.set()
        swapper.join()
    assert met["inside"]
    assert met["secret"] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_denied(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(TEXT)
    (tmp_path / "secret").chmod(0)
    assert fetch(f"file://{tmp_path}/secret", allowed_roots=(str(tmp_path),)) == ([], [("0", "access_denied")])


# fsspec


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3_environment():
        files = fsspec.filesystem("s3")
        files.mkdir("corpus")
        files.pipe_file("corpus/allowed/a.txt", TEXT)
        files.pipe_file("corpus/allowed/large.txt", b"0123456789" * 50_000)
        files.pipe_file("corpus/private/b.txt", TEXT)
        yield "corpus"


def test_objects_of_s3_below_a_root_are_read(bucket: str, fetch: Fetch) -> None:
    uris = [
        f"s3://{bucket}/allowed/a.txt",
        f"s3://{bucket}/allowed/large.txt",
        f"s3://{bucket}/allowed/missing.txt",
        f"s3://{bucket}/private/b.txt",
        f"s3://{bucket}/allowed/../private/b.txt",
        f"filecache::s3://{bucket}/allowed/a.txt",
    ]
    samples, outcomes = fetch(*uris, allowed_roots=(f"s3://{bucket}/allowed",))
    assert [(row["byte_count"], row["blob"] is None) for row in samples] == [(len(TEXT), True), (500_000, False)]
    assert outcomes == [
        ("2", "object_not_found"),
        ("3", "outside_roots"),
        ("4", "outside_roots"),
        ("5", "unsupported_scheme"),
    ]


# sql


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE pages (id INTEGER, text TEXT, picture BLOB, score REAL)")
        rows = [(n, f"page {n}", b"\xff\xd8\xff" + bytes([n % 256]), None if n % 2 else 0.5) for n in range(2_500)]
        connection.executemany("INSERT INTO pages VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return path


def _sql(query: str, name: str = "warehouse") -> str:
    return f"sql+{name}:{quote(query)}"


def test_rows_of_a_query_become_samples(database: Path, fetch: Fetch) -> None:
    connections = {"warehouse": SecretStr(f"sqlite:///{database}")}
    samples, outcomes = fetch(_sql("SELECT id, text, score FROM pages ORDER BY id"), connections=connections)
    assert (len(samples), outcomes) == (2_500, [])
    assert samples[3]["sample_id"] == "ummp.requests.normal~0~0~3"
    assert [row["content"] for row in samples[:2]] == [b"page 0", b"page 1"]
    assert [json.loads(row["attributes"]) for row in samples[:2]] == [{"id": 0, "score": 0.5}, {"id": 1, "score": None}]
    assert {row["modality"] for row in samples} == {"text"}


def test_bytes_and_colons_in_a_query(database: Path, fetch: Fetch) -> None:
    connections = {"warehouse": SecretStr(f"sqlite:///{database}")}
    query = "SELECT picture AS content, 'a:b' AS label FROM pages WHERE id = 7"
    [row], _ = fetch(_sql(query), connections=connections)
    assert (row["content"], row["modality"], row["label"]) == (b"\xff\xd8\xff\x07", "image", '"a:b"')


def test_databases_are_only_read(database: Path, fetch: Fetch) -> None:
    connections = {"warehouse": SecretStr(f"sqlite:///{database}")}
    queries = [
        "DELETE FROM pages",
        "WITH gone AS (SELECT 1) DELETE FROM pages",
        "SELECT nothing FROM pages",
        "SELECT 1 AS text WHERE 1 = 0",
    ]
    uris = [*map(_sql, queries), _sql("SELECT 1", "elsewhere")]
    samples, outcomes = fetch(*uris, connections=connections)
    assert samples == []
    reasons = ["query_failed", "query_failed", "query_failed", "empty_body", "unknown_connection"]
    assert [reason for _, reason in outcomes] == reasons
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM pages").fetchone() == (2_500,)
    connection.close()


def test_columns_of_one_name_are_both_kept(database: Path, fetch: Fetch) -> None:
    query = "SELECT 'x' AS text, a.id, b.id FROM pages a, pages b WHERE a.id = 1 AND b.id = 2"
    [row], _ = fetch(_sql(query), connections={"warehouse": SecretStr(f"sqlite:///{database}")})
    assert json.loads(row["attributes"]) == {"id": 1, "id#2": 2}


def test_endless_query_is_broken_off(database: Path, fetch: Fetch) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    _, outcomes = fetch(
        _sql(endless), connections={"warehouse": SecretStr(f"sqlite:///{database}")}, total_timeout_seconds=0.3
    )
    assert outcomes == [("0", "timed_out")]


def test_database_that_is_not_there_is_tried_again_and_its_password_never_told(fetch: Fetch) -> None:
    connections = {"away": SecretStr("sqlite:////no/such/folder/secret-password.db")}
    samples, outcomes = fetch(_sql("SELECT 1", "away"), connections=connections)
    assert (samples, outcomes) == ([], [("0", "connection_failed")])


# api


def _json(connection: socket.socket, document: Any, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer(connection, json.dumps(document).encode(), headers={"Content-Type": "application/json", **named})


def test_pages_are_followed_by_link_header(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        page = int(request.path.partition("page=")[2] or 1)
        link = {"Link": f'</items?page={page + 1}>; rel="next"'} if page < 3 else {}
        _json(connection, [{"text": f"item {page}.{n}"} for n in range(2)], **link)

    with serving(handler) as server:
        samples, outcomes = fetch(f"api+{server.url}/items")
    assert [row["content"].decode() for row in samples] == [f"item {p}.{n}" for p in (1, 2, 3) for n in range(2)]
    assert (outcomes, len(server.received)) == ([], 3)


def test_pages_are_followed_by_next_field_and_cursor(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if "urls" in request.path:
            number = int(request.path[-1])
            following = f"{server.url}/urls/{number + 1}" if number < 3 else None
        else:
            number = int(request.path.partition("after=")[2] or 1)
            following = str(number + 1) if number < 3 else ""
        _json(connection, {"data": {"list": [{"text": str(number)}]}, "next": following})

    with serving(handler) as server:
        rows = [
            f"api+{server.url}/urls/1#items=/data/list&next=/next",
            f"api+{server.url}/cursor?size=1#items=/data/list&next=/next&cursor=after",
        ]
        samples, _ = fetch(*rows)
    assert [row["content"] for row in samples] == [b"1", b"2", b"3"] * 2
    assert "/cursor?size=1&after=3" in [item.path for item in server.received]


def test_pages_are_counted_until_one_is_empty(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        number = int(request.path.partition("p=")[2])
        _json(connection, {"items": [{"title": f"t{number}"}] if number < 3 else []})

    with serving(handler) as server:
        samples, _ = fetch(f"api+{server.url}/x#items=/items&page=p&first=0")
    assert [row["content"] for row in samples] == [b'{"title": "t0"}', b'{"title": "t1"}', b'{"title": "t2"}']


def test_rate_limit_headers_and_retry_after_are_kept(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if len(server.received) == 1:
            limit = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1", "Link": '</2>; rel="next"'}
            answer(connection, b'[{"text": "1"}]', headers=limit)
        elif len(server.received) == 2:
            answer(connection, b"wait", status=429, headers={"Retry-After": "1"})
        else:
            _json(connection, [{"text": "2"}])

    with serving(handler) as server:
        samples, _ = fetch(f"api+{server.url}/1")
    times = [item.time for item in server.received]
    assert [row["content"] for row in samples] == [b"1", b"2"]
    assert all(after - before >= 0.95 for before, after in pairwise(times))


def test_api_faults_end_as_their_reason(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if request.path == "/text":
            answer(connection, b"<html>")
        elif request.path == "/loop":
            answer(connection, b"", status=302, headers={"Location": "/loop"})
        elif request.path == "/away":
            answer(connection, b"", status=302, headers={"Location": "http://169.254.169.254/"})
        elif request.path == "/broken":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")
            connection.close()
        else:
            answer(connection, b"no", status=404)

    with serving(handler) as server:
        paths = ["/text", "/loop", "/away", "/broken", "/missing", "/x#pages=2"]
        _, outcomes = fetch(*(f"api+{server.url}{path}" for path in paths), "api+http://10.0.0.1/", max_attempts=2)
    assert [reason for _, reason in outcomes] == [
        "invalid_response",
        "too_many_redirects",
        "address_refused",
        "truncated_body",
        "http_client_error",
        "invalid_uri",
        "address_refused",
    ]


def test_slow_source_does_not_hold_up_the_web(fetch: Fetch) -> None:
    others, others_began, in_time = iter(range(30)), threading.Event(), []

    def handler(request: Received, connection: socket.socket) -> None:
        if request.path == "/slow":
            in_time.append(others_began.wait(30.0))
            _json(connection, [{"text": "slow"}])
        else:
            if next(others) == 29:
                others_began.set()
            answer(connection, TEXT)

    with serving(handler) as server:
        uris = [f"api+{server.url}/slow", *(f"{server.url}/{n}" for n in range(30))]
        samples, _ = fetch(*uris, total_timeout_seconds=60.0, low_speed_seconds=60)
    assert len(samples) == 31
    assert samples[0]["content"] == b"slow"
    assert in_time == [True]


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", {"a": [1, {"b/c": 2, "m~n": 3}]}),
        ("/a/0", 1),
        ("/a/1/b~1c", 2),
        ("/a/1/m~0n", 3),
        ("/a/7", None),
        ("/x/y", None),
    ],
)
def test_json_pointer_as_in_rfc_6901(pointer: str, found: Any) -> None:
    assert resolve_pointer({"a": [1, {"b/c": 2, "m~n": 3}]}, pointer) == found
