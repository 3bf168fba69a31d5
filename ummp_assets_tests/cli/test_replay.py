"""`ummp replay`: what it plans, and what it refuses."""

from datetime import UTC, datetime

import pytest

from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.cli.conftest import Ummp

TOPIC = "ummp.requests.normal"


@pytest.fixture
def planned(store: ObjectStore) -> ObjectStore:
    """A store in whose offset log two batches stand."""
    for number in (1, 2):
        ranges = (OffsetRange(0, 10 * number - 10, 10 * number), OffsetRange(1, 0, 0))
        OffsetLog(store).put(Batch(TOPIC, number, ranges), datetime(2026, 1, 1, tzinfo=UTC))
    return store


def test_replays_are_numbered_in_a_log_of_their_own(ummp: Ummp, planned: ObjectStore) -> None:
    asked = ("replay", TOPIC, "--partition", "0", "--from", "5", "--to", "14", "--json")
    assert ummp.here(*asked).document == {"batches": [f"{TOPIC}.replay~00000001"], "messages": 10}
    # A deliberate repetition is another batch.
    assert ummp.here(*asked).document["batches"] == [f"{TOPIC}.replay~00000002"]
    assert OffsetLog(planned).get(f"{TOPIC}.replay~00000001").ranges == (OffsetRange(0, 5, 15),)
    whole = ummp.here("replay", f"{TOPIC}~00000002")
    assert whole.out == f"Batch {TOPIC}.replay~00000003: 10 messages are replayed as soon as `ummp up` runs.\n"
    again = ummp.here("replay", f"{TOPIC}.replay~00000001", "--json").document
    assert again == {"batches": [f"{TOPIC}.replay~00000004"], "messages": 10}
    cut = ummp.here(*asked[:-1], UMMP_INTAKE__MAX_BATCH_MESSAGES="4")
    assert cut.out.startswith(f"Batch {TOPIC}.replay~00000005 and 2 more: 10 messages")
    assert OffsetLog(planned).get(f"{TOPIC}.replay~00000007").ranges == (OffsetRange(0, 13, 15),)
    newest = OffsetLog(planned).last(TOPIC)
    assert newest is not None
    assert newest.number == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((TOPIC,), "name --partition, --from and --to, or a batch"),
        ((f"{TOPIC}~00000001", "--from", "1"), "--partition, --from and --to go with a topic"),
        ((f"{TOPIC}~00000009",), "was never planned"),
        ((f"{TOPIC}~1",), "is no batch key"),
        ((TOPIC, "--partition", "0", "--from", "5", "--to", "20"), "hold its offsets up to 19"),
        ((TOPIC, "--partition", "0", "--from", "5", "--to", "4"), "cannot be replayed"),
        ((TOPIC, "--partition", "7", "--from", "0", "--to", "4"), "that is none"),
        (("ummp.labels", "--partition", "0", "--from", "0", "--to", "4"), "choose one of ummp.requests.high"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    ummp: Ummp, planned: ObjectStore, arguments: tuple[str, ...], complaint: str
) -> None:
    answer = ummp.here("replay", *arguments)
    assert answer.code == 2
    assert complaint in answer.err
