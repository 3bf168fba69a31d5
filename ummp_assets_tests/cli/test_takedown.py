"""`ummp takedown`: what it shows before it asks, what it sends, and what it says when nothing carries it out."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from ummp_assets.datasets.receipts import receipt_path
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets_tests.cli.conftest import Ummp
from ummp_assets_tests.datasets.batches import TOPIC, texts
from ummp_assets_tests.datasets.test_takedown import SECRET, commit_all, put_takedowns
from ummp_assets_tests.messages.deployments import read_committed


@pytest.fixture
def secret(broker_settings: Settings) -> ObjectStore:
    """The deployment's store, with a secret in its dataset `birds`."""
    ensure_topics(broker_settings)
    store, index = open_store(broker_settings), open_index(broker_settings)
    commit_all(store, index, broker_settings, 1, [*texts("birds", 3), SECRET], 0)
    index.close()
    return store


def test_order_is_sent_as_a_message_and_waits_for_its_receipt(
    with_broker: Ummp, broker_settings: Settings, secret: ObjectStore
) -> None:
    asked = ("takedown", "--domain", "Secret.example", "--reason", "asked by the author", "--requested-by", "me")
    sent = with_broker.here(*asked, "--yes", "--no-wait", "--json")
    assert sent.code == 0, sent.err
    assert "This takes away 1 samples" in sent.err
    assert "1 rows of dataset birds" in sent.err
    assert f"{TOPIC}~0~3  {SECRET.uri}" in sent.err
    (record,) = read_committed(broker_settings, topic_names(broker_settings).takedowns)
    assert json.loads(record.value) == {
        "schema": "ummp.takedown/1",
        "domain": "secret.example",
        "reason": "asked by the author",
        "requested_by": "me",
    }
    assert sent.document == {"message": f"{record.topic}~{record.partition}~{record.offset}"}
    waiting = with_broker.here(*asked, "--yes", "--timeout", "0")
    assert waiting.code == 1
    assert "no receipt for the order" in waiting.err
    assert "waits for the sensor to plan it. The order stands" in waiting.err


def test_nothing_is_sent_without_a_yes(with_broker: Ummp, broker_settings: Settings, secret: ObjectStore) -> None:
    answer = with_broker("takedown", "--uri", str(SECRET.uri), "--reason", "r", stdin="n\n")
    assert (answer.code, answer.out) == (1, "")
    assert "This cannot be undone" in answer.err
    assert read_committed(broker_settings, topic_names(broker_settings).takedowns) == []


def test_an_unknown_name_is_refused_from_now_on(with_broker: Ummp) -> None:
    answer = with_broker.here("takedown", "--uri", "https://x.example/", "--reason", "r", "--yes", "--no-wait")
    assert answer.code == 0
    assert "No sample is known by that name so far; whatever comes under it will be refused." in answer.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--reason", "r"), "name exactly one of --uri, --sha256, --domain and --sample-id"),
        (("--uri", "u", "--domain", "d", "--reason", "r"), "name exactly one of"),
        (("--uri", "u"), "Missing option '--reason'"),
        (("--uri", "u", "--reason", ""), "--reason: String should have at least 1 character"),
        (("--sha256", "abc", "--reason", "r"), "--sha256: String should match pattern"),
        (("--uri", "u", "--verify", "b"), "--verify takes nothing down"),
    ],
)
def test_wrong_orders_are_refused_before_anything_is_asked(
    ummp: Ummp, arguments: tuple[str, ...], complaint: str
) -> None:
    answer = ummp.here("takedown", *arguments)
    assert answer.code == 2
    assert complaint in answer.err


def test_a_receipt_is_verified_by_its_batch_or_as_a_file(
    with_broker: Ummp, broker_settings: Settings, secret: ObjectStore, tmp_path: Path
) -> None:
    key = {"UMMP_DATASETS__RECEIPT_KEY": "k" * 32}
    signing = broker_settings.model_copy(update={"datasets": DatasetSettings(receipt_key=SecretStr("k" * 32))})
    batch = put_takedowns(secret, 1, [("uri", str(SECRET.uri))])
    index = open_index(signing)
    apply_takedowns(secret, index, signing, batch)
    index.close()
    answer = with_broker.here("takedown", "--verify", batch, **key)
    assert answer.code == 0, answer.err
    assert answer.out.strip() == f"The receipt of {batch} is signed with UMMP_DATASETS__RECEIPT_KEY."
    assert with_broker.here("takedown", "--verify", batch, "--json").document["signed"] is False
    copy = tmp_path / "receipt.json"
    copy.write_bytes(secret.read(receipt_path(batch)).replace(b"birds", b"cages"))
    forged = with_broker.here("takedown", "--verify", str(copy), **key)
    assert forged.code == 1
    assert "its sha256 differs" in forged.err


def test_a_lost_broker_is_named(ummp: Ummp, index: Index) -> None:
    broker = {"UMMP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "UMMP_KAFKA_TIMEOUT_SECONDS": "1"}
    answer = ummp("takedown", "--uri", "u", "--reason", "r", "--yes", **broker)
    assert answer.code == 1
    assert "no Kafka broker answered at 127.0.0.1:1" in answer.err
