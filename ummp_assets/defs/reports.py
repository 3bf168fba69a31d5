"""What a materialization reports: numbers that plot over partitions, outcome tables, previews and pictures."""

import base64
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import dagster as dg
import numpy as np
from dagster import DagsterRunStatus

from ummp_assets.clean.distribution import Distribution, distributions
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.openlineage.events import Attempt, StageEvents
from ummp_assets.defs.openlineage.sender import sender_of
from ummp_assets.features.pictures import contact_sheet, spectrogram_picture
from ummp_assets.reasons import Outcome, find_reason
from ummp_assets.settings import CleanSettings
from ummp_assets.storage.accounting import CLEAN_STAGES
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table

__all__ = ["Stopwatch", "audio_pictures", "image_pictures", "measured_values", "result", "stage_run", "text_preview"]

_PREVIEW_ROWS = 10
_PREVIEW_CHARACTERS = 120
_PICTURES = 32
_SPECTROGRAMS = 3


class Stopwatch:
    """Wall seconds of a stage's work, and its OpenLineage events if an endpoint is set."""

    def __init__(self, events: StageEvents | None) -> None:
        self.events = events
        self._began = time.perf_counter()
        self._seconds: float | None = None

    def stop(self) -> float:
        """Return the seconds until the first call: what comes then, such as previews, is not the stage's work."""
        if self._seconds is None:
            self._seconds = time.perf_counter() - self._began
        return self._seconds


@contextmanager
def stage_run(context: dg.AssetExecutionContext, deployment: Deployment) -> Iterator[Stopwatch]:
    """Measure the block's wall time; say when it begins and, with its error, when it fails. `result`, inside the block,
    says what it committed.

    A run that somebody cancels in the block ends, whatever the step's policy of retries.
    """
    watch = Stopwatch(_events(context, deployment))
    try:
        if watch.events:
            watch.events.start()
        yield watch
    except BaseException as error:
        if watch.events:
            watch.events.fail(error)
        if not isinstance(error, Exception) and _is_cancelled(context):
            # Dagster 1.13 tries an interrupted step again, whoever interrupted it.
            raise dg.Failure("The run was cancelled.", allow_retries=False) from error
        raise


def _is_cancelled(context: dg.AssetExecutionContext) -> bool:
    run = context.instance.get_run_by_id(context.run.run_id)
    return run is not None and run.status in (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)


def _events(context: dg.AssetExecutionContext, deployment: Deployment) -> StageEvents | None:
    sender = sender_of(deployment.settings)
    if sender is None:
        return None
    return StageEvents(
        sender,
        deployment.settings,
        deployment.store,
        asset=context.asset_key.to_user_string(),
        batch=context.partition_key,
        attempt=Attempt(context.run.job_name, context.run.run_id, context.retry_number),
        schema=context.assets_def.metadata_by_key[context.asset_key].get("dagster/column_schema"),
    )


def result(
    store: ObjectStore,
    manifest: Manifest,
    watch: Stopwatch,
    *,
    items: int,
    rows: int | None = None,
    extra: Mapping[str, Any] | None = None,
    check: dg.AssetCheckResult | None = None,
) -> dg.MaterializeResult[Any]:
    """Stop the watch and return a stage's materialization.

    Parameters
    ----------
    items:
        What went in, for items per second.
    rows:
        What came out; the rows of the table `samples` if not given.
    extra:
        More metadata, shown last.
    check:
        What the asset's own check found.
    """
    seconds = watch.stop()
    outcomes = {f"{outcome.value} samples": manifest.count(outcome) for outcome in Outcome if outcome != Outcome.STORED}
    byte_count = sum(entry.byte_count for files in manifest.tables.values() for entry in files)
    metadata: dict[str, Any] = {
        "dagster/row_count": manifest.rows("samples") if rows is None else rows,
        **outcomes,
        **{name.replace("_", " "): value for name, value in manifest.numbers.items()},
        "stored bytes": byte_count,
        "seconds": round(seconds, 3),
        "items per second": round(items / max(seconds, 1e-6), 1),
        "manifest": dg.MetadataValue.path(store.uri(f"stages/{manifest.stage}/{manifest.batch}/manifest.json")),
    }
    if manifest.outcomes:
        metadata["rejections"] = _rejections(manifest)
    # Last, for a table of documents fills the page.
    metadata |= extra or {}
    if watch.events:
        watch.events.complete(manifest, metadata, items)
    return dg.MaterializeResult(
        metadata=metadata,
        data_version=dg.DataVersion(manifest.sha256[:16]),
        check_results=[check] if check else [],
    )


def measured_values(store: ObjectStore, manifest: Manifest, settings: CleanSettings) -> dict[str, Any]:
    """Return a table of what each rule measured in a batch of a clean stage, and of how much its limit keeps."""
    modality = next(kind for kind, stage in CLEAN_STAGES.items() if stage == manifest.stage)
    found = distributions(store, [manifest.batch], settings, [modality])
    records = [
        dg.TableRecord(
            {
                "rule": item.reason,
                "limit": _limit(item),
                "in force": "yes" if item.in_force else "no",
                "samples": item.samples,
                "would keep": item.kept,
                "refused": item.refused,
                # More would not fit the page.
                **{f"{share:.0%}": f"{item.quantiles[share]:.4g}" for share in (0.05, 0.5, 0.95)},
            }
        )
        for item in found
        if item.samples
    ]
    return {"measured values": dg.MetadataValue.table(records)} if records else {}


def _limit(item: Distribution) -> str:
    if item.limit is None:
        return "none"
    return f"{'≥' if item.keeps == 'at least' else '≤'} {item.limit:g}"


def text_preview(store: ObjectStore, manifest: Manifest) -> dict[str, Any]:
    """Return the first documents of a batch as a table."""
    columns = ["sample_id", "dataset", "language", "characters", "text"]
    rows = _first_rows(store, manifest, columns, _PREVIEW_ROWS)
    records = [dg.TableRecord({**row, "text": row["text"][:_PREVIEW_CHARACTERS]}) for row in rows]
    return {"first documents": dg.MetadataValue.table(records)} if records else {}


def image_pictures(store: ObjectStore, manifest: Manifest) -> dict[str, Any]:
    """Return a contact sheet of a batch's first images."""
    images: list[Any] = []
    for rows in read_table(store, manifest, "samples", columns=["image"], batch_rows=_PICTURES):
        images.extend(np.asarray(rows.column("image").to_numpy_ndarray())[: _PICTURES - len(images)])
        if len(images) >= _PICTURES:
            break
    return {"contact sheet": _picture("contact sheet", contact_sheet(images))} if images else {}


def audio_pictures(store: ObjectStore, manifest: Manifest) -> dict[str, Any]:
    """Return the spectrograms of a batch's first recordings."""
    rows = _first_rows(store, manifest, ["sample_id", "log_mel", "mel_bins", "frames"], _SPECTROGRAMS)
    pictures = [
        f"`{row['sample_id']}`\n\n{_markdown(row['sample_id'], spectrogram_picture(_log_mel(row)))}" for row in rows
    ]
    return {"spectrograms": dg.MetadataValue.md("\n\n".join(pictures))} if pictures else {}


def _log_mel(row: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.asarray(row["log_mel"], dtype=np.float32).reshape(row["mel_bins"], row["frames"])


def _first_rows(store: ObjectStore, manifest: Manifest, columns: list[str], count: int) -> list[dict[str, Any]]:
    def rows() -> Iterable[dict[str, Any]]:
        for chunk in read_table(store, manifest, "samples", columns=columns, batch_rows=count):
            yield from chunk.to_pylist()

    return list(islice(rows(), count))


def _rejections(manifest: Manifest) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord(
            {
                "dataset": entry.dataset or "-",
                "modality": entry.modality,
                "outcome": entry.outcome,
                "reason": entry.reason,
                "samples": entry.count,
                "meaning": reason.meaning if (reason := find_reason(entry.reason)) else "",
            }
        )
        for entry in manifest.outcomes
    ]
    return dg.MetadataValue.table(records)


def _picture(title: str, png: bytes) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(_markdown(title, png))


def _markdown(title: str, png: bytes) -> str:
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"
