"""HTTP/2 where a server offers it, from a real nginx."""

import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ummp_assets_tests.fetch.certificates import server_context
from ummp_assets_tests.fetch.conftest import Fetch

_CONFIG = """
daemon off; pid {folder}/nginx.pid; worker_processes 1; user {user};
events {{ worker_connections 256; }}
http {{
  log_format protocols "$server_protocol $connection $uri";
  access_log {folder}/access.log protocols;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2; ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;
    root {folder}/www;
  }}
}}
"""
_NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class _Site:
    url: str
    access_log: Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[_Site]:
    if _NGINX is None:
        said = "nginx is not installed (Debian: apt-get install nginx-light): HTTP/2 was NOT tested"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    server_context(tmp_path, address="127.0.0.1")
    (tmp_path / "www").mkdir()
    for number in range(40):
        (tmp_path / "www" / f"{number}.txt").write_text(f"text {number}\n" * 1_000)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "nginx.conf"
    config.write_text(_CONFIG.format(folder=tmp_path, port=port, user=tmp_path.owner()))
    with subprocess.Popen([_NGINX, "-e", tmp_path / "error.log", "-c", config]) as process:
        try:
            _wait_for(port)
            yield _Site(f"https://127.0.0.1:{port}", tmp_path / "access.log")
        finally:
            process.terminate()


def test_transfers_share_connections_where_http2_is_offered(
    site: _Site, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "ca.pem"))
    samples, outcomes = fetch(*(f"{site.url}/{number}.txt" for number in range(40)), inline_bytes=1_000_000)
    assert outcomes == []
    assert [row["content"] for row in samples] == [f"text {number}\n".encode() * 1_000 for number in range(40)]

    asked = [line.split() for line in site.access_log.read_text().splitlines()]
    assert Counter(protocol for protocol, _, _ in asked) == {"HTTP/2.0": 41}  # robots.txt is the first
    assert len({connection for _, connection, _ in asked}) <= 2


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on port {port}")
