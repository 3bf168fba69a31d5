"""What a materialization shows a person, by value, for a small batch that came the whole way."""

import base64
import io
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from ummp_assets.cli.demo.content import documents, photographs, sounds
from ummp_assets.cli.demo.server import serve
from ummp_assets.definitions import defs
from ummp_assets.messages.ranges import Batch
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import load_settings
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets.storage.stages import read_manifest
from ummp_assets_tests.messages.deployments import plan_everything, request, send

Metadata = dict[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Materialized:
    """A batch that came the whole way: metadata by asset, and the partitions that a dataset names as its parents."""

    store: ObjectStore
    planned: Batch
    shown: Metadata
    parents: dict[str, list[str]]


@pytest.fixture(scope="module")
def materialized(tmp_path_factory: pytest.TempPathFactory, bootstrap_servers: str) -> Materialized:
    """Three good samples, a copy, one that is not there and one message that is no JSON."""
    folder = tmp_path_factory.mktemp("materializations")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("UMMP_HOME", str(folder / "home"))
        environment.setenv("UMMP_KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers)
        environment.setenv("UMMP_TOPIC_PREFIX", f"t{uuid.uuid4().hex[:10]}")
        environment.setenv("UMMP_FETCH__ALLOWED_ADDRESSES", '["127.0.0.1/32"]')
        settings = load_settings()
        store = open_store(settings)
        ensure_topics(settings)
        topic = topic_names(settings).requests_normal
        samples = [next(iter(documents())), next(iter(photographs())), next(iter(sounds()))]
        with serve(samples) as site:
            paths = [*(sample.path for sample in samples), samples[0].path, "gone.jpg"]
            values = [request(uri=site.url + path) for path in paths]
            send(settings, topic, [*values, b"no json"])
            planned = plan_everything(store, settings, topic)
            with dg.DagsterInstance.ephemeral() as instance:
                instance.add_dynamic_partitions("requests", [planned.key])
                result = (
                    defs()
                    .resolve_job_def("requests_job")
                    .execute_in_process(partition_key=planned.key, instance=instance)
                )
                records = instance.get_records_for_run(
                    result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
                ).records
    events = [record.event_log_entry.get_dagster_event() for record in records]
    shown = {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization.metadata
        for event in events
        if event.asset_key
    }
    parents = {
        info.asset_key.to_user_string(): sorted(info.partitions)
        for event in events
        for info in event.step_materialization_data.asset_lineage
    }
    return Materialized(store, planned, shown, parents)


@pytest.fixture
def batch(materialized: Materialized) -> tuple[ObjectStore, Batch, Metadata]:
    return materialized.store, materialized.planned, materialized.shown


def _values(metadata: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: metadata[name].value for name in names}


def _records(table: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table.records]


def _pictures(markdown: str) -> list[Image.Image]:
    found = re.findall(r"!\[[^\]]+\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", markdown)
    return [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in found]


def test_requests_show_numbers_that_plot(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    store, planned, shown = batch
    metadata = shown["requests"]

    assert _values(
        metadata, "dagster/row_count", "messages", "readable", "unreadable", "gaps", "expired", "dead samples"
    ) == {
        "dagster/row_count": 5,
        "messages": 6,
        "readable": 5,
        "unreadable": 1,
        "gaps": 0,
        "expired": 0,
        "dead samples": 1,
    }
    manifest = read_manifest(store, "requests", planned.key)
    assert metadata["manifest"].value == store.uri(f"stages/requests/{planned.key}/manifest.json")
    assert metadata["stored bytes"].value == sum(
        entry.byte_count for files in manifest.tables.values() for entry in files
    )
    assert metadata["seconds"].value > 0
    assert metadata["items per second"].value == pytest.approx(6 / metadata["seconds"].value, rel=0.2)


def test_rejections_are_a_table_with_their_meaning(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    _, _, shown = batch

    [unreadable] = _records(shown["requests"]["rejections"])
    assert unreadable == {
        "dataset": "-",
        "modality": "unreadable",
        "outcome": "dead",
        "reason": "not_json",
        "samples": 1,
        "meaning": "The message is not a JSON object in UTF-8.",
    }
    [gone] = _records(shown["downloads"]["rejections"])
    assert (gone["dataset"], gone["outcome"], gone["reason"], gone["samples"]) == (
        "pages",
        "dead",
        "http_client_error",
        1,
    )
    [copy] = _records(shown["clean_text"]["rejections"])
    assert (copy["outcome"], copy["reason"]) == ("duplicate", "exact_duplicate")
    assert "rejections" not in shown["clean_images"]


def test_every_asset_of_the_batch_is_materialized_with_its_rows(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    _, _, shown = batch

    assert {name: metadata["dagster/row_count"].value for name, metadata in shown.items()} == {
        "requests": 5,
        "downloads": 4,
        "clean_text": 1,
        "clean_images": 1,
        "clean_audio": 1,
        "text_features": 1,
        "image_features": 1,
        "audio_features": 1,
        "training_shards": 3,
        "dataset_commits": 1,
        "training_datasets": 3,
        "dead_letters": 2,
    }


def test_documents_are_shown_as_a_table(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    _, planned, shown = batch

    [document] = _records(shown["clean_text"]["first documents"])

    assert document["sample_id"].startswith(planned.topic)
    assert (document["dataset"], document["language"]) == ("pages", "en")
    assert 0 < len(document["text"]) <= 120
    assert document["characters"] >= len(document["text"])


def test_images_are_shown_as_a_contact_sheet(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    _, _, shown = batch

    [sheet] = _pictures(shown["clean_images"]["contact sheet"].value)

    assert sheet.format == "PNG"
    assert sheet.size == (96, 96)
    assert len(sheet.convert("RGB").getcolors(10_000) or []) > 100, "a photograph, not a blank"


def test_recordings_are_shown_as_spectrograms(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    _, planned, shown = batch
    markdown = shown["audio_features"]["spectrograms"].value

    [picture] = _pictures(markdown)

    assert markdown.startswith(f"`{planned.topic}~")
    assert picture.size[1] == 160
    assert len(picture.convert("RGB").getcolors(100_000) or []) > 50


def test_columns_show_where_they_come_from(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    _, _, shown = batch

    def sources(asset: str) -> dict[str, list[tuple[str, str]]]:
        lineage = shown[asset]["dagster/column_lineage"].value
        return {
            column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
            for column, deps in lineage.deps_by_column.items()
        }

    assert sources("downloads")["uri"] == [("requests", "uri")]
    assert sources("downloads")["content"] == [("requests", "uri")]
    assert sources("clean_text")["text"] == [("downloads", "content")]
    assert sources("text_features")["token_ids"] == [("clean_text", "text")]
    assert sources("audio_features")["log_mel"] == [("clean_audio", "waveform")]
    assert sources("training_shards")["tokens"] == [("text_features", "tokens")]
    clean = ("clean_audio", "clean_images", "clean_text")
    assert sorted(sources("training_shards")["uri"]) == [(asset, "uri") for asset in clean]
    assert sorted(sources("training_shards")["split"]) == [(asset, "content_sha256") for asset in clean]
    assert sources("dataset_commits")["rows"] == [("training_shards", "sample_id")]
    assert sources("training_datasets")["text"] == [("training_shards", "text")]
    assert sorted(sources("training_datasets")["label"]) == [("labels", "label"), ("training_shards", "label")]
    for asset in shown:
        columns = sources(asset)
        assert columns, asset
        # What has no source in another table is made here: where a version's manifest stands, say.
        assert sum(not deps for deps in columns.values()) <= 2, (asset, columns)


def test_dataset_names_the_batches_that_it_was_made_of(materialized: Materialized) -> None:
    key = materialized.planned.key
    assert materialized.parents == {"dataset_commits": [key]}
    shown = materialized.shown["training_datasets"]
    assert _records(shown["batches"]) == [{"made by": "dataset_commits", "batch": key}]
    assert shown["page of the batch"].value.endswith(f"partition={key}")


def test_shards_and_datasets_show_all_their_columns(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    _, _, shown = batch

    for asset in ("training_shards", "training_datasets"):
        columns = {column.name: column.type for column in shown[asset]["dagster/column_schema"].value.columns}
        assert {"sample_id", "text", "image", "waveform", "tokens", "log_mel", "modality", "split"} <= set(columns)
        assert "256" in columns["image"]


def test_measured_values_are_shown_for_every_rule(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    _, _, shown = batch

    rules = {row["rule"]: row for row in _records(shown["clean_text"]["measured values"])}
    assert (rules["text_too_short"]["limit"], rules["text_too_short"]["in force"]) == ("≥ 1", "yes")
    assert (rules["gopher_too_few_words"]["samples"], rules["gopher_too_few_words"]["in force"]) == (2, "no")
    [photograph] = [
        row for row in _records(shown["clean_images"]["measured values"]) if row["rule"] == "image_too_small"
    ]
    assert (photograph["limit"], photograph["would keep"], photograph["refused"]) == ("≥ 16", 1, 0)
    assert float(photograph["50%"]) >= 16


def test_version_of_the_dataset_says_how_to_load_it(batch: tuple[ObjectStore, Batch, Metadata]) -> None:
    store, planned, shown = batch
    metadata = shown["training_datasets"]

    assert _values(metadata, "version", "dagster/row_count") == {"version": 1, "dagster/row_count": 3}
    assert metadata["batch"].value == planned.key
    assert metadata["load with"].value.strip("`") == 'ummp_assets.open_dataset("pages", version=1)'
    assert Path(metadata["manifest"].value).is_file()
    assert metadata["manifest"].value.startswith(store.uri("datasets/pages"))
