"""What an event says: job and batch, datasets with schema, column lineage, version and row counts, Kafka's offsets."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from ummp_assets.defs.openlineage.sender import Sender
from ummp_assets.errors import UmmpError
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, parse_key
from ummp_assets.messages.replays import source_topic
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset, Run, RunEvent
    from openlineage.client.facet_v2 import DatasetFacet, InputDatasetFacet, RunFacet

__all__ = ["Attempt", "StageEvents"]

_PRODUCER = "https://pypi.org/project/ummp-assets/"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A Dagster run, its job, and how often the run had tried a stage before."""

    job: str
    run_id: str
    retry_number: int


class StageEvents:
    """The events of one attempt at a stage of a batch: START, later COMPLETE, FAIL or ABORT.

    The run's id derives from the attempt, so that another process can say that a killed one has ended.

    Names: the job is `<topic prefix>/<asset>`, a stage's table is the dataset `stages/<stage>` in the store's
    namespace, its version the manifest's sha256; a topic is the dataset of its name in `kafka://<bootstrap servers>`.
    """

    def __init__(
        self,
        sender: Sender,
        settings: Settings,
        store: ObjectStore,
        *,
        asset: str,
        batch: str,
        attempt: Attempt,
        schema: dg.TableSchema | None = None,
    ) -> None:
        self._sender, self._settings, self._store = sender, settings, store
        self._asset, self._batch, self._attempt, self._schema = asset, batch, attempt, schema
        name = f"{_PRODUCER}#{attempt.run_id}/{asset}/{attempt.retry_number}"
        self._run_id = str(uuid.uuid5(uuid.NAMESPACE_URL, name))

    def start(self) -> None:
        """Say that the attempt has begun."""
        self._send("START")

    def complete(self, manifest: Manifest, metadata: Mapping[str, Any], items: int) -> None:
        """Say that the stage committed.

        Parameters
        ----------
        metadata:
            Of the materialization: `dagster/row_count`, `dagster/column_schema` and `dagster/column_lineage` are used.
        items:
            Rows that went in.
        """
        self._send(
            "COMPLETE",
            lambda: {"inputs": self._inputs(manifest, items), "outputs": [self._output(manifest, metadata)]},
        )

    def fail(self, error: BaseException) -> None:
        """Say that the attempt failed, or was broken off."""
        said = f"{type(error).__name__}: {error}"
        self._send("FAIL" if isinstance(error, Exception) else "ABORT", lambda: {"run": self._run(said)})

    def abort(self, cause: str) -> None:
        """Say that the attempt has ended without a word of its own."""
        self._send("ABORT", lambda: {"run": self._run(cause)})

    def _send(self, state: str, details: Callable[[], dict[str, Any]] = dict) -> None:
        self._sender.send(lambda: self._event(state, details()))

    def _event(self, state: str, details: Mapping[str, Any]) -> "RunEvent":
        from openlineage.client.event_v2 import Job, RunEvent, RunState

        return RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            producer=_PRODUCER,
            job=Job(self._settings.topic_prefix, self._asset),
            eventType=RunState(state),
            **{"run": self._run(), **details},
        )

    def _run(self, error: str | None = None) -> "Run":
        from openlineage.client.event_v2 import Run
        from openlineage.client.facet_v2 import error_message_run, parent_run, tags_run

        facets: dict[str, RunFacet] = {
            "parent": parent_run.ParentRunFacet(
                parent_run.Run(self._attempt.run_id), parent_run.Job(self._settings.topic_prefix, self._attempt.job)
            ),
            "tags": tags_run.TagsRunFacet([tags_run.TagsRunFacetFields("batch", self._batch, "UMMP")]),
        }
        if error:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(error, "python")
        return Run(self._run_id, facets)

    def _inputs(self, manifest: Manifest, items: int) -> "list[InputDataset]":
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_metrics_input_dataset, dataset_version_dataset

        metrics = data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet({}, items)
        quality: dict[str, InputDatasetFacet] = {"dataQualityMetrics": metrics}
        if not manifest.inputs:
            return self._topics(quality)
        alone = quality if len(manifest.inputs) == 1 else {}
        return [
            InputDataset(
                namespace=self._store.uri(),
                name=f"stages/{stage}",
                facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(digest)},
                inputFacets=alone,
            )
            for stage, digest in manifest.inputs.items()
        ]

    def _topics(self, quality: "dict[str, InputDatasetFacet]") -> "list[InputDataset]":
        """Return the topic that a batch was read from, with the offsets of each partition."""
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import dataset_version_dataset, datasource_dataset

        with suppress(UmmpError):
            batch = OffsetLog(self._store).get(self._batch)
            topic = source_topic(batch.topic)
            namespace = f"kafka://{self._settings.bootstrap_servers}"
            facets: dict[str, DatasetFacet] = {
                "dataSource": datasource_dataset.DatasourceDatasetFacet(topic, namespace),
                "version": dataset_version_dataset.DatasetVersionDatasetFacet(_offsets(batch)),
            }
            return [InputDataset(namespace=namespace, name=topic, facets=facets, inputFacets=quality)]
        return []

    def _output(self, manifest: Manifest, metadata: Mapping[str, Any]) -> "OutputDataset":
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

        files = [entry for entries in manifest.tables.values() for entry in entries]
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            int(metadata["dagster/row_count"]), sum(entry.byte_count for entry in files), len(files)
        )
        facets: dict[str, DatasetFacet] = {
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(manifest.sha256)
        }
        if schema := metadata.get("dagster/column_schema", self._schema):
            facets["schema"] = _schema(schema)
        if lineage := metadata.get("dagster/column_lineage"):
            facets["columnLineage"] = self._lineage(lineage)
        return OutputDataset(
            namespace=self._store.uri(),
            name=f"stages/{manifest.stage}",
            facets=facets,
            outputFacets={"outputStatistics": statistics},
        )

    def _lineage(self, lineage: dg.TableColumnLineage) -> "DatasetFacet":
        from openlineage.client.facet_v2 import column_lineage_dataset as facet

        return facet.ColumnLineageDatasetFacet(
            {
                # The three topics of requests are one here: that of the batch.
                column: facet.Fields(
                    [
                        facet.InputField(*place)
                        for place in dict.fromkeys((*self._name(dep.asset_key), dep.column_name) for dep in deps)
                    ]
                )
                for column, deps in lineage.deps_by_column.items()
                if deps
            }
        )

    def _name(self, key: dg.AssetKey) -> tuple[str, str]:
        if key.path[0] != "kafka":
            return self._store.uri(), f"stages/{key.path[-1]}"
        return f"kafka://{self._settings.bootstrap_servers}", source_topic(parse_key(self._batch)[0])


def _offsets(batch: Batch) -> str:
    """Return the half-open ranges of a batch, e.g. `0:0-17 1:3-9`: partition, first offset, next one."""
    return " ".join(f"{item.partition}:{item.start}-{item.end}" for item in batch.ranges)


def _schema(schema: dg.TableSchema) -> "DatasetFacet":
    from openlineage.client.facet_v2 import schema_dataset

    return schema_dataset.SchemaDatasetFacet(
        [
            schema_dataset.SchemaDatasetFacetFields(column.name, column.type, column.description)
            for column in schema.columns
        ]
    )
