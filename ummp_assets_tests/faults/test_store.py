"""A store that cannot be written: the run fails with the path and the cause, commits nothing, and succeeds later."""

import contextlib
import os
from pathlib import Path

import pytest

from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.stages import read_manifest
from ummp_assets_tests.faults.runs import Deployed, failures, is_committed, mending, retries, run_once, run_with_retries
from ummp_assets_tests.messages.deployments import request


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"\0" * 4_096)


def test_run_on_a_full_disk_fails_with_path_and_cause_and_succeeds_when_there_is_room(
    deployed: Deployed, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMMP_STORE", str(small_disk / "store"))
    store = LocalStore(small_disk / "store")
    key = deployed.plan(store, [request(number, note=os.urandom(500).hex()) for number in range(20)])
    _fill(small_disk)

    [said] = failures(run_once(deployed, "requests", key))

    assert f"the store cannot be used at {small_disk / 'store'}" in said
    assert "No space left on device" in said
    assert "Check UMMP_STORE, its permissions and free space." in said
    assert not is_committed(store, "requests", key)

    (small_disk / "ballast").unlink()
    assert failures(run_once(deployed, "requests", key)) == []
    assert read_manifest(store, "requests", key).numbers["readable"] == 20
    assert [item.path.rpartition("/")[2] for item in store.list("stages")].count("manifest.json") == 1


def test_run_on_a_store_that_is_no_folder_fails_with_path_and_cause_and_succeeds_when_it_is(
    deployed: Deployed, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    key = deployed.plan(store, [request(1)])
    # Root is stopped by no permission, but by a file where the folder of all stages must be.
    (tmp_path / "store" / "stages").write_bytes(b"")

    [said] = failures(run_once(deployed, "requests", key))

    assert f"the store cannot be used at {tmp_path / 'store' / 'stages' / 'requests' / key}" in said
    assert "File exists" in said
    assert list((tmp_path / "store" / ".scratch").rglob("*.parquet")) == []

    (tmp_path / "store" / "stages").unlink()
    assert failures(run_once(deployed, "requests", key)) == []
    assert read_manifest(store, "requests", key).numbers["readable"] == 1


def test_step_waits_for_the_store_and_goes_on_by_itself(deployed: Deployed, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    key = deployed.plan(store, [request(1)])
    in_the_way = tmp_path / "store" / "stages"
    in_the_way.write_bytes(b"")

    with mending(deployed, in_the_way.unlink):
        events = run_with_retries(deployed, "requests", key)

    assert failures(events) == []
    said = retries(events)
    assert len(said) >= 1
    assert all(f"the store cannot be used at {in_the_way}" in text for text in said)
    assert read_manifest(store, "requests", key).numbers["readable"] == 1
