"""A batch killed at some point and run again leaves the same store as one that was never killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from ummp_assets.cli.demo.server import SampleServer
from ummp_assets.messages.topics import topic_names
from ummp_assets_tests.flow.batches import hashes, read_topic, run_batch, send_everything, tick
from ummp_assets_tests.flow.conftest import Place

_DEADLINE_SECONDS = 60.0
# Two under Dagster; `test_kill_points` has every other, `cli/test_up.py` one in mid-download.
_KILL_POINTS = ["stages/image_features/*/manifest.json", "datasets/documents/v1/manifest.json"]


@pytest.fixture
def planned(place: Place, instance: dg.DagsterInstance, site: SampleServer) -> str:
    """Send everything and plan it; the key of the only batch."""
    send_everything(place.settings, site)
    tick(instance)
    return f"{topic_names(place.settings).requests_normal}~00000001"


def _kill_when(place: Place, key: str, path: str, *options: str) -> None:
    """Run the batch in a process of its own and SIGKILL it as soon as the path appears in the store."""
    command = [sys.executable, "-m", "ummp_assets_tests.flow.run_batch", key, *options]
    log = place.home / "killed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **place.environment})
    store = Path(place.settings.store_url)
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not list(store.glob(path)):
        assert process.poll() is None, f"the run ended before {path} appeared: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _finished(place: Place, key: str) -> bool:
    return place.store.exists(f"stages/dataset_commits/{key}/manifest.json")


def test_batch_killed_twice_gives_identical_files_from_the_stored_raw_bytes(
    place: Place, instance: dg.DagsterInstance, planned: str
) -> None:
    root = Path(place.settings.store_url)
    assert run_batch(instance, planned).success
    expected = hashes(root, "stages", "datasets")
    _forget_all_but_raw_bytes(place)

    for path in _KILL_POINTS:
        _kill_when(place, planned, path)
        assert not _finished(place, planned)
    assert run_batch(instance, planned, raw=False).success

    found = hashes(root, "stages", "datasets")
    assert {name: digest for name, digest in found.items() if name in expected} == expected
    assert not [name for name in found.keys() - expected.keys() if name.endswith("manifest.json")]
    events = read_topic(place.settings, topic_names(place.settings).datasets)
    assert sorted(event.key for event in events) == [b"documents", b"photographs", b"sounds"]


def _forget_all_but_raw_bytes(place: Place) -> None:
    """Leave what Kafka and the network gave; events of the first run are kept, since they can't be taken back."""
    root = Path(place.settings.store_url)
    for stage in (root / "stages").iterdir():
        if stage.name not in ("requests", "downloads"):
            shutil.rmtree(stage)
    for folder in ("datasets", "dataset-names", "progress"):
        shutil.rmtree(root / folder, ignore_errors=True)
    for file in place.home.glob("index.db*"):
        file.unlink()
