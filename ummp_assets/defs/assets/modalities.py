"""Assets `clean_*` and `*_features`, one pair for each modality: the same glue around six functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa

from ummp_assets.clean import audio_stage as clean_audio
from ummp_assets.clean import image_stage as clean_images
from ummp_assets.clean.text import stage as clean_text
from ummp_assets.defs.assets.topics import OWNERS
from ummp_assets.defs.columns import column_lineage, column_schema
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.partitions import BATCHES
from ummp_assets.defs.reports import audio_pictures, image_pictures, measured_values, result, stage_run, text_preview
from ummp_assets.defs.retries import STORE_RETRIES, permanent_errors_fail_at_once
from ummp_assets.features import audio_stage as audio_features
from ummp_assets.features import image_stage as image_features
from ummp_assets.features.text import stage as text_features
from ummp_assets.messages.topics import Role
from ummp_assets.records import (
    AUDIO_FEATURE_SCHEMA,
    AUDIO_SCHEMA,
    IMAGE_FEATURE_SCHEMA,
    RAW_SCHEMA,
    TEXT_FEATURE_SCHEMA,
    TEXT_SCHEMA,
    image_schema,
)
from ummp_assets.settings import Settings
from ummp_assets.storage.accounting import CLEAN_STAGES
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest

__all__ = ["make_modality_assets"]

_Report = Callable[[ObjectStore, Manifest], dict[str, Any]]


@dataclass(frozen=True)
class _Stage:
    """What the glue needs to know of a stage."""

    name: str
    upstream: str
    group: str
    kinds: set[str]
    schema: pa.Schema
    upstream_schema: pa.Schema
    source_column: str
    code_version: str
    description: str
    run: Callable[[Deployment, str], Manifest]
    report: _Report | None = None


def make_modality_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the clean and feature assets; the schema of images depends on the configured size."""
    return [_make_asset(stage) for stage in _stages(settings)]


def _make_asset(stage: _Stage) -> dg.AssetsDefinition:
    own = [name for name in stage.schema.names if name not in stage.upstream_schema.names]
    computed: Mapping[str, list[tuple[str, str]]] = {name: [(stage.upstream, stage.source_column)] for name in own}
    lineage = column_lineage(stage.schema, {stage.upstream: stage.upstream_schema}, computed)

    @dg.asset(
        name=stage.name,
        description=stage.description,
        partitions_def=BATCHES[Role.REQUESTS],
        deps=[stage.upstream],
        group_name=stage.group,
        owners=OWNERS,
        kinds=stage.kinds,
        code_version=stage.code_version,
        retry_policy=STORE_RETRIES,
        metadata={"dagster/column_schema": column_schema(stage.schema)},
    )
    def materialize(context: dg.AssetExecutionContext, deployment: Deployment) -> dg.MaterializeResult[Any]:
        with permanent_errors_fail_at_once(), stage_run(context, deployment) as watch:
            manifest = stage.run(deployment, context.partition_key)
            watch.stop()
            measured = stage.name in CLEAN_STAGES.values()
            extra = {
                **(measured_values(deployment.store, manifest, deployment.settings.clean) if measured else {}),
                **_preview(context, stage, deployment.store, manifest),
                "dagster/column_lineage": lineage,
            }
            items = manifest.rows("samples") + manifest.rejected
            return result(deployment.store, manifest, watch, items=items, extra=extra)

    return materialize


def _preview(
    context: dg.AssetExecutionContext, stage: _Stage, store: ObjectStore, manifest: Manifest
) -> dict[str, Any]:
    """Return the stage's pictures or tables; a failure to draw them is logged, since the batch is committed already."""
    if stage.report is None:
        return {}
    try:
        return stage.report(store, manifest)
    except Exception:
        context.log.warning("no preview of %s", stage.name, exc_info=True)
        return {}


def _stages(settings: Settings) -> list[_Stage]:
    images = image_schema(settings.clean.image.side_pixels)
    return [
        _Stage(
            "clean_text",
            "downloads",
            "cleaning",
            {"text", "parquet"},
            TEXT_SCHEMA,
            RAW_SCHEMA,
            "content",
            clean_text.CODE_VERSION,
            "Documents decoded, HTML turned to text, normalised, language-tagged and judged; without duplicates.",
            lambda on, key: clean_text.clean_text(on.store, on.index, on.settings, key),
            text_preview,
        ),
        _Stage(
            "clean_images",
            "downloads",
            "cleaning",
            {"image", "parquet"},
            images,
            RAW_SCHEMA,
            "content",
            clean_images.CODE_VERSION,
            "Pictures decoded safely, oriented, in sRGB, resized and cropped to one size; without duplicates.",
            lambda on, key: clean_images.clean_images(on.store, on.index, on.settings, key),
            image_pictures,
        ),
        _Stage(
            "clean_audio",
            "downloads",
            "cleaning",
            {"audio", "parquet"},
            AUDIO_SCHEMA,
            RAW_SCHEMA,
            "content",
            clean_audio.CODE_VERSION,
            "Recordings decoded, mixed to mono and resampled; without duplicates.",
            lambda on, key: clean_audio.clean_audio(on.store, on.index, on.settings, key),
        ),
        _Stage(
            "text_features",
            "clean_text",
            "features",
            {"text", "parquet"},
            TEXT_FEATURE_SCHEMA,
            TEXT_SCHEMA,
            "text",
            text_features.CODE_VERSION,
            "Token ids of each document.",
            lambda on, key: text_features.text_features(on.store, on.settings, key),
        ),
        _Stage(
            "image_features",
            "clean_images",
            "features",
            {"image", "parquet"},
            IMAGE_FEATURE_SCHEMA,
            images,
            "image",
            image_features.CODE_VERSION,
            "Channel means, standard deviations and a perceptual hash of each picture.",
            lambda on, key: image_features.image_features(on.store, on.settings, key),
        ),
        _Stage(
            "audio_features",
            "clean_audio",
            "features",
            {"audio", "parquet"},
            AUDIO_FEATURE_SCHEMA,
            AUDIO_SCHEMA,
            "waveform",
            audio_features.CODE_VERSION,
            "Log-mel spectrogram of each recording.",
            lambda on, key: audio_features.audio_features(on.store, on.settings, key),
            audio_pictures,
        ),
    ]
