"""`ummp doctor`: what it finds and what it advises."""

import time
from pathlib import Path
from typing import Any

import pytest

from ummp_assets_tests.cli.conftest import Answer, Ummp


def checks(answer: Answer) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in answer.document["checks"]}


def test_doctor_finds_all_well_with_a_broker(with_broker: Ummp) -> None:
    answer = with_broker.here("doctor", "--json")
    assert answer.code == 0
    found = checks(answer)
    assert {name: check["state"] for name, check in found.items()} == {
        "settings": "ok",
        "home": "ok",
        "broker": "note",
        "store": "ok",
        "index": "ok",
        "dagster": "note",
        "batches": "ok",
    }
    assert "`ummp submit` create them" in found["broker"]["advice"]
    assert "`ummp up`" in found["dagster"]["advice"]
    assert list((with_broker.home / "store" / "doctor").iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "name", "detail"),
    [
        ({"UMMP_STORE": "/dev/null/store"}, "store", "/dev/null/store"),
        ({"UMMP_STORE": "unknown://bucket"}, "store", "unknown"),
        ({"UMMP_INDEX": "sqlite:////dev/null/index.db"}, "index", "/dev/null"),
        ({"UMMP_INDEX": "oracle://db"}, "index", "UMMP_INDEX"),
        ({"UMMP_HOME": "/dev/null/home"}, "home", "/dev/null/home"),
        ({"UMMP_TOPIC_PARTITIONS": "none"}, "settings", "UMMP_TOPIC_PARTITIONS"),
    ],
)
def test_doctor_names_what_does_not_work(with_broker: Ummp, variables: dict[str, str], name: str, detail: str) -> None:
    answer = with_broker.here("doctor", "--json", **variables)
    assert (answer.code, answer.document["ok"]) == (1, False)
    assert checks(answer)[name]["state"] == "failed"
    assert detail in checks(answer)[name]["detail"]


def test_doctor_notes_variables_that_are_no_setting(with_broker: Ummp) -> None:
    given = {
        "UMMP_TOPIC_PARTITION": "8",
        "UMMP_WHATEVER": "1",
        "UMMP_CLEAN__TEXT": '{"min_characters": 2}',
        "UMMP_FETCH__HOSTS__X": '{"max_connections": 1}',
    }
    found = checks(with_broker.here("doctor", "--json", **given))["settings"]
    assert found["state"] == "note"
    assert found["detail"].endswith("no setting has this name: UMMP_TOPIC_PARTITION, UMMP_WHATEVER")
    assert found["advice"] == "Did you mean UMMP_TOPIC_PARTITIONS for UMMP_TOPIC_PARTITION?"


def test_doctor_notes_a_lineage_endpoint_that_does_not_answer(with_broker: Ummp) -> None:
    answer = with_broker.here("doctor", "--json", UMMP_OPENLINEAGE_URL="http://127.0.0.1:1")
    found = checks(answer)["openlineage"]
    assert (answer.code, found["state"]) == (0, "note")
    assert "http://127.0.0.1:1 does not answer" in found["detail"]


def test_doctor_names_the_broker_that_does_not_answer_and_checks_the_rest(ummp: Ummp) -> None:
    started = time.monotonic()
    answer = ummp("doctor", "--json", UMMP_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", UMMP_KAFKA_TIMEOUT_SECONDS="1")
    assert answer.code == 1
    found = checks(answer)
    assert "no Kafka broker answered at 127.0.0.1:1" in found["broker"]["detail"]
    assert {name for name, check in found.items() if check["state"] == "failed"} == {"broker"}
    assert time.monotonic() - started < 30


def test_doctor_lists_settings_with_their_source_and_no_secret(with_broker: Ummp, tmp_path: Path) -> None:
    secret = '{"sasl_plain_password": "hunter2"}'
    answer = with_broker.here("doctor", "--all", UMMP_KAFKA_CLIENT=secret, UMMP_STORE=str(tmp_path / "mine"))
    rows = {line.split()[1]: line for line in answer.out.splitlines() if line.startswith("│ UMMP_")}
    assert "environment" in rows["UMMP_STORE"]
    assert str(tmp_path / "mine") in rows["UMMP_STORE"]
    assert "default" in rows["UMMP_FETCH__MAX_REDIRECTS"]
    assert "hunter2" not in answer.out + answer.err
