"""What fetching remembers, on SQLite and on PostgreSQL."""

from ummp_assets.storage.fetch_state import FetchState, RestingHost, StoredFetch, StoredRobots
from ummp_assets.storage.index import Index

ADDRESSES = [f"http://example.org/{number}" for number in range(2_500)]


def _fetch(row: int) -> StoredFetch:
    return StoredFetch('"é"', None, "text/plain", "http://example.org/", f"{row:064x}", row, "batch", row, None)


def test_fetches_are_found_by_uri_and_the_last_one_stays(sql_index: Index) -> None:
    state = FetchState(sql_index)
    state.record_fetches((uri, _fetch(row)) for row, uri in enumerate(ADDRESSES))
    state.record_fetches([(ADDRESSES[7], _fetch(9_000)), (ADDRESSES[7], _fetch(9_001))])
    found = state.find_fetches([*ADDRESSES, "http://example.org/unknown"])
    assert found == {uri: _fetch(9_001 if row == 7 else row) for row, uri in enumerate(ADDRESSES)}
    assert state.find_fetches([]) == {}


def test_robots_and_rests_are_found_while_they_hold(sql_index: Index) -> None:
    state = FetchState(sql_index)
    robots = StoredRobots(200, 'User-agent: *\nDisallow: "/ü"', 1_000.0)
    state.record_robots({"http://a": robots, "http://b": robots._replace(fetched_at=10.0)})
    assert state.find_robots(["http://a", "http://b", "http://c"], fetched_after=500.0) == {"http://a": robots}

    rest = RestingHost(2_000.0, failing=True, cause="it fails")
    state.record_resting({"http://a": rest, "http://b": rest._replace(until=100.0)})
    assert state.find_resting(["http://a", "http://b"], now=1_500.0) == {"http://a": rest}
