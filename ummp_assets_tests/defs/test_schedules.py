"""The nightly upkeep: what it deletes, what it leaves, and what it reports."""

import os
import time
from pathlib import Path

import dagster as dg

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.versions import read_version
from ummp_assets.definitions import defs
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.schedules import make_schedules, upkeep_job
from ummp_assets.messages.topics import ensure_topics
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.datasets.batches import put_batch, texts
from ummp_assets_tests.datasets.test_events import _events

_TWO_DAYS_SECONDS = 2 * 86_400


def _run(settings: Settings, **more: str) -> dg.ExecuteInProcessResult:
    overrides = {**settings.model_dump(mode="json", exclude_unset=True), "store_fsync": False, **more}
    return upkeep_job.execute_in_process(
        resources={"deployment": Deployment(overrides=overrides)}, raise_on_error=False
    )


def _commit_two_batches(store: ObjectStore, index: Index, settings: Settings) -> None:
    for number in (1, 2):
        batch = put_batch(store, number, texts("birds", 10, 10 * number), start=10 * number)
        write_shards(store, settings, batch)
        commit_batch(store, index, settings, batch)


def test_upkeep_deletes_old_files_that_no_manifest_names(store: ObjectStore, settings: Settings) -> None:
    batch = put_batch(store, 1, texts("birds", 3))
    old, young = (f"stages/clean_text/{batch}/samples-9999-{name}.parquet" for name in ("old", "young"))
    for path in (old, young):
        store.write(path, b"left by a killed attempt")
    past = time.time() - _TWO_DAYS_SECONDS
    os.utime(store.uri(old), (past, past))

    assert _run(settings).success

    assert (store.exists(old), store.exists(young)) == (False, True)


def test_upkeep_fails_and_names_a_damaged_file(store: ObjectStore, settings: Settings) -> None:
    batch = put_batch(store, 1, texts("birds", 3))
    [file] = Path(store.uri(f"stages/clean_text/{batch}")).glob("*.parquet")
    file.write_bytes(b"PAR1")

    result = _run(settings)

    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert file.name in str(failure.step_failure_data.user_failure_data)


def test_upkeep_keeps_a_replica_and_repairs_from_it(store: ObjectStore, settings: Settings, tmp_path: Path) -> None:
    batch = put_batch(store, 1, texts("birds", 3))
    replica = tmp_path / "replica"
    assert _run(settings, replica=str(replica)).success
    [file] = Path(store.uri(f"stages/clean_text/{batch}")).glob("*.parquet")
    whole = file.read_bytes()
    assert (replica / file.relative_to(store.uri())).read_bytes() == whole
    file.write_bytes(b"PAR1")

    assert _run(settings, replica=str(replica)).success

    assert file.read_bytes() == whole


def test_upkeep_merges_small_shards_and_announces_the_version(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    _commit_two_batches(store, index, settings)
    ensure_topics(settings)

    assert _run(settings).success

    version = read_version(store, "birds")
    assert (version.version, version.cause, version.rows) == (3, "compaction", 20)
    assert sorted(event["version"] for event in _events(settings)) == [1, 2, 3]


def test_upkeep_announces_a_version_that_an_earlier_try_could_not(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    _commit_two_batches(store, index, settings)
    made = compact_dataset(store, index, settings, "birds")
    assert made is not None
    ensure_topics(settings)

    assert _run(settings).success

    assert read_version(store, "birds") == made
    assert sorted(event["version"] for event in _events(settings)) == [1, 2, 3]


def test_schedule_runs_the_job_every_night_and_only_when_asked_for() -> None:
    [off], [on] = make_schedules(running=False), make_schedules(running=True)
    assert (off.default_status, on.default_status) == (
        dg.DefaultScheduleStatus.STOPPED,
        dg.DefaultScheduleStatus.RUNNING,
    )
    assert (on.cron_schedule, on.execution_timezone, on.job_name) == ("0 3 * * *", "UTC", "upkeep_job")
    assert [schedule.name for schedule in defs().schedules or []] == ["nightly_upkeep"]
