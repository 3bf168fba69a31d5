"""A broker that goes away between or during the steps of a run."""

from pathlib import Path

from ummp_assets.messages.embedded import BrokerProcess
from ummp_assets.messages.intake import read_requests
from ummp_assets.messages.topics import topic_names
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.stages import StageWriter, read_manifest
from ummp_assets_tests.faults.runs import Deployed, failures, is_committed, mending, retries, run_once, run_with_retries
from ummp_assets_tests.messages.deployments import nobody_listens, read_committed, request


def test_run_without_a_broker_fails_with_its_address_and_what_to_do(deployed: Deployed, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    key = deployed.plan(store, [request(1)])
    deployed.broker.stop()

    with nobody_listens():
        [said] = failures(run_once(deployed, "requests", key))

    assert f"no Kafka broker answered at {deployed.broker.bootstrap_servers}" in said
    assert "UMMP_KAFKA_BOOTSTRAP_SERVERS" in said
    assert not is_committed(store, "requests", key)


def test_step_waits_for_a_killed_broker_and_goes_on_by_itself(deployed: Deployed, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    key = deployed.plan(store, [request(number) for number in range(500)])
    deployed.broker.kill()
    restarted: list[BrokerProcess] = []

    with nobody_listens(), mending(deployed, lambda: restarted.append(deployed.restart_broker())):
        events = run_with_retries(deployed, "requests", key)

    [broker] = restarted
    with broker:
        assert failures(events) == []
        assert len(retries(events)) >= 1
        assert all(f"no Kafka broker answered at {broker.bootstrap_servers}" in text for text in retries(events))
        assert read_manifest(store, "requests", key).numbers["readable"] == 500


def test_dead_letters_are_sent_once_over_a_killed_broker(deployed: Deployed, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    key = deployed.plan(store, [b"no json", request(1)])
    read_requests(store, deployed.settings, key)
    for stage in ("downloads", "clean_text", "clean_images", "clean_audio"):
        with StageWriter(store, stage, key, {}) as writer:
            writer.commit(code_version="1")
    deployed.broker.kill()

    with nobody_listens():
        [said] = failures(run_once(deployed, "dead_letters", key))
    assert deployed.broker.bootstrap_servers in said
    assert not is_committed(store, "dead_letters", key)

    with deployed.restart_broker():
        for _ in range(2):
            assert failures(run_once(deployed, "dead_letters", key)) == []
        letters = read_committed(deployed.settings, topic_names(deployed.settings).dead)
    assert [letter.value for letter in letters] == [b"no json"]
