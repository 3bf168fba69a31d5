"""What flow tests do: send requests, let the sensor plan them, run a batch, look at what came out."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg

from ummp_assets.cli.demo.server import SampleServer
from ummp_assets.definitions import defs
from ummp_assets.defs.deployment import Deployment
from ummp_assets.messages.clients import make_consumer, make_producer
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import read_manifest, read_table

UNREADABLE = [
    None,
    b"no json",
    b'{"schema": "ummp.request/9", "dataset": "documents", "uri": "http://x/"}',
    b'{"schema": "ummp.request/1", "dataset": "Not A Name", "uri": "http://x/"}',
    b'{"schema": "ummp.request/1", "dataset": "documents"}',
    b'{"schema": "ummp.request/1", "dataset": "documents", "uri": "http://x/", "note": "' + b"x" * 10_000_000 + b'"}',
]
_ASSETS_AFTER_DOWNLOADS = [
    *("clean_text", "clean_images", "clean_audio", "text_features", "image_features", "audio_features"),
    *("training_shards", "dataset_commits", "dead_letters"),
]
DATASETS = {"documents": "documents", "photographs": "photographs", "sounds": "sounds"}


def send_everything(settings: Settings, site: SampleServer) -> int:
    """Send a request for each file of the site, for one that is missing, and messages that are no request."""
    ensure_topics(settings)
    topic = topic_names(settings).requests_normal
    values = [request(site.url + path[1:]) for path in sorted(site.samples)]
    values.append(request(site.url + "photographs/gone.jpg"))
    producer = make_producer(settings)
    try:
        for value in [*values, *UNREADABLE]:
            producer.send(topic, key=b"flow", value=value, partition=len(value or b"") % settings.topic_partitions)
        producer.flush()
    finally:
        producer.close()
    return len(values) + len(UNREADABLE)


def request(uri: str) -> bytes:
    folder = next((name for name in DATASETS if f"/{name}/" in uri), "photographs")
    return json.dumps({"schema": "ummp.request/1", "dataset": DATASETS[folder], "uri": uri}).encode()


def tick(instance: dg.DagsterInstance, sensor: str = "requests_sensor", cursor: str | None = None) -> dg.SensorResult:
    """Evaluate a sensor once and add the partitions that it asked for, as the daemon does."""
    definition = defs().get_repository_def().get_sensor_def(sensor)
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"deployment": Deployment()}) as context:
        result = definition(context)
    assert isinstance(result, dg.SensorResult)
    for asked in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(asked.partitions_def_name, list(asked.partition_keys))
    return result


def run_batch(
    instance: dg.DagsterInstance, key: str, *, job: str = "requests_job", raw: bool = True
) -> dg.ExecuteInProcessResult:
    """Run a batch; without `raw` only what follows from the stored raw bytes."""
    return (
        defs()
        .resolve_job_def(job)
        .execute_in_process(
            partition_key=key,
            instance=instance,
            raise_on_error=False,
            asset_selection=None if raw else [dg.AssetKey(name) for name in _ASSETS_AFTER_DOWNLOADS],
        )
    )


def send(settings: Settings, topic: str, *documents: dict[str, Any]) -> None:
    """Send JSON messages and wait until the broker has them."""
    producer = make_producer(settings)
    try:
        for sent in [producer.send(topic, value=json.dumps(document).encode()) for document in documents]:
            sent.get(timeout=10)
    finally:
        producer.close()


def rejections(store: ObjectStore, key: str) -> Counter[tuple[str, str]]:
    """Return what was rejected in a batch by modality and reason, from every stage."""
    counts: Counter[tuple[str, str]] = Counter()
    for stage in ("requests", "downloads", "clean_text", "clean_images", "clean_audio"):
        for entry in read_manifest(store, stage, key).outcomes:
            counts[entry.modality, entry.reason] += entry.count
    return counts


def rows(store: ObjectStore, stage: str, key: str, columns: list[str], table: str = "samples") -> list[dict[str, Any]]:
    manifest = read_manifest(store, stage, key)
    return [row for batch in read_table(store, manifest, table, columns=columns) for row in batch.to_pylist()]


def read_topic(settings: Settings, topic: str) -> list[Any]:
    """Return all committed records of a topic."""
    from kafka import TopicPartition

    with make_consumer(settings, auto_offset_reset="earliest") as consumer:
        partitions = [TopicPartition(topic, number) for number in range(settings.topic_partitions)]
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        records: list[Any] = []
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for found in consumer.poll(timeout_ms=500).values():
                records.extend(found)
        return records


def hashes(root: Path, *folders: str) -> dict[str, str]:
    """Return the sha256 of every file below some folders of a local store, except hints, which may lag behind."""
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in folders
        for file in sorted((root / folder).rglob("*"))
        if file.is_file() and file.name != "latest"
    }
