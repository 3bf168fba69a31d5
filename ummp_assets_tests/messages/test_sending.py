"""A few messages out: whatever fails, each that the broker took is reported, with its coordinates."""

from pathlib import Path
from random import Random

import pytest

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.outbox import Record
from ummp_assets.messages.sending import send_records
from ummp_assets.records import Coordinates
from ummp_assets.settings import Settings
from ummp_assets_tests.messages.deployments import create_topic, make_settings, read_committed


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    return make_settings(tmp_path, bootstrap_servers)


@pytest.mark.parametrize(
    ("byte_count", "complaint"),
    [pytest.param(50_000, "rejected a record", id="by the broker"), pytest.param(2**25, "maximum request", id="here")],
)
def test_records_around_one_that_is_too_large_are_reported(settings: Settings, byte_count: int, complaint: str) -> None:
    wide, narrow = create_topic(settings, "wide"), create_topic(settings, "narrow", max_message_bytes="10000")
    records = [(wide, b"0"), (wide, b"1"), (narrow, Random(1).randbytes(byte_count)), (wide, b"3")]
    reported: dict[int, Coordinates] = {}

    with pytest.raises(InvalidInput, match=complaint):
        send_records(settings, [(topic, Record(None, value)) for topic, value in records], reported.__setitem__)

    taken = {record.offset: record.value for record in read_committed(settings, wide)}
    assert {place.offset: records[position][1] for position, place in reported.items()} == taken
    # What comes behind one that cannot even be sent is not sent.
    assert sorted(reported) == ([0, 1, 3] if byte_count == 50_000 else [0, 1])
    assert read_committed(settings, narrow) == []
