"""What may be fetched and how fast: addresses, robots.txt, opt-outs, budgets, proxies."""

import json
import random
import socket
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ummp_assets.errors import InvalidSettings
from ummp_assets.fetch.addresses import AddressPolicy
from ummp_assets.fetch.robots import forbids_ai, read_robots
from ummp_assets.fetch.stage import download
from ummp_assets.settings import HostSettings, Settings
from ummp_assets.storage.fetch_state import FetchState, RestingHost, StoredRobots
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.raw import raw_bytes
from ummp_assets_tests.fetch.batches import commit_requests, outcomes_of, request_row, samples_of, table_of
from ummp_assets_tests.fetch.conftest import Fetch
from ummp_assets_tests.fetch.servers import Received, answer, serving

TEXT = b"The quick brown fox jumps over the lazy dog."
PNG = b"\x89PNG\r\n\x1a\npixels"
# What does not shrink stands in Parquet as it is.
JPEG_NOISE = b"\xff\xd8\xff" + random.Random(1).randbytes(30_000)
FIRST, SECOND = "ummp.requests.normal~00000001", "ummp.requests.normal~00000002"


def _serve_text(request: Received, connection: socket.socket) -> None:
    answer(connection, TEXT)


# Addresses


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        # IPv4 in IPv6's compatible and translated forms, site-local, not assigned; deprecated relays; documentation
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::a00:1", False),
        ("fec0::1", False),
        ("5f00::1", False),
        ("192.88.99.1", False),
        ("3fff::1", False),
        # metadata services of Azure, Oracle Cloud and Alibaba Cloud
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("100.100.100.200", False),
        ("no address", False),
    ],
)
def test_only_public_addresses_are_allowed(address: str, allowed: bool) -> None:
    assert AddressPolicy([]).is_allowed(address) is allowed


def test_networks_on_the_list_are_opened_and_no_others() -> None:
    policy = AddressPolicy(["10.0.0.0/8", "::1/128"])
    assert [policy.is_allowed(address) for address in ("10.9.9.9", "::1", "127.0.0.1")] == [True, True, False]
    with pytest.raises(InvalidSettings, match="UMMP_FETCH__ALLOWED_ADDRESSES"):
        AddressPolicy(["10.0.0.0/99"])


# robots.txt


def test_robots_txt_is_asked_once_and_kept_with_the_date_of_the_decision(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    asked: list[str] = []
    robots = "User-agent: *\nDisallow: /private\n"

    def handler(request: Received, connection: socket.socket) -> None:
        asked.append(request.path)
        answer(connection, TEXT)

    with serving(handler, robots=robots) as server:
        uris = [f"{server.url}/open", f"{server.url}/private/x", *(f"{server.url}/{n}" for n in range(5))]
        commit_requests(store, uris, FIRST)
        first = download(store, index, settings, FIRST)
        commit_requests(store, [f"{server.url}/private/y"], SECOND)
        second = download(store, index, settings, SECOND)
    assert outcomes_of(store, first) == [("1", "robots_disallowed")]
    assert outcomes_of(store, second) == [("0", "robots_disallowed")]
    assert "/private/x" not in asked
    assert server.robots_asked == 1
    [failure] = table_of(store, first, "failures")
    allowed, refused = json.loads(samples_of(store, first)[0]["evidence"]), json.loads(failure["evidence"])
    assert allowed["robots"]["allowed"] is True
    assert refused["robots"] == {"allowed": False, "status": 200, "fetched_at": allowed["robots"]["fetched_at"]}


def test_robots_txt_of_a_host_can_be_set_aside(fetch: Fetch) -> None:
    with serving(_serve_text, robots="User-agent: *\nDisallow: /\n") as server:
        own = {f"127.0.0.1:{server.port}": HostSettings(respect_robots=False)}
        [row], outcomes = fetch(f"{server.url}/x", hosts=own)
    assert (outcomes, json.loads(row["evidence"])["robots"]) == ([], {"respected": False})
    assert server.robots_asked == 0


def test_robots_txt_that_fails_closes_the_host(fetch: Fetch) -> None:
    with serving(_serve_text, robots="oops", robots_status=500) as server:
        assert fetch(f"{server.url}/a", f"{server.url}/b") == (
            [],
            [("0", "robots_unreachable"), ("1", "robots_unreachable")],
        )
    assert (server.robots_asked, server.received) == (3, [])


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_robots_txt_that_is_refused_leaves_the_host_open(status: int, fetch: Fetch) -> None:
    with serving(_serve_text, robots="no", robots_status=status) as server:
        samples, _ = fetch(f"{server.url}/a")
    assert len(samples) == 1


def test_longer_robots_txt_than_is_read_counts_as_far_as_it_was_read(fetch: Fetch) -> None:
    robots = "User-agent: *\nDisallow: /private\n" + "# padding\n" * 100_000
    with serving(_serve_text, robots=robots) as server:
        samples, outcomes = fetch(f"{server.url}/private/x", f"{server.url}/open")
    assert ([row["uri"] for row in samples], outcomes) == ([f"{server.url}/open"], [("0", "robots_disallowed")])


def test_what_is_read_of_a_longer_robots_txt_goes_up_to_the_last_byte(fetch: Fetch) -> None:
    robots = "#" * 499_000 + "\nUser-agent: *\nDisallow: /x\n" + "#" * 400_000
    with serving(_serve_text, robots=robots) as server:
        _, outcomes = fetch(f"{server.url}/x")
    assert outcomes == [("0", "robots_disallowed")]


def test_robots_txt_with_a_byte_order_mark_is_kept(fetch: Fetch) -> None:
    with serving(_serve_text, robots="\ufeffUser-agent: *\nDisallow: /x\n") as server:
        _, outcomes = fetch(f"{server.url}/x")
    assert outcomes == [("0", "robots_disallowed")]


def test_robots_txt_behind_a_redirect_is_read_for_the_host_that_was_asked(fetch: Fetch) -> None:
    def elsewhere(request: Received, connection: socket.socket) -> None:
        answer(connection, b"User-agent: *\nDisallow: /private\n")

    with serving(elsewhere) as other:
        moved = {"Location": f"{other.url}/rules"}
        with serving(_serve_text, robots="moved", robots_status=301, robots_headers=moved) as server:
            _, outcomes = fetch(f"{server.url}/private/x", f"{server.url}/open")
    assert outcomes == [("0", "robots_disallowed")]
    assert [item.path for item in other.received] == ["/rules"]


def test_crawl_delay_is_kept(fetch: Fetch) -> None:
    with serving(_serve_text, robots="User-agent: ummp\nCrawl-delay: 0.3\n") as server:
        samples, _ = fetch(*(f"{server.url}/{n}" for n in range(4)))
    assert len(samples) == 4
    times = [item.time for item in server.received]
    assert all(after - before >= 0.28 for before, after in pairwise(times))


def test_requests_that_a_crawl_delay_would_hold_up_for_too_long_are_left_for_a_redrive(fetch: Fetch) -> None:
    with serving(_serve_text, robots="User-agent: *\nCrawl-delay: 0.4\n") as server:
        uris = [f"{server.url}/{n}" for n in range(10)]
        samples, outcomes = fetch(*uris, max_host_wait_seconds=1.0)
    assert [row["uri"] for row in samples] == uris[:2]
    assert outcomes == [(str(n), "host_unavailable") for n in range(2, 10)]


def test_rules_for_our_name_win_over_those_for_all() -> None:
    text = "User-agent: *\nAllow: /\n\nUser-agent: ummp\nDisallow: /x\n"
    rules = read_robots(StoredRobots(200, text, 1_700_000_000.0), "ummp")
    assert (rules.allows("http://a/x/1"), rules.allows("http://a/y")) == (False, True)
    assert rules.evidence["robots"]["fetched_at"] == "2023-11-14T22:13:20Z"


# Opt-outs in headers


@pytest.mark.parametrize(
    ("header", "value", "body", "reason"),
    [
        ("X-Robots-Tag", "noai", TEXT, "noai"),
        ("X-Robots-Tag", "noindex, noimageai", PNG, "noai"),
        ("X-Robots-Tag", "noimageai", TEXT, None),
        ("X-Robots-Tag", "noindex", TEXT, None),
        ("X-Robots-Tag", "otherbot: noai", TEXT, None),
        ("X-Robots-Tag", "ummp: noai", TEXT, "noai"),
        ("tdm-reservation", "1", TEXT, "tdm_reserved"),
        ("tdm-reservation", "0", TEXT, None),
    ],
    ids=["noai", "image with noimageai", "text with noimageai", "noindex", "other bot", "our bot", "reserved", "not"],
)
def test_opt_out_in_a_header_is_kept_and_stored(
    header: str, value: str, body: bytes, reason: str | None, fetch: Fetch
) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, body, headers={header: value})

    with serving(handler) as server:
        samples, outcomes = fetch(f"{server.url}/x")
        own = {"127.0.0.1": HostSettings(respect_noai=False, respect_tdm_reservation=False)}
        ignoring, _ = fetch(f"{server.url}/x", hosts=own)
    assert [code for _, code in outcomes] == ([reason] if reason else [])
    assert len(samples) == (0 if reason else 1)
    said = json.loads(ignoring[0]["evidence"])
    assert said[header.lower().replace("-", "_")] == {"value": value, "respected": False}


def test_address_of_a_directive_holds_for_those_after_it() -> None:
    assert forbids_ai("otherbot: noindex, noai, ummp: noimageai", "ummp") == {"noimageai"}
    assert forbids_ai("unavailable_after: 25 Jun 2030, noai", "ummp") == {"noai"}


# Budgets


def test_connections_to_a_host_stay_in_the_budget(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        time.sleep(0.02)
        answer(connection, TEXT)

    with serving(handler) as server:
        samples, _ = fetch(*(f"{server.url}/{n}" for n in range(60)), max_connections_per_host=3)
    assert len(samples) == 60
    assert server.most_at_once == 3


def test_requests_per_second_stay_in_the_budget(fetch: Fetch) -> None:
    with serving(_serve_text) as server:
        own = {"127.0.0.1": HostSettings(requests_per_second=20)}
        samples, _ = fetch(*(f"{server.url}/{n}" for n in range(20)), hosts=own)
    times = [item.time for item in server.received]
    assert len(samples) == 20
    # The burst of a tenth of a second lets two or three pass at once.
    assert (len(times) - 4) / (times[-1] - times[0]) <= 20


def test_runs_of_one_deployment_share_a_hosts_budget(store: ObjectStore, index: Index, settings: Settings) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        time.sleep(0.02)
        answer(connection, TEXT)

    own = settings.model_copy(update={"fetch": settings.fetch.model_copy(update={"max_connections_per_host": 4})})
    with serving(handler) as server:
        for batch in (FIRST, SECOND):
            commit_requests(store, [f"{server.url}/{batch}/{n}" for n in range(60)], batch)
        second_index = open_index(settings)
        with ThreadPoolExecutor(2) as runs:
            manifests = list(
                runs.map(lambda pair: download(store, pair[0], own, pair[1]), [(index, FIRST), (second_index, SECOND)])
            )
        second_index.close()
    assert [manifest.rows("samples") for manifest in manifests] == [60, 60]
    assert server.most_at_once <= 4


def test_shares_never_exceed_the_budget_and_even_out(index: Index) -> None:
    state = FetchState(index)
    lease: dict[str, Any] = {"now": 100.0, "expires_at": 120.0}
    assert state.lease_connections("a", {"http://x": (8, 0)}, **lease) == {"http://x": 8}
    assert state.lease_connections("b", {"http://x": (8, 0)}, **lease) == {"http://x": 0}
    assert state.lease_connections("a", {"http://x": (8, 6)}, **lease) == {"http://x": 6}
    assert state.lease_connections("b", {"http://x": (8, 0)}, **lease) == {"http://x": 2}
    assert state.lease_connections("a", {"http://x": (8, 2)}, **lease) == {"http://x": 4}
    assert state.lease_connections("b", {"http://x": (8, 2)}, **lease) == {"http://x": 4}
    assert state.lease_connections("c", {"http://x": (8, 0)}, now=121.0, expires_at=140.0) == {"http://x": 8}
    state.release_connections("c")
    assert state.lease_connections("a", {"http://x": (8, 0)}, now=122.0, expires_at=140.0) == {"http://x": 8}


def test_next_attempt_at_a_batch_takes_over_the_shares_of_a_killed_one(index: Index) -> None:
    lease: dict[str, Any] = {"now": 100.0, "expires_at": 120.0}
    assert FetchState(index, FIRST).lease_connections("a", {"http://x": (8, 0)}, **lease) == {"http://x": 8}
    assert FetchState(index, FIRST).lease_connections("a", {"http://x": (8, 0)}, **lease) == {"http://x": 8}
    assert FetchState(index, FIRST).lease_connections("b", {"http://x": (8, 0)}, **lease) == {"http://x": 0}
    assert FetchState(index, SECOND).lease_connections("a", {"http://x": (8, 0)}, **lease) == {"http://x": 0}


def test_shares_taken_at_the_same_moment_stay_in_the_budget(index: Index, settings: Settings) -> None:
    indexes = [open_index(settings) for _ in range(8)]
    barrier = threading.Barrier(8)

    def take(number: int) -> int:
        state = FetchState(indexes[number])
        barrier.wait()
        return state.lease_connections(str(number), {"http://x": (8, 0)}, now=0.0, expires_at=9.0)["http://x"]

    with ThreadPoolExecutor(8) as threads:
        shares = list(threads.map(take, range(8)))
    for opened in indexes:
        opened.close()
    assert sum(shares) <= 8
    assert max(shares) > 0


def test_apis_and_bulk_transfers_share_a_hosts_budget(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        time.sleep(0.02)
        answer(connection, b'[{"text": "x"}]')

    with serving(handler) as server:
        uris = [f"{scheme}{server.url}/{n}" for n in range(30) for scheme in ("api+", "")]
        samples, outcomes = fetch(*uris, max_connections_per_host=3)
    assert (len(samples), outcomes) == (60, [])
    assert server.most_at_once <= 3


def test_api_host_that_fails_again_and_again_is_rested(fetch: Fetch) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, b"oops", status=500)

    with serving(handler) as server:
        uris = [f"api+{server.url}/{n}" for n in range(20)]
        _, outcomes = fetch(*uris, max_attempts=2, max_host_failures=4, max_connections_per_host=1)
        asked = len(server.received)
        _, later = fetch(f"api+{server.url}/x", f"{server.url}/y")
    assert asked == len(server.received) == 4
    assert {reason for _, reason in outcomes} - {"http_server_error"} == {"host_unavailable"}
    assert later == [("0", "host_unavailable"), ("1", "host_unavailable")]


def test_host_that_rests_for_another_run_rests_here(store: ObjectStore, index: Index, settings: Settings) -> None:
    with serving(_serve_text) as server:
        rest = RestingHost(time.time() + 60, failing=True, cause="The server answered 500")
        FetchState(index).record_resting({server.url: rest})
        commit_requests(store, [f"{server.url}/x"], FIRST)
        manifest = download(store, index, settings, FIRST)
    assert outcomes_of(store, manifest) == [("0", "host_unavailable")]
    assert server.connections == 0
    [row] = table_of(store, manifest, "outcomes")
    assert row["detail"].startswith("The host rests: The server answered 500")


def test_slow_and_dead_hosts_do_not_hold_up_the_others(fetch: Fetch) -> None:
    def slow(request: Received, connection: socket.socket) -> None:
        time.sleep(1.5)
        answer(connection, TEXT)

    with serving(slow) as late, serving(_serve_text) as quick:
        rows = [f"http://127.0.0.{n}:{late.port}/x" for n in range(1, 2)] + [f"{late.url}/{n}" for n in range(6)]
        samples, _ = fetch(*rows, *(f"{quick.url}/{n}" for n in range(100)), max_connections=2)
    assert len(samples) == len(rows) + 100
    assert max(item.time for item in quick.received) < late.received[0].time + 1.4


# Revalidation


def test_unchanged_objects_come_from_the_store(store: ObjectStore, index: Index, settings: Settings) -> None:
    bodies = {"/small": TEXT, "/large": b"0123456789" * 20_000, "/dated": b"dated text"}

    def handler(request: Received, connection: socket.socket) -> None:
        headers = {"Content-Type": "text/plain"}
        if request.path == "/dated":
            headers["Last-Modified"] = "Wed, 21 Oct 2015 07:28:00 GMT"
        else:
            headers["ETag"] = f'"{request.path}"'
        if "if-none-match" in request.headers or "if-modified-since" in request.headers:
            connection.sendall(b"HTTP/1.1 304 Not Modified\r\n\r\n")
        else:
            answer(connection, bodies[request.path], headers=headers)

    with serving(handler) as server:
        uris = [f"{server.url}{path}" for path in bodies]
        commit_requests(store, uris, FIRST)
        first = samples_of(store, download(store, index, settings, FIRST))
        commit_requests(store, uris[::-1], SECOND)
        second = samples_of(store, download(store, index, settings, SECOND))[::-1]
    kept = ("uri", "sha256", "byte_count", "content", "blob", "media_type", "etag", "last_modified", "modality")
    assert [[row[name] for name in kept] for row in second] == [[row[name] for name in kept] for row in first]
    assert [json.loads(row["attempts"])[0]["status"] for row in second] == [304, 304, 304]
    assert json.loads(second[0]["evidence"])["unchanged_since"] == {"batch": FIRST, "row": 0}


def test_validators_go_back_as_they_came(store: ObjectStore, index: Index, settings: Settings) -> None:
    """An ETag may hold bytes above ASCII (RFC 9110, 8.8.3): one that did failed each later batch with its URI."""

    def handler(request: Received, connection: socket.socket) -> None:
        changed = "if-none-match" not in request.headers
        answer(connection, TEXT if changed else b"", status=200 if changed else 304, headers={"ETag": '"caf\u00e9"'})

    with serving(handler) as server:
        for batch in (FIRST, SECOND):
            commit_requests(store, [f"{server.url}/x"], batch)
            [row] = samples_of(store, download(store, index, settings, batch))
    assert server.received[1].headers["if-none-match"].encode("latin-1") == '"caf\u00e9"'.encode()
    assert raw_bytes(store, row) == TEXT


def test_unchanged_object_whose_bytes_are_gone_is_fetched_anew(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    def handler(request: Received, connection: socket.socket) -> None:
        if "if-none-match" in request.headers:
            connection.sendall(b"HTTP/1.1 304 Not Modified\r\n\r\n")
        else:
            answer(connection, TEXT, headers={"ETag": '"1"'})

    with serving(handler) as server:
        commit_requests(store, [f"{server.url}/x"], FIRST)
        download(store, index, settings, FIRST)
        for item in list(store.list("stages/downloads")):
            store.delete(item.path)
        commit_requests(store, [f"{server.url}/x"], SECOND)
        [row] = samples_of(store, download(store, index, settings, SECOND))
    assert row["content"] == TEXT
    assert [item["status"] for item in json.loads(row["attempts"])] == [304, 200]


def _unchanging(request: Received, connection: socket.socket) -> None:
    if "if-none-match" in request.headers:
        connection.sendall(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    else:
        answer(connection, JPEG_NOISE, headers={"ETag": '"1"', "Content-Type": "image/jpeg"})


@pytest.mark.parametrize(("first_limit", "second_limit"), [(100_000, 1_000), (1_000, 100_000)])
def test_unchanged_object_stands_where_the_limit_of_today_wants_it(
    first_limit: int, second_limit: int, store: ObjectStore, index: Index, settings: Settings
) -> None:
    with serving(_unchanging) as server:
        for batch, limit in ((FIRST, first_limit), (SECOND, second_limit)):
            own = settings.model_copy(update={"fetch": settings.fetch.model_copy(update={"inline_bytes": limit})})
            commit_requests(store, [f"{server.url}/x"], batch)
            [row] = samples_of(store, download(store, index, own, batch))
    assert json.loads(row["attempts"])[0]["status"] == 304
    assert (row["content"] is None) == (second_limit < len(JPEG_NOISE))
    assert raw_bytes(store, row) == JPEG_NOISE


def test_unchanged_object_whose_stored_bytes_are_damaged_is_fetched_anew(
    index: Index, settings: Settings, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    with serving(_unchanging) as server:
        commit_requests(store, [f"{server.url}/x"], FIRST)
        [entry] = download(store, index, settings, FIRST).tables["samples"]
        file = Path(store.uri(entry.path))
        damaged = bytearray(file.read_bytes())
        damaged[damaged.index(JPEG_NOISE) + 20_000] ^= 1
        file.write_bytes(damaged)
        commit_requests(store, [f"{server.url}/x"], SECOND)
        [row] = samples_of(store, download(store, index, settings, SECOND))
    assert row["content"] == JPEG_NOISE
    assert [item["status"] for item in json.loads(row["attempts"])] == [304, 200]


# Proxies


def test_proxy_of_the_environment_is_used_and_not_to_reach_private_addresses(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def proxy(request: Received, connection: socket.socket) -> None:
        answer(connection, b"through the proxy")

    with serving(proxy) as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        own = {"example.test": HostSettings(respect_robots=False), "10.0.0.1": HostSettings(respect_robots=False)}
        rows = ["http://example.test/page", "http://10.0.0.1/", "http://2130706433/", "http://localhost/"]
        samples, outcomes = fetch(*rows, allowed_addresses=(), hosts=own)
    assert [row["content"] for row in samples] == [b"through the proxy"]
    assert outcomes == [(str(n), "address_refused") for n in (1, 2, 3)]
    assert [item.path for item in server.received] == ["http://example.test/page"]


# Archives on the way


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_proxy_is_found_in_each_usual_variable(name: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(_serve_text) as proxy:
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with serving(_serve_text) as server:
            samples, _ = fetch("http://site.example/x", f"{server.url}/y")
    assert len(samples) == 2
    assert "http://site.example/x" in [item.path for item in proxy.received]
    assert [item.path for item in server.received] == ["/y"]


def test_archive_from_the_web_becomes_samples_with_provenance(fetch: Fetch, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", TEXT)
        archive.writestr("pictures/b.png", PNG)
        archive.writestr("../evil.txt", b"evil")
        archive.writestr("unknown.bin", b"\0\1\2\3")
    data = (tmp_path / "a.zip").read_bytes()

    def handler(request: Received, connection: socket.socket) -> None:
        answer(connection, data, headers={"Content-Type": "application/zip", "ETag": '"1"'})

    with serving(handler) as server:
        rows = [request_row(0, f"{server.url}/a.zip", label='"all"'), request_row(1, f"{server.url}/b", "archive")]
        samples, outcomes = fetch(*rows)
    assert [(row["sample_id"].split("~", 2)[2], row["modality"], row["content"]) for row in samples] == [
        ("0~a.txt", "text", TEXT),
        ("0~pictures/b.png", "image", PNG),
        ("1~a.txt", "text", TEXT),
        ("1~pictures/b.png", "image", PNG),
    ]
    assert samples[0]["label"] == '"all"'
    assert outcomes == [
        ("0~../evil.txt", "unsafe_member"),
        ("0~unknown.bin", "unknown_modality"),
        ("1~../evil.txt", "unsafe_member"),
        ("1~unknown.bin", "unknown_modality"),
    ]
