"""Stage `model_parameters`: rounds over batches, the average by value, published once."""

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from kafka import KafkaProducer

from ummp_assets.errors import WaitTimeout
from ummp_assets.messages.clients import make_producer
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table
from ummp_assets.training.fetching import fetch_parameters
from ummp_assets.training.packing import pack, split, split_message, unpack
from ummp_assets.training.parameters_stage import average_parameters
from ummp_assets_tests.training.conftest import PlanBatch, read_topic

NEW = round(time.time() * 1000) - 1_800_000
"""Half an hour ago: a broker takes no messages from the future."""

Send = Callable[..., None]


@pytest.fixture
def send(settings: Settings) -> Send:
    """A function that sends one worker's parameters in two messages, or only those chunks that are asked for."""

    def send(
        worker: str,
        values: list[float],
        samples: int,
        *,
        number: int = 1,
        workers: int | None = 2,
        chunks: tuple[int, ...] = (0, 1),
        model: str = "net",
        name: str = "w",
        time_ms: int = NEW,
        checksum: str | None = None,
    ) -> None:
        packed, right = pack({name: np.array(values, np.float32)}, "none")
        header = {
            "model": model, "round": number, "worker": worker, "role": "local", "samples": samples, "codec": "none",
            "checksum": checksum or right, "workers": workers,
        }  # fmt: skip
        pieces = list(split(packed, header, -(-len(packed) // 2)))
        _produce(settings, [pieces[chunk] for chunk in chunks], model, time_ms)

    return send


def _produce(settings: Settings, values: list[bytes | None], model: str = "net", time_ms: int = NEW) -> None:
    producer: KafkaProducer = make_producer(settings)
    topic, key = topic_names(settings).parameters, model.encode()
    for sent in [producer.send(topic, key=key, value=value, timestamp_ms=time_ms) for value in values]:
        sent.get(timeout=10)
    producer.close()


@pytest.fixture
def run_batch(settings: Settings, store: ObjectStore, plan_batch: PlanBatch) -> Callable[[], Manifest]:
    """A function that puts what waits into the next batch and works it."""
    return lambda: average_parameters(store, settings, plan_batch(topic_names(settings).parameters))


def _averages(store: ObjectStore, manifest: Manifest) -> dict[tuple[str, int], list[float]]:
    found = {}
    for rows in read_table(store, manifest, "samples"):
        for row in rows.to_pylist():
            arrays = unpack(row["parameters"], row["codec"], row["checksum"], 10**6)
            found[row["model"], row["round"]] = arrays["w"].tolist()
    return found


def _reasons(store: ObjectStore, manifest: Manifest) -> dict[str, str]:
    rows = [row for part in read_table(store, manifest, "outcomes") for row in part.to_pylist()]
    return {row["uri"]: row["reason"] for row in rows}


def _published(settings: Settings) -> list[tuple[int, int, int]]:
    """Return round, samples and number of workers of each published average, once a message."""
    records = read_topic(settings, topic_names(settings).parameters)
    headers = [split_message(record.value)[0] for record in records]
    return [(it.round, it.samples, it.workers or 0) for it in headers if it.role == "global"]


def test_round_is_averaged_by_samples_and_published(
    settings: Settings, store: ObjectStore, send: Send, run_batch: Callable[[], Manifest]
) -> None:
    send("a", [1, 2], 1)
    send("b", [5, -2], 3)

    manifest = run_batch()

    assert _averages(store, manifest) == {("net", 1): [4.0, -1.0]}
    found = fetch_parameters("net", 1, settings=settings)
    np.testing.assert_array_equal(found.arrays["w"], np.array([4, -1], np.float32))
    assert (found.samples, found.worker, found.role) == (4, "ummp", "global")
    assert manifest.numbers["messages"] == 4
    assert manifest.numbers["averages"] == 1
    assert manifest.numbers["averaged_workers"] == 2
    assert manifest.numbers["open_rounds"] == 0
    assert manifest.rejected == 0
    (row,) = [row for rows in read_table(store, manifest, "samples") for row in rows.to_pylist()]
    assert row["workers"] == ["a", "b"]


def test_round_that_misses_a_worker_is_kept_for_the_next_batches(
    settings: Settings, store: ObjectStore, send: Send, run_batch: Callable[[], Manifest]
) -> None:
    send("a", [1, 2], 1)
    send("b", [5, -2], 3, chunks=(1,))
    first = run_batch()
    assert _averages(store, first) == {}
    assert (first.numbers["open_rounds"], first.numbers["pending_updates"]) == (1, 2)

    send("c", [9, 9], 1, number=2, workers=2)
    second = run_batch()
    assert _averages(store, second) == {}
    assert second.inputs == {"model_parameters": first.sha256}

    send("b", [5, -2], 3, chunks=(0,))
    third = run_batch()
    assert _averages(store, third) == {("net", 1): [4.0, -1.0]}
    assert (third.numbers["open_rounds"], third.numbers["pending_updates"]) == (1, 1)
    assert _published(settings) == [(1, 4, 2)]


def test_own_averages_in_the_topic_are_passed_over(
    settings: Settings, store: ObjectStore, send: Send, run_batch: Callable[[], Manifest]
) -> None:
    send("a", [1, 2], 1, workers=None)
    run_batch()

    second = run_batch()

    assert second.numbers["own_messages"] == 1
    assert _averages(store, second) == {}
    assert second.rejected == 0


def test_same_batch_again_gives_the_same_manifest_and_publishes_nothing(
    settings: Settings, store: ObjectStore, send: Send, plan_batch: PlanBatch
) -> None:
    send("a", [1, 2], 1)
    send("b", [5, -2], 3)
    send("c", [5, -2], 3, number=2)
    batch = plan_batch(topic_names(settings).parameters)

    first = average_parameters(store, settings, batch)
    second = average_parameters(store, settings, batch)
    store.delete(f"stages/model_parameters/{batch}/manifest.json")
    third = average_parameters(store, settings, batch)

    assert first.to_json() == second.to_json() == third.to_json()
    assert _published(settings) == [(1, 4, 2)]


_KILLED = """
import os, signal, sys
from ummp_assets.settings import load_settings
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.training.parameters_stage import average_parameters

class Store(LocalStore):
    def write(self, path, data):
        os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings(home=sys.argv[1], kafka_bootstrap_servers=sys.argv[2], topic_prefix=sys.argv[3])
average_parameters(Store(settings.home_path / "store"), settings, sys.argv[4])
"""


def test_kill_between_publication_and_manifest_publishes_once(
    settings: Settings, store: ObjectStore, send: Send, plan_batch: PlanBatch
) -> None:
    send("a", [1, 2], 1)
    send("b", [5, -2], 3)
    batch = plan_batch(topic_names(settings).parameters)
    arguments = [str(settings.home), settings.bootstrap_servers, settings.topic_prefix, batch]
    killed = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False)
    assert killed.returncode == -9
    assert _published(settings) == [(1, 4, 2)]

    manifest = average_parameters(store, settings, batch)

    assert _averages(store, manifest) == {("net", 1): [4.0, -1.0]}
    assert _published(settings) == [(1, 4, 2)]


def test_doubled_messages_count_once_and_a_later_publication_replaces(
    settings: Settings, store: ObjectStore, send: Send, run_batch: Callable[[], Manifest]
) -> None:
    send("a", [100, 100], 9)
    send("a", [1, 2], 1, chunks=(0, 1, 1, 0))
    send("a", [100, 100], 9, chunks=(1,))
    send("b", [5, -2], 3)

    manifest = run_batch()

    assert _averages(store, manifest) == {("net", 1): [4.0, -1.0]}
    assert _reasons(store, manifest) == {"net/1/a": "replaced_parameters"}


def test_unusable_parameters_are_rejected_and_the_round_waits_for_others(
    settings: Settings, store: ObjectStore, send: Send, run_batch: Callable[[], Manifest]
) -> None:
    send("a", [1, 2], 1, workers=3)
    send("corrupt", [7, 7], 1, workers=3, checksum="sha256:00")
    send("nan", [float("nan"), 7], 1, workers=3)
    send("idle", [7, 7], 0, workers=3)
    first = run_batch()
    assert _averages(store, first) == {}
    assert _reasons(store, first)["net/1/idle"] == "no_samples"

    send("b", [5, -2], 3, workers=3)
    send("shape", [7, 7, 7], 1, workers=3)
    second = run_batch()
    send("c", [4, -1], 4, workers=3)
    third = run_batch()

    assert _averages(store, second) == {}
    assert {**_reasons(store, first), **_reasons(store, second)} == {
        "net/1/idle": "no_samples",
        "net/1/corrupt": "corrupt_parameters",
        "net/1/nan": "non_finite_parameters",
        "net/1/shape": "mismatched_parameters",
    }
    assert _averages(store, third) == {("net", 1): [4.0, -1.0]}


def test_round_is_closed_without_the_missing_after_the_time_out(
    settings: Settings, store: ObjectStore, send: Send, run_batch: Callable[[], Manifest]
) -> None:
    timeout_ms = int(settings.training.round_timeout_seconds * 1000)
    send("a", [1, 2], 1, workers=3)
    send("b", [5, -2], 3, workers=3, time_ms=NEW + timeout_ms)
    send("c", [9, 9], 1, workers=3, chunks=(0,), time_ms=NEW + timeout_ms)
    first = run_batch()
    assert _averages(store, first) == {}

    send("a", [3, 3], 1, number=2, workers=3, time_ms=NEW + timeout_ms + 1)
    second = run_batch()

    assert _averages(store, second) == {("net", 1): [4.0, -1.0]}
    assert _reasons(store, second) == {"net/1/c": "incomplete_parameters"}
    assert second.numbers["open_rounds"] == 1


def test_parameters_for_a_closed_round_are_late_in_every_later_batch(
    settings: Settings, store: ObjectStore, send: Send, run_batch: Callable[[], Manifest]
) -> None:
    send("slow", [1, 1], 1, number=4)
    send("a", [1, 2], 1, number=5)
    send("b", [5, -2], 3, number=5)
    first = run_batch()
    assert _averages(store, first) == {("net", 5): [4.0, -1.0]}
    assert _reasons(store, first) == {"net/4/slow": "late_parameters"}

    run_batch()
    send("late", [1, 1], 1, number=5)
    send("other", [1, 1], 1, number=1, model="other", workers=None)
    third = run_batch()

    assert _reasons(store, third) == {"net/5/late": "late_parameters"}
    assert _averages(store, third) == {("other", 1): [1.0, 1.0]}


def test_unreadable_messages_are_dead_letters(
    settings: Settings, store: ObjectStore, send: Send, run_batch: Callable[[], Manifest]
) -> None:
    _produce(settings, [None, b"no header", b'{"schema": "ummp.parameters/9"}\nxx'])
    send("a", [1, 2], 1, workers=1)

    manifest = run_batch()

    assert (manifest.numbers["messages"], manifest.numbers["readable"], manifest.numbers["unreadable"]) == (5, 2, 3)
    letters = [row for rows in read_table(store, manifest, "dead_letters") for row in rows.to_pylist()]
    assert [row["value"] for row in letters] == [None, b"no header", b'{"schema": "ummp.parameters/9"}\nxx']
    assert _averages(store, manifest) == {("net", 1): [1.0, 2.0]}


def test_batch_waits_for_the_one_before_it(
    settings: Settings, store: ObjectStore, send: Send, plan_batch: PlanBatch
) -> None:
    send("a", [1, 2], 1)
    first = plan_batch(topic_names(settings).parameters)
    send("b", [5, -2], 3)
    second = plan_batch(topic_names(settings).parameters)

    training = settings.training.model_copy(update={"predecessor_wait_seconds": 0.2})
    impatient = settings.model_copy(update={"training": training})
    with pytest.raises(WaitTimeout, match=f"batch {second} goes on where the one before it ends"):
        average_parameters(store, impatient, second)
    average_parameters(store, settings, first)
    assert _averages(store, average_parameters(store, settings, second)) == {("net", 1): [4.0, -1.0]}
