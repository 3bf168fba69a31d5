"""A batch killed before each put and each transaction of every stage leaves the store of one that was never killed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg

from ummp_assets.cli.demo.server import SampleServer
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import load_settings
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.flow.batches import hashes, read_topic, rows, send_everything, tick
from ummp_assets_tests.flow.conftest import Place
from ummp_assets_tests.flow.kill_points import RAW, REST


def _run(place: Place, key: str, *options: str) -> dict[str, int]:
    """Run some of a batch's stages in a process that is killed at every point; return the kills by stage."""
    done = subprocess.run(
        [sys.executable, "-m", "ummp_assets_tests.flow.kill_points", key, *options],
        env={**os.environ, **place.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    kills: dict[str, int] = json.loads(done.stdout)
    return kills


def _copy(place: Place) -> Place:
    """Copy what a deployment has stored so far; topics and broker are shared."""
    home = place.home.with_name("undisturbed")
    shutil.copytree(place.home, home)
    settings = load_settings(home=home)
    environment = {**place.environment, "UMMP_HOME": str(home)}
    return Place(home, settings, open_store(settings), environment)


def test_batch_killed_at_every_point_of_every_stage_gives_the_same_files(
    place: Place, instance: dg.DagsterInstance, site: SampleServer
) -> None:
    send_everything(place.settings, site)
    tick(instance)
    names = topic_names(place.settings)
    key = f"{names.requests_normal}~00000001"

    kills = _run(place, key, "raw")
    assert kills.keys() == RAW.keys()
    assert min(kills.values()) >= 3, kills
    uris = [row["uri"] for row in rows(place.store, "downloads", key, ["uri"])]
    assert sorted(uris) == sorted(site.url + path[1:] for path in site.samples)

    undisturbed = _copy(place)
    kills = _run(place, key, "rest")
    assert kills.keys() == REST.keys()
    # At least the table and the manifest; progress is one put.
    assert {name for name, count in kills.items() if count < 2} == {"progress"}, kills
    _run(undisturbed, key, "rest", "undisturbed")

    expected = hashes(Path(undisturbed.settings.store_url), "stages", "datasets")
    found = hashes(Path(place.settings.store_url), "stages", "datasets")
    assert {name: digest for name, digest in found.items() if name in expected} == expected
    assert not [name for name in found.keys() - expected.keys() if name.endswith("manifest.json")]
    events = read_topic(place.settings, names.datasets)
    assert sorted(event.key for event in events) == [b"documents", b"photographs", b"sounds"]
    assert len(read_topic(place.settings, names.dead)) == 8
