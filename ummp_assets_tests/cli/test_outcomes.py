"""Outcomes of batches, read from the manifests of their stages."""

from collections import Counter
from datetime import UTC, datetime

from ummp_assets.cli.outcomes import ModalityOutcomes, latest_batches, read_outcomes, sum_outcomes
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter

TOPIC = "t.requests.normal"


def plan(store: ObjectStore, number: int) -> Batch:
    return OffsetLog(store).put(Batch(TOPIC, number, (OffsetRange(0, 0, 10),)), datetime(2026, 1, 1, tzinfo=UTC))


def commit(
    store: ObjectStore, stage: str, batch: Batch, numbers: dict[str, int], *rejected: tuple[str, Reason]
) -> None:
    with StageWriter(store, stage, batch.key, {}) as writer:
        writer.reject(
            Rejection(f"{TOPIC}~0~{position}", "d", modality, "u", reason, "")
            for position, (modality, reason) in enumerate(rejected)
        )
        writer.commit(code_version="1", numbers=numbers)


def test_outcomes_of_a_planned_batch_are_open(store: ObjectStore) -> None:
    outcomes = read_outcomes(store, plan(store, 1))
    assert (outcomes.messages, outcomes.stages_done, outcomes.committed) == (10, (), False)


def test_outcomes_add_up_over_the_stages(store: ObjectStore) -> None:
    batch = plan(store, 1)
    numbers = {"messages": 10, "gaps": 1, "unreadable": 2, "expired": 1}
    commit(store, "requests", batch, numbers, ("unreadable", Reason.NOT_JSON), ("unreadable", Reason.NULL_VALUE))
    commit(store, "downloads", batch, {}, ("image", Reason.HTTP_CLIENT_ERROR))
    commit(store, "clean_text", batch, {"bytes_in": 300}, ("text", Reason.EXACT_DUPLICATE))
    commit(store, "clean_images", batch, {"bytes_in": 4_000}, ("image", Reason.CORRUPT_IMAGE))
    commit(store, "clean_audio", batch, {"bytes_in": 0})
    commit(store, "training_shards", batch, {"text_rows": 1, "image_rows": 1, "audio_rows": 0})
    assert not read_outcomes(store, batch).committed
    commit(store, "dataset_commits", batch, {})

    outcomes = read_outcomes(store, batch)
    assert outcomes.committed
    assert (outcomes.messages, outcomes.unreadable, outcomes.expired) == (9, 2, 1)
    assert outcomes.modalities == {
        "text": ModalityOutcomes(stored=1, duplicate=1, byte_count=300),
        "image": ModalityOutcomes(stored=1, dead=2, byte_count=4_000),
        "audio": ModalityOutcomes(),
    }
    assert outcomes.reasons == Counter(
        not_json=1, null_value=1, http_client_error=1, exact_duplicate=1, corrupt_image=1
    )
    assert sum_outcomes([outcomes, outcomes])["image"] == ModalityOutcomes(stored=2, dead=4, byte_count=8_000)


def test_latest_batches_come_newest_first_up_to_the_limit(store: ObjectStore) -> None:
    for number in range(1, 6):
        plan(store, number)
    assert [batch.number for batch in latest_batches(store, TOPIC, 3)] == [5, 4, 3]
    assert [batch.number for batch in latest_batches(store, TOPIC, 99)] == [5, 4, 3, 2, 1]
    assert list(latest_batches(store, "t.unknown", 3)) == []
