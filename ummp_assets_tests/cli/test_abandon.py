"""`ummp abandon` as a user runs it; what it does to contents is tested beside the stages."""

from datetime import UTC, datetime

import dagster as dg
from dagster._core.test_utils import create_run_for_test

from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.cli.conftest import Ummp


def test_batch_is_given_up_unless_a_run_of_it_goes_on(with_broker: Ummp, broker_settings: Settings) -> None:
    ensure_topics(broker_settings)
    planned = Batch(topic_names(broker_settings).requests_normal, 1, (OffsetRange(0, 0, 0),))
    key = OffsetLog(open_store(broker_settings)).put(planned, datetime(2026, 1, 1, tzinfo=UTC)).key
    home = with_broker.home / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = create_run_for_test(instance, tags={"dagster/partition": key}, status=dg.DagsterRunStatus.STARTED)
        refused = with_broker.here("abandon", key, "--reason", "broken")
        instance.report_run_canceled(run)
    assert refused.code == 2
    assert f"a run of {key} waits or is under way: terminate it in the web UI first" in refused.err

    done = with_broker.here("abandon", key, "--reason", "broken", "--json")

    assert (done.code, done.document) == (0, {"batch": key, "dead_letters": 0, "versions_with_copies": []})
    [batch] = with_broker.here("status", "--json").document["batches"]
    assert (batch["key"], batch["abandoned"]) == (key, True)


def test_unknown_batch_and_missing_reason_are_wrong_use(with_broker: Ummp) -> None:
    assert with_broker.here("abandon", "ummp.requests.normal~00000009", "--reason", "x").code == 2
    assert with_broker.here("abandon", "ummp.requests.normal~00000009").code == 2
