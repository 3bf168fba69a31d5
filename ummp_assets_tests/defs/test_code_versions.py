"""Code versions follow rules and settings, so that Dagster's own API calls partitions stale when one changes."""

import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import instance_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

from ummp_assets.clean.text.stage import RULES
from ummp_assets.definitions import defs
from ummp_assets.defs.code_versions import asset_code_versions, code_version
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.messages.deployments import plan_everything, request, send

_STALE = """
query Stale($partition: String!) {
  assetNodes(assetKeys: [{path: ["clean_text"]}, {path: ["clean_images"]}, {path: ["text_features"]}]) {
    assetKey { path }
    staleStatus(partition: $partition)
    staleCauses(partition: $partition) { category reason }
  }
}
"""


def _versions(**clean: Any) -> dict[str, str]:
    return asset_code_versions(load_settings(clean=clean))


def test_code_version_follows_the_code_each_rule_and_each_setting() -> None:
    before = code_version("1", RULES, {"min_characters": 1})

    assert before == code_version("1", dict(reversed(RULES.items())), {"min_characters": 1})
    others = [
        code_version("2", RULES, {"min_characters": 1}),
        code_version("1", RULES, {"min_characters": 2}),
        *(code_version("1", RULES | {rule: "next"}, {"min_characters": 1}) for rule in RULES),
    ]
    assert before not in others
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    ("changed", "assets"),
    [
        ({"text": {"min_characters": 7}}, {"clean_text"}),
        ({"text": {"gopher_quality": {"min_words": 7}}}, {"clean_text"}),
        ({"text": {"tokenizer": "o200k_base"}}, {"text_features"}),
        ({"image": {"max_aspect_ratio": 7}}, {"clean_images"}),
        ({"image": {"store_normalised": True}}, {"image_features"}),
        ({"audio": {"mel_bins": 40}}, {"audio_features"}),
    ],
)
def test_setting_changes_the_version_of_the_assets_that_it_decides(changed: dict[str, Any], assets: set[str]) -> None:
    before, after = _versions(), _versions(**changed)

    assert {name for name in before if before[name] != after[name]} == assets


@pytest.mark.parametrize(
    "changed",
    [
        {"hosts": {"example.org": {"respect_robots": False}}},
        {"respect_noai": False},
        {"allowed_addresses": ["127.0.0.1/32"]},
        {"allowed_roots": ["/srv"]},
        {"user_agent": "other/1 (+https://example.org)"},
    ],
)
def test_setting_that_decides_what_is_fetched_changes_the_version_of_downloads(changed: dict[str, Any]) -> None:
    before, after = _versions(), asset_code_versions(load_settings(fetch=changed))

    assert {name for name in before if before[name] != after[name]} == {"downloads"}


def test_limit_of_messages_changes_the_version_of_the_assets_that_read_them() -> None:
    before, after = _versions(), asset_code_versions(load_settings(intake={"max_message_bytes": 7_000}))

    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"requests", "labels", "takedowns", "training_logs"}


def test_settings_that_decide_nothing_change_no_version() -> None:
    quick = load_settings(fetch={"max_connections": 7, "total_timeout_seconds": 7}, intake={"max_batch_messages": 7})

    assert asset_code_versions(quick) == _versions()


def _stale(instance: dg.DagsterInstance, partition: str) -> dict[str, tuple[str, list[str]]]:
    """Ask as the web UI does: GraphQL over a code location that a process of its own has loaded."""
    # A second of imports, which each process that collects the tests would spend.
    from dagster_graphql.schema import create_schema

    target = ModuleTarget(
        module_name="ummp_assets.definitions", attribute=None, working_directory=None, location_name="ummp"
    )
    with WorkspaceProcessContext(instance, target) as process:
        answer = create_schema().execute(
            _STALE, variable_values={"partition": partition}, context_value=process.create_request_context()
        )
    assert answer.errors is None, answer.errors
    assert answer.data is not None
    return {
        node["assetKey"]["path"][0]: (node["staleStatus"], [cause["reason"] for cause in node["staleCauses"]])
        for node in answer.data["assetNodes"]
    }


@pytest.fixture
def environment(tmp_path: Path, bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("UMMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UMMP_KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("UMMP_TOPIC_PREFIX", f"t{uuid.uuid4().hex[:10]}")
    return load_settings()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_changed_rule_shows_as_stale_partition_in_dagsters_own_api(
    environment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_topics(environment)
    topic = topic_names(environment).requests_normal
    send(environment, topic, [request(uri="http://127.0.0.1:1/page.txt")])
    key = plan_everything(open_store(environment), environment, topic).key
    with instance_for_test() as instance:
        instance.add_dynamic_partitions("requests", [key])
        made = [dg.AssetKey(name) for name in ("requests", "downloads", "clean_text", "clean_images")]
        job = defs().resolve_job_def("requests_job")
        assert job.execute_in_process(partition_key=key, instance=instance, asset_selection=made).success

        monkeypatch.setenv("UMMP_CLEAN__TEXT__MIN_CHARACTERS", "500")

        found = _stale(instance, key)
        assert found["clean_text"] == ("STALE", ["has a new code version"])
        assert found["clean_images"] == ("FRESH", [])
        assert found["text_features"] == ("MISSING", [])
