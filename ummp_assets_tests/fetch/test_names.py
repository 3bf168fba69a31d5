"""The caches of host names: common to all transfers, new ones each minute."""

import pycurl

from ummp_assets.fetch.names import NameCache
from ummp_assets_tests.fetch.servers import answer, serving


def test_names_are_shared_for_a_minute_and_then_asked_for_again() -> None:
    names, first, second = NameCache(), pycurl.Curl(), pycurl.Curl()
    held = names.attach(first, None, "example.org", now=100.0)
    assert names.attach(second, None, "example.org", now=159.0) is held
    renewed = names.attach(first, held, "example.org", now=160.0)
    assert renewed is not held
    assert names.attach(second, held, "example.org", now=161.0) is renewed


def test_many_names_are_divided_among_many_caches() -> None:
    names, handle = NameCache(), pycurl.Curl()
    held = None
    caches = {id(held := names.attach(handle, held, f"host{number}.example.org", now=1.0)) for number in range(1_000)}
    assert len(caches) > 50


def test_a_handle_goes_on_with_the_next_cache() -> None:
    names, handle, held = NameCache(), pycurl.Curl(), None
    with serving(lambda _, connection: answer(connection, b"here")) as server:
        for now in (0.0, 30.0, 61.0, 122.0):
            held = names.attach(handle, held, "localhost", now)
            handle.setopt(pycurl.URL, f"http://localhost:{server.port}/file")
            handle.setopt(pycurl.FORBID_REUSE, 1)
            assert handle.perform_rb() == b"here"
    assert server.connections == 4
