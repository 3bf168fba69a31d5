"""The definitions load, and show a person what there is: names of the design, groups, owners, descriptions, columns."""

from typing import Any

import dagster as dg
import pytest

from ummp_assets.definitions import defs
from ummp_assets.defs.columns import column_lineage
from ummp_assets.defs.retries import BROKER_RETRIES, FETCH_RETRIES, STORE_RETRIES
from ummp_assets.messages.topics import Role
from ummp_assets.records import RAW_SCHEMA, REQUEST_SCHEMA, TEXT_SCHEMA

DEFINITIONS = defs()
REPOSITORY = DEFINITIONS.get_repository_def()
GRAPH = REPOSITORY.asset_graph

UPSTREAM = {
    "requests": {"kafka/ummp_requests_high", "kafka/ummp_requests_normal", "kafka/ummp_requests_low"},
    "downloads": {"requests"},
    "clean_text": {"downloads"},
    "clean_images": {"downloads"},
    "clean_audio": {"downloads"},
    "text_features": {"clean_text"},
    "image_features": {"clean_images"},
    "audio_features": {"clean_audio"},
    "dataset_commits": {"training_shards"},
    "training_datasets": {"dataset_commits", "label_updates", "takedown_receipts"},
    "labels": {"kafka/ummp_labels"},
    "takedowns": {"kafka/ummp_takedowns"},
    "training_logs": {"kafka/ummp_training_logs"},
    "model_parameters": {"kafka/ummp_parameters"},
    "kafka/ummp_datasets": {"dataset_commits", "label_updates", "takedown_receipts"},
    "kafka/ummp_requests_dead": {"dead_letters"},
}
"""The way of the data as the design draws it, where a name says all."""

TOPICS = {
    "kafka/ummp_requests_high",
    "kafka/ummp_requests_normal",
    "kafka/ummp_requests_low",
    "kafka/ummp_labels",
    "kafka/ummp_takedowns",
    "kafka/ummp_requests_dead",
    "kafka/ummp_datasets",
    "kafka/ummp_training_logs",
    "kafka/ummp_parameters",
}
MATERIALIZABLE = sorted(key.to_user_string() for key in GRAPH.materializable_asset_keys)
EVERYTHING = sorted(key.to_user_string() for key in GRAPH.get_all_asset_keys())
WITHOUT_ONE_TABLE = {"training_shards"}
"""Its tables differ by dataset and modality."""


def _node(name: str) -> Any:
    return GRAPH.get(dg.AssetKey.from_user_string(name))


def _definition(name: str) -> dg.AssetsDefinition:
    return REPOSITORY.assets_defs_by_key[dg.AssetKey.from_user_string(name)]


def test_definitions_can_be_loaded() -> None:
    dg.Definitions.validate_loadable(DEFINITIONS)


def test_names_are_those_of_the_design() -> None:
    stages = {
        "requests",
        "downloads",
        *(f"clean_{modality}" for modality in ("text", "images", "audio")),
        *(f"{modality}_features" for modality in ("text", "image", "audio")),
        "training_shards",
        "training_datasets",
        "labels",
        "takedowns",
        "training_logs",
        "model_parameters",
    }

    assert stages <= set(EVERYTHING)
    assert {name for name in EVERYTHING if name.startswith("kafka/")} == TOPICS


@pytest.mark.parametrize("name", UPSTREAM)
def test_graph_is_the_one_of_the_design(name: str) -> None:
    assert {key.to_user_string() for key in _node(name).parent_keys} == UPSTREAM[name]


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_asset_says_what_it_is(name: str) -> None:
    node = _node(name)

    assert len(node.description) > 20
    assert node.description.rstrip().endswith(".")
    assert node.group_name not in (None, "default")
    assert node.owners == ["team:data-platform"]
    assert node.kinds


@pytest.mark.parametrize("name", MATERIALIZABLE)
def test_every_materializable_asset_has_version_partitions_and_retries(name: str) -> None:
    node = _node(name)
    policy = _definition(name).op.retry_policy

    assert node.code_version
    assert isinstance(node.partitions_def, dg.DynamicPartitionsDefinition)
    assert policy in (BROKER_RETRIES, FETCH_RETRIES, STORE_RETRIES)


@pytest.mark.parametrize("name", [name for name in MATERIALIZABLE if name not in WITHOUT_ONE_TABLE])
def test_every_table_has_a_schema_with_a_description_for_each_column(name: str) -> None:
    schema = _node(name).metadata["dagster/column_schema"]

    assert schema.columns
    assert [column.name for column in schema.columns if not column.description] == []


def test_column_schema_is_the_one_of_the_stage() -> None:
    schema = _node("requests").metadata["dagster/column_schema"]

    assert [column.name for column in schema.columns] == REQUEST_SCHEMA.names
    by_name = {column.name: column for column in schema.columns}
    assert (by_name["offset"].type, by_name["offset"].constraints.nullable) == ("int64", False)
    assert (by_name["label"].type, by_name["label"].constraints.nullable) == ("string", True)


@pytest.mark.parametrize("name", ["requests", "labels", "takedowns", "dead_letters", "dataset_commits"])
def test_assets_that_visit_the_broker_have_its_retries(name: str) -> None:
    assert _definition(name).op.retry_policy == BROKER_RETRIES


def test_assets_of_one_job_share_their_partitions() -> None:
    for role in Role:
        job = REPOSITORY.get_job(f"{role.value}_job")
        assert job.partitions_def == dg.DynamicPartitionsDefinition(name=role.value)
        assert job.executor_def.name == "in_process"


def test_way_of_a_request_is_one_job() -> None:
    keys = {key.to_user_string() for key in REPOSITORY.get_job("requests_job").asset_layer.executable_asset_keys}

    assert keys == {
        "requests",
        "downloads",
        "clean_text",
        "clean_images",
        "clean_audio",
        "text_features",
        "image_features",
        "audio_features",
        "training_shards",
        "dataset_commits",
        "dead_letters",
    }


def test_accounting_check_is_blocking() -> None:
    [check] = [
        spec for spec in _definition("training_shards").check_specs if spec.asset_key == dg.AssetKey("training_shards")
    ]

    assert (check.name, check.blocking) == ("accounting", True)


def test_every_role_of_topics_has_a_sensor() -> None:
    sensors = {sensor.name: sensor for sensor in REPOSITORY.sensor_defs}

    assert {f"{role.value}_sensor" for role in Role} <= set(sensors)
    for role in Role:
        sensor = sensors[f"{role.value}_sensor"]
        assert sensor.job_name == f"{role.value}_job"
        assert sensor.minimum_interval_seconds == 1
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_sensors_run_by_themselves_where_ummp_up_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_SENSORS_RUNNING", "1")

    sensors = {sensor.name: sensor for sensor in defs().get_repository_def().sensor_defs}

    assert {sensors[f"{role.value}_sensor"].default_status for role in Role} == {dg.DefaultSensorStatus.RUNNING}


def test_topics_of_another_prefix_are_other_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_TOPIC_PREFIX", "news-v2.crawl")

    keys = {key.to_user_string() for key in defs().get_repository_def().asset_graph.get_all_asset_keys()}

    assert "kafka/news_v2_crawl_requests_normal" in keys
    assert not keys & TOPICS


def test_columns_of_clean_text_come_from_downloads() -> None:
    lineage = column_lineage(TEXT_SCHEMA, {"downloads": RAW_SCHEMA}, {"text": [("downloads", "content")]})

    sources = {
        name: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
        for name, deps in lineage.deps_by_column.items()
    }
    assert set(sources) == set(TEXT_SCHEMA.names)
    assert sources["uri"] == [("downloads", "uri")]
    assert sources["text"] == [("downloads", "content")]
    assert sources["characters"] == []
