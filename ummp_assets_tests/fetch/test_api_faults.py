"""APIs that misbehave, and what must not reach them."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ummp_assets.settings import HostSettings
from ummp_assets_tests.fetch.conftest import Fetch
from ummp_assets_tests.fetch.servers import Received, answer, serving

OK = b"HTTP/1.1 200 OK\r\n"


def _json(connection: socket.socket, document: Any) -> None:
    answer(connection, json.dumps(document).encode())


@pytest.mark.parametrize("head", [OK + b"Content-Length: 100000\r\n\r\n[", OK], ids=["body", "headers"])
def test_api_that_sends_a_byte_at_a_time_is_broken_off(head: bytes, fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(b"A: b\r\n")
            time.sleep(0.05)

    with serving(handler) as server:
        _, outcomes = fetch(f"api+{server.url}/x", total_timeout_seconds=0.4, max_attempts=1)
    assert outcomes == [("0", "timed_out")]


def test_pages_that_do_not_change_are_read_twice_at_most(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        _json(connection, {"items": [{"text": "same"}], "next": request.path})

    with serving(handler) as server:
        samples, _ = fetch(f"api+{server.url}/a#items=/items&page=p", f"api+{server.url}/b#items=/items&next=/next")
    assert len(samples) == 2
    assert len(server.received) == 3


def test_fragment_that_does_not_fit_the_pages_is_said(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        _json(connection, {"items": [{"text": "x"}], "next": {"id": 1}})

    with serving(handler) as server:
        paging = ["items=/nothing", "items=items", "items=/items&next=/next", "page=p&first=one"]
        _, outcomes = fetch(*(f"api+{server.url}/x#{fragment}" for fragment in paging))
    assert [reason for _, reason in outcomes] == ["invalid_response", "invalid_uri", "invalid_response", "invalid_uri"]


def test_credentials_of_the_settings_win_over_those_of_a_netrc(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def handler(request: Received, connection: socket.socket) -> None:
        _json(connection, [{"text": "x"}])

    own = {"127.0.0.1": HostSettings(headers={"Authorization": SecretStr("Bearer ours")})}
    with serving(handler) as server:
        fetch(f"api+{server.url}/x", hosts=own)
        fetch(f"api+{server.url}/y", hosts={})
    assert [item.headers.get("authorization") for item in server.received] == ["Bearer ours", None]


def test_proxy_is_not_asked_for_private_addresses_of_apis(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def proxy(request: Received, connection: socket.socket) -> None:
        _json(connection, [{"text": request.path}])

    with serving(proxy) as server:
        monkeypatch.setenv("http_proxy", server.url)
        uris = ["http://site.example/x", "http://169.254.169.254/x", "http://0x7f000001/x"]
        samples, outcomes = fetch(*(f"api+{uri}" for uri in uris), allowed_addresses=())
    assert [row["content"] for row in samples] == [b"http://site.example/x"]
    assert outcomes == [("1", "address_refused"), ("2", "address_refused")]


def test_attempts_of_a_long_listing_do_not_grow_with_its_pages(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        number = int(request.path.partition("p=")[2])
        if len(server.received) == 2:
            answer(connection, b"oops", status=500)
        else:
            _json(connection, [{"text": str(number)}] if number < 60 else [])

    with serving(handler) as server:
        samples, _ = fetch(f"api+{server.url}/x#page=p")
    assert len(samples) == 59
    [evidence] = {row["evidence"] for row in samples}
    assert json.loads(evidence) == {"attempts": 61, "pages": 60}
    assert all(len(json.loads(row["attempts"])) == 20 for row in samples)
