"""An index that is locked or gone: a locked one is waited for, one that is gone fails the step until it is back."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from ummp_assets.storage.index import open_index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.stages import read_manifest
from ummp_assets_tests.faults.runs import Deployed, failures, is_committed, run_once
from ummp_assets_tests.messages.deployments import request


def test_locked_index_is_waited_for(deployed: Deployed) -> None:
    index = open_index(deployed.settings)
    index.claim("pages", "text", [("first", "t~0~1")])
    locker = sqlite3.connect(deployed.settings.home_path / "index.db", check_same_thread=False)
    locker.execute("BEGIN EXCLUSIVE")
    unlock = threading.Timer(0.5, locker.rollback)
    began = time.monotonic()
    unlock.start()

    owners = index.claim("pages", "text", [("first", "t~0~2"), ("second", "t~0~3")])

    assert time.monotonic() - began >= 0.4
    assert owners == ["t~0~1", "t~0~3"]
    unlock.join()
    locker.close()
    index.close()


def test_run_without_its_index_fails_with_address_and_cause_and_succeeds_when_it_is_back(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    key = deployed.plan(store, [request(1, uri="nonsense://x")])
    assert failures(run_once(deployed, "requests", key)) == []
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("UMMP_INDEX", f"sqlite:///{tmp_path / 'file' / 'index.db'}")

    [said] = failures(run_once(deployed, "downloads", key))

    assert f"the index at sqlite:///{tmp_path / 'file' / 'index.db'} cannot be made" in said
    assert "Check UMMP_INDEX." in said
    assert not is_committed(store, "downloads", key)

    (tmp_path / "file").unlink()
    assert failures(run_once(deployed, "downloads", key)) == []
    [outcome] = read_manifest(store, "downloads", key).outcomes
    assert (outcome.outcome, outcome.reason, outcome.count) == ("dead", "unsupported_scheme", 1)
