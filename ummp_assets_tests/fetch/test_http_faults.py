"""Servers that misbehave: each ends as one outcome with its reason, and holds up nobody else."""

import gzip
import hashlib
import json
import socket
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import brotli
import pytest
import zstandard
from pydantic import SecretStr

from ummp_assets.fetch.stage import download
from ummp_assets.settings import HostSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.fetch.batches import (
    commit_requests,
    outcomes_of,
    request_row,
)
from ummp_assets_tests.fetch.certificates import server_context
from ummp_assets_tests.fetch.conftest import Fetch
from ummp_assets_tests.fetch.servers import Handler, Received, answer, serving

TEXT = b"The quick brown fox jumps over the lazy dog. " * 200


def _raw(*pieces: bytes, then: Callable[[socket.socket], None] | None = None) -> Handler:
    """Send these bytes, then do something or close."""

    def handler(request: Received, connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
        if then is not None:
            then(connection)
        connection.close()

    return handler


def _for_ever(piece: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection.sendall(piece)
                time.sleep(pause)

    return send


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


OK = b"HTTP/1.1 200 OK\r\n"
FAULTS: dict[str, tuple[Handler, str, int]] = {
    # name: handler, reason, requests that the server sees
    "truncated_body": (_raw(OK + b"Content-Length: 100\r\n\r\nonly this"), "truncated_body", 3),
    "content_length_is_no_number": (_raw(OK + b"Content-Length: many\r\n\r\nbody"), "invalid_response", 1),
    "two_content_lengths": (
        _raw(OK + b"Content-Length: 4\r\nContent-Length: 400\r\n\r\nbody"),
        "invalid_response",
        1,
    ),
    "endless_body": (_raw(OK + b"\r\n", then=_for_ever(b"x" * 65_536)), "object_too_large", 1),
    "announced_too_large": (_raw(OK + b"Content-Length: 99999999999\r\n\r\n"), "object_too_large", 1),
    "endless_headers": (_raw(OK, then=_for_ever(b"X-More: " + b"x" * 1_000 + b"\r\n")), "invalid_response", 1),
    "one_endless_header": (_raw(OK + b"X-More: ", then=_for_ever(b"x" * 10_000)), "invalid_response", 1),
    "no_http_at_all": (_raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "invalid_response", 1),
    "slow_loris_body": (
        _raw(OK + b"Content-Length: 100000\r\n\r\n", then=_for_ever(b"x", pause=0.1)),
        "timed_out",
        1,
    ),
    "slow_loris_headers": (_raw(OK, then=_for_ever(b"A: b\r\n", pause=0.1)), "timed_out", 1),
    "reset": (_raw(OK + b"Content-Length: 100\r\n\r\nbody", then=_reset), "connection_failed", 3),
    # Once more than attempts: libcurl asks again by itself when a connection that it reuses turns out closed.
    "closed_without_an_answer": (_raw(), "connection_failed", 4),
    "zero_bytes": (_raw(OK + b"Content-Length: 0\r\n\r\n"), "empty_body", 1),
    "no_content": (_raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "empty_body", 1),
    "not_found": (_raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"), "http_client_error", 1),
    "gone": (_raw(b"HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\ngone"), "http_client_error", 1),
    "endless_error_page": (
        _raw(b"HTTP/1.1 404 Not Found\r\n\r\n", then=_for_ever(b"x" * 65_536)),
        "http_client_error",
        1,
    ),
    "always_failing": (_raw(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"), "http_server_error", 3),
    "not_implemented": (_raw(b"HTTP/1.1 501 No\r\nContent-Length: 2\r\n\r\nno"), "http_server_error", 1),
    "partial_content_unasked": (
        _raw(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-8/9\r\nContent-Length: 4\r\n\r\nbody"),
        "invalid_response",
        1,
    ),
    "redirect_without_location": (_raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "http_client_error", 1),
    "redirect_to_a_file": (
        _raw(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
        "unsupported_scheme",
        1,
    ),
    "redirect_to_a_private_address": (
        _raw(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/secret\r\nContent-Length: 0\r\n\r\n"),
        "address_refused",
        1,
    ),
    "redirect_to_the_metadata_service": (
        _raw(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n"),
        "address_refused",
        1,
    ),
    "gzip_bomb": (
        _raw(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"\0" * 3_900_000)),
        "decompression_bomb",
        1,
    ),
    "zstd_bomb": (
        _raw(OK + b"Content-Encoding: zstd\r\n\r\n" + zstandard.compress(b"\0" * 300_000_000)),
        "decompression_bomb",
        1,
    ),
    "gzip_bomb_in_gzip": (
        _raw(OK + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(gzip.compress(b"\0" * 3_900_000))),
        "decompression_bomb",
        1,
    ),
    "retry_after_the_end_of_time": (
        _raw(
            OK[:9] + b"503 Busy\r\nRetry-After: Fri, 01 Jan 2100 00:00:00 +999999999999999\r\nContent-Length: 0\r\n\r\n"
        ),
        "http_server_error",
        3,
    ),
    "host_name_too_long": (
        _raw(OK[:9] + b"302 No\r\nLocation: http://" + b"a." * 200 + b"b/\r\n\r\n"),
        "invalid_uri",
        1,
    ),
    "gzip_without_end": (
        _raw(OK + b"Content-Encoding: gzip\r\nContent-Length: 40\r\n\r\n" + gzip.compress(TEXT)[:40]),
        "invalid_response",
        1,
    ),
    "not_gzip": (_raw(OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbody"), "invalid_response", 1),
    "unknown_coding": (
        _raw(OK + b"Content-Encoding: rot13\r\nContent-Length: 4\r\n\r\nobql"),
        "invalid_response",
        1,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_ends_as_its_reason(name: str, fetch: Fetch) -> None:
    handler, reason, requests = FAULTS[name]
    with serving(handler) as server:
        samples, outcomes = fetch(f"{server.url}/x", max_attempts=1 if "slow" in name else 3)
    assert (samples, outcomes) == ([], [("0", reason)])
    assert len(server.received) == requests


def test_transfer_that_takes_too_long_as_a_whole_is_broken_off(fetch: Fetch) -> None:
    with serving(_raw(OK + b"\r\n", then=_for_ever(b"x" * 2_000, pause=0.05))) as server:
        assert fetch(f"{server.url}/x", max_attempts=1, total_timeout_seconds=1.0) == ([], [("0", "timed_out")])


def test_ten_thousand_redirects_end_after_the_limit(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        number = int(request.path.strip("/"))
        answer(connection, status=301, headers={"Location": f"/{number + 1}"})

    with serving(handler) as server:
        assert fetch(f"{server.url}/0") == ([], [("0", "too_many_redirects")])
    assert len(server.received) == 6


def test_redirects_within_the_limit_are_followed_and_kept(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if request.path == "/end?x=1":
            answer(connection, TEXT)
        else:
            answer(connection, b"moved", status=302, headers={"Location": "end?x=1"})

    with serving(handler) as server:
        [row], _ = fetch(f"{server.url}/start")
        assert row["uri"] == f"{server.url}/start"
        assert row["final_uri"] == f"{server.url}/end?x=1"
        assert f'"redirects": ["{server.url}/start"]' in row["evidence"]


def test_name_that_resolves_to_loopback_is_refused(fetch: Fetch) -> None:
    with serving(_raw(OK + b"\r\nsecret")) as server:
        uris = [f"http://localhost:{server.port}/", f"http://2130706433:{server.port}/", f"{server.url}/"]
        assert fetch(*uris, allowed_addresses=()) == ([], [(str(n), "address_refused") for n in range(3)])
    assert server.connections == 0


def test_reset_in_the_middle_is_resumed_where_it_broke(fetch: Fetch) -> None:
    body = bytes(range(256)) * 8_000

    def handler(request: Received, connection: socket.socket) -> None:
        headers = {"ETag": '"v1"', "Content-Type": "text/plain"}
        if "range" not in request.headers:
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "v1"\r\n\r\n'
            connection.sendall(head.encode() + body[:1_000_000])
            time.sleep(0.2)
            _reset(connection)
            connection.close()
            return
        start = int(request.headers["range"].removeprefix("bytes=").rstrip("-"))
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        answer(connection, body[start:], status=206, headers=headers)

    with serving(handler) as server:
        [row], _ = fetch(request_row(0, f"{server.url}/large", modality="text"))
    assert row["sha256"] == hashlib.sha256(body).hexdigest()
    second = server.received[1].headers
    assert second["if-range"] == '"v1"'
    assert int(second["range"].removeprefix("bytes=").rstrip("-")) > 100_000


def test_object_that_changed_before_the_resume_is_fetched_anew(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if "range" not in request.headers:
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: "v1"\r\n\r\nthe old beginning')
            connection.close()
            return
        answer(connection, TEXT, headers={"ETag": '"v2"'})

    with serving(handler) as server:
        [row], _ = fetch(f"{server.url}/x")
    assert row["content"] == TEXT


def test_object_that_became_empty_before_the_resume_is_empty(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if "range" not in request.headers:
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: "v1"\r\n\r\nthe old beginning')
            connection.close()
            return
        answer(connection, headers={"ETag": '"v2"'})

    with serving(handler) as server:
        samples, outcomes = fetch(f"{server.url}/x")
    assert (samples, outcomes) == ([], [("0", "empty_body")])


@pytest.mark.parametrize(
    ("content_range", "etag", "body"),
    [
        (f"bytes 100-199/{len(TEXT)}", '"v1"', TEXT[100:200]),
        (f"bytes 0-99/{len(TEXT)}", '"v1"', TEXT[:100]),
        (f"bytes 100-{len(TEXT) - 1}/{len(TEXT)}", '"v2"', b"x" * (len(TEXT) - 100)),
        (f"bytes 100-{len(TEXT) - 1}/*", '"v1"', TEXT[100:]),
        (f"bytes 100-{len(TEXT) - 1}/{len(TEXT)}", '"v1"', None),
        ("bytes */50", '"v1"', b""),
    ],
    ids=["a piece of the rest", "the beginning", "of another object", "of unknown size", "cut off", "nothing (416)"],
)
def test_answer_to_a_resume_that_is_not_the_rest_is_thrown_away(
    content_range: str, etag: str, body: bytes | None, fetch: Fetch
) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if len(server.received) == 1:
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(TEXT)}\r\nETag: "v1"\r\n\r\n'
            connection.sendall(head.encode() + TEXT[:100])
            connection.close()
        elif len(server.received) > 2:
            answer(connection, TEXT)
        elif body is None:
            head = f"HTTP/1.1 206 Partial\r\nContent-Range: {content_range}\r\nETag: {etag}\r\n\r\n"
            connection.sendall(head.encode() + TEXT[100:150])
            connection.close()
        else:
            headers = {"Content-Range": content_range, "ETag": etag}
            answer(connection, body, status=206 if body else 416, headers=headers)

    with serving(handler) as server:
        [row], _ = fetch(f"{server.url}/x")
    assert row["content"] == TEXT
    assert server.received[1].headers["range"] == "bytes=100-"
    assert "range" not in server.received[2].headers


def test_part_without_validator_is_thrown_away(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if len(server.received) == 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe old beginning")
            connection.close()
            return
        answer(connection, TEXT)

    with serving(handler) as server:
        [row], _ = fetch(f"{server.url}/x")
    assert row["content"] == TEXT
    assert "range" not in server.received[1].headers


def test_compressed_body_is_resumed_in_the_middle(fetch: Fetch) -> None:
    coded = gzip.compress(TEXT)

    def handler(request: Received, connection: socket.socket) -> None:
        headers = {"ETag": '"v1"', "Content-Encoding": "gzip"}
        if "range" not in request.headers:
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(coded)}\r\nETag: "v1"\r\nContent-Encoding: gzip\r\n\r\n'
            connection.sendall(head.encode() + coded[:50])
            connection.close()
            return
        headers["Content-Range"] = f"bytes 50-{len(coded) - 1}/{len(coded)}"
        answer(connection, coded[50:], status=206, headers=headers)

    with serving(handler) as server:
        [row], _ = fetch(f"{server.url}/x")
    assert row["content"] == TEXT


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)[2:-4]),
        ("br", brotli.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT)),
        ("zstd", zstandard.compress(TEXT[:100]) + b"\x50\x2a\x4d\x18\4\0\0\0skip" + zstandard.compress(TEXT[100:])),
        ("identity", TEXT),
        ("gzip, br", brotli.compress(gzip.compress(TEXT))),
        ("GZIP, identity", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT) + b"\0\0\0"),
        ("gzip", gzip.compress(TEXT) + b"trailing garbage"),
        ("deflate", zlib.compress(TEXT) + b"trailing garbage"),
        ("zstd", zstandard.compress(TEXT) + b"trailing garbage"),
    ],
    ids=[
        "gzip",
        "gzip of two members",
        "deflate",
        "raw deflate",
        "br",
        "zstd",
        "zstd of three frames",
        "identity",
        "br of gzip",
        "gzip and identity",
        "zeros behind gzip",
        "garbage behind gzip",
        "garbage behind deflate",
        "garbage behind zstd",
    ],
)
def test_content_codings_are_undone(coding: str, coded: bytes, fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, coded, headers={"Content-Encoding": coding})

    with serving(handler) as server:
        [row], _ = fetch(f"{server.url}/x")
    assert (row["content"], row["sha256"]) == (TEXT, hashlib.sha256(TEXT).hexdigest())
    assert server.received[0].headers["accept-encoding"] == "gzip, deflate, br, zstd"


def test_server_error_then_success_is_stored_with_both_attempts(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if len(server.received) == 1:
            answer(connection, b"oops", status=500)
        else:
            answer(connection, TEXT)

    with serving(handler) as server:
        [row], outcomes = fetch(f"{server.url}/x")
    assert outcomes == []
    attempts = json.loads(row["attempts"])
    assert [(item["status"], item["error"]) for item in attempts] == [(500, "The server answered 500"), (200, None)]


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_kept_while_other_hosts_go_on(as_date: bool, fetch: Fetch) -> None:
    """The date has whole seconds, so that a wait of two seconds may be one and a bit."""

    def busy(request: Received, connection: socket.socket) -> None:
        if len(slow.received) > 1:
            answer(connection, TEXT)
            return
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        answer(connection, b"wait", status=429, headers={"Retry-After": date if as_date else "1"})

    def idle(request: Received, connection: socket.socket) -> None:
        answer(connection, TEXT)

    with serving(busy) as slow, serving(idle) as fast:
        samples, outcomes = fetch(f"{slow.url}/1", *(f"{fast.url}/{n}" for n in range(20)))
    assert (len(samples), outcomes) == (21, [])
    waited = slow.received[1].time - slow.received[0].time
    assert 0.95 <= waited < 3
    assert max(item.time for item in fast.received) < slow.received[0].time + 0.9


def test_busy_host_gets_no_other_request_before_its_time(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        busy = len(server.received) == 1
        answer(connection, TEXT, status=503 if busy else 200, headers={"Retry-After": "1"} if busy else {})

    with serving(handler) as server:
        samples, _ = fetch(*(f"{server.url}/{n}" for n in range(10)), max_connections_per_host=1)
    assert len(samples) == 10
    assert server.received[1].time - server.received[0].time >= 0.95


def test_longer_rest_than_is_waited_for_leaves_the_host_alone(
    store: ObjectStore, index: Index, settings: Settings, fetch: Fetch
) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, b"wait", status=429, headers={"Retry-After": "3600"})

    with serving(handler) as server:
        uris = [f"{server.url}/{n}" for n in range(10)]
        assert fetch(*uris, max_connections_per_host=1) == ([], [(str(n), "host_unavailable") for n in range(10)])
        assert len(server.received) == 1
        commit_requests(store, uris, "ummp.requests.normal~00000002")
        later = download(store, index, settings, "ummp.requests.normal~00000002")
    assert outcomes_of(store, later) == [(str(n), "host_unavailable") for n in range(10)]
    assert len(server.received) == 1


def test_host_that_fails_again_and_again_is_rested(fetch: Fetch) -> None:
    def failing(request: Received, connection: socket.socket) -> None:
        connection.close()

    def working(request: Received, connection: socket.socket) -> None:
        answer(connection, TEXT)

    with serving(failing) as bad, serving(working) as good:
        rows = [f"{bad.url}/{n}" for n in range(50)] + [f"{good.url}/{n}" for n in range(5)]
        samples, outcomes = fetch(*rows, max_host_failures=4)
    assert len(samples) == 5
    assert len(outcomes) == 50
    assert {reason for _, reason in outcomes} <= {"host_unavailable", "connection_failed"}
    assert len(bad.received) <= 10


def test_names_that_do_not_resolve_and_ports_that_nobody_serves(fetch: Fetch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    rows = ["http://no-such-host.invalid/", f"http://127.0.0.1:{port}/"]
    assert fetch(*rows) == ([], [("0", "name_not_resolved"), ("1", "connection_failed")])


def test_host_that_swallows_connections_times_out_after_two_tries(fetch: Fetch) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(full.getsockname())
        began = time.monotonic()
        samples, outcomes = fetch(f"http://127.0.0.1:{full.getsockname()[1]}/", connect_timeout_seconds=0.5)
    assert (samples, outcomes) == ([], [("0", "timed_out")])
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http:///path",
        "http://a b/",
        "http://exa\tmple.org/",
        "http://[::1/",
        "http://host:99999/",
        "http://user:pw@127.0.0.1/",
    ],
)
def test_invalid_url_is_said(uri: str, fetch: Fetch) -> None:
    assert fetch(uri) == ([], [("0", "invalid_uri")])


def test_urls_with_spaces_and_other_scripts_are_escaped(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, TEXT)

    with serving(handler) as server:
        samples, outcomes = fetch(f"{server.url}/a b/Käse?q=日本&r=%41#part", f"HTTP://LOCALHOST:{server.port}/x")
    assert (len(samples), outcomes) == (2, [])
    assert sorted(item.path for item in server.received) == ["/a%20b/K%C3%A4se?q=%E6%97%A5%E6%9C%AC&r=%41", "/x"]
    assert samples[0]["uri"].endswith("/a b/Käse?q=日本&r=%41#part")


@pytest.mark.parametrize(
    ("address", "trusted", "reasons"),
    [("127.0.0.1", True, []), ("127.0.0.9", True, ["tls_failed"]), ("127.0.0.1", False, ["tls_failed"])],
    ids=["right name", "wrong name", "unknown authority"],
)
def test_certificate_is_verified(
    address: str, trusted: bool, reasons: list[str], fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, TEXT)

    context = server_context(tmp_path, address=address)
    for variable in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(variable, raising=False)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with serving(handler, tls=context) as server:
        samples, outcomes = fetch(f"https://127.0.0.1:{server.port}/x")
    assert [reason for _, reason in outcomes] == reasons
    assert len(samples) == 1 - len(reasons)
    assert len(server.received) == len(samples)


@pytest.mark.parametrize("scheme", ["", "api+"])
def test_credentials_are_not_sent_once_a_redirect_has_left_https(
    scheme: str, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"127.0.0.1": HostSettings(username="me", password=SecretStr("secret"))}

    def redirect(request: Received, connection: socket.socket) -> None:
        answer(connection, status=302, headers={"Location": f"{plain.url}/x"})

    def serve(request: Received, connection: socket.socket) -> None:
        answer(connection, b'{"text": "x"}')

    tls = server_context(tmp_path, address="127.0.0.1")
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    with serving(serve) as plain, serving(redirect, tls=tls) as secure:
        samples, _ = fetch(f"{scheme}https://127.0.0.1:{secure.port}/", hosts=own)
    assert len(samples) == 1
    assert "authorization" in secure.received[0].headers
    assert "authorization" not in plain.received[0].headers


def test_credentials_of_the_host_are_sent_and_never_stored(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, TEXT)

    with serving(handler) as server:
        own = HostSettings.model_validate({"headers": {"X-Key": "secret-1"}, "username": "u", "password": "secret-2"})
        samples, _ = fetch(f"{server.url}/x", hosts={f"127.0.0.1:{server.port}": own})
    assert server.received[0].headers["x-key"] == "secret-1"
    assert server.received[0].headers["authorization"] == "Basic dTpzZWNyZXQtMg=="
    assert "secret" not in str(samples)
