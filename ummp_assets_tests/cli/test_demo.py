"""`ummp demo --once --json` as a script runs it: the whole way, every number against what was sent."""

from pathlib import Path

from ummp_assets.cli.demo.requests import make_input
from ummp_assets_tests.cli.conftest import Ummp


def test_demo_accounts_for_every_message_and_ends_well(ummp: Ummp) -> None:
    # What the user has configured must not matter.
    answer = ummp("demo", "--once", "--json", "--home", str(ummp.home), UMMP_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert answer.code == 0, answer.err
    document = answer.document
    assert document.keys() == {"seconds", "modalities", "unreadable_messages", "datasets", "ready_events"}
    given = make_input(1_000_000)
    assert document["unreadable_messages"] == len(given.unreadable)
    for modality, counts in document["modalities"].items():
        assert counts["messages"] == len(given.samples[modality]) + 1
        assert counts["messages"] == sum(counts[name] for name in ("stored", "duplicate", "filtered", "dead"))
        assert counts["duplicate"] >= 5
        # One is missing; one is empty or cut.
        assert counts["dead"] == 2
        assert counts["bytes"] > 100_000
    stored = [counts["stored"] for counts in document["modalities"].values()]
    assert [(item["name"], item["version"]) for item in document["datasets"]] == [
        ("documents", 1),
        ("photographs", 1),
        ("sounds", 1),
    ]
    assert [item["rows"] for item in document["datasets"]] == stored
    assert all(Path(item["manifest"]).is_file() for item in document["datasets"])
    assert document["ready_events"] == 3
    assert document["seconds"] > 0
