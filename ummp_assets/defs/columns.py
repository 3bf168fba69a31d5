"""Column schemas and column lineage as Dagster shows them, from the Arrow schemas of the stages."""

from collections.abc import Iterable, Mapping

import dagster as dg
import pyarrow as pa

from ummp_assets.datasets.versions import DatasetVersion

__all__ = ["column_lineage", "column_schema", "column_schema_of"]

_DESCRIPTIONS = {
    "sample_id": "Coordinates of the message: `topic~partition~offset`, and `~member` inside an archive.",
    "dataset": "Dataset that the request named.",
    "topic": "Kafka topic of the message.",
    "partition": "Kafka partition of the message.",
    "offset": "Kafka offset of the message.",
    "timestamp": "Time of the message.",
    "timestamp_ms": "Time of the message, Unix milliseconds.",
    "uri": "What the request asked for.",
    "modality": "text, image or audio.",
    "media_type": "Media type that the source stated.",
    "sha256": "SHA-256 of the raw bytes.",
    "content_sha256": "SHA-256 of the cleaned content; equal contents are duplicates.",
    "byte_count": "Raw bytes.",
    "content": "Raw bytes of small objects.",
    "blob": "Path in the store of large objects.",
    "label": "Label as JSON.",
    "attributes": "The request's attributes as JSON.",
    "attempts": "Every fetch attempt as JSON: time, address, status, error, bytes.",
    "evidence": "Policy decisions as JSON, with their dates.",
    "fetched_at": "Time of the fetch, UTC.",
    "final_uri": "Address after redirects.",
    "value": "Original bytes of the message, or the number that was reported.",
    "text": "Normalised text.",
    "language": "Language tag (ISO 639-1).",
    "language_score": "Certainty of the language, 0 to 1.",
    "characters": "Length of the text.",
    "image": "Pixels, uint8, height x width x RGB.",
    "width": "Width before resizing, pixels.",
    "height": "Height before resizing, pixels.",
    "waveform": "Mono samples, -1 to 1.",
    "sample_rate_hz": "Samples a second of the waveform.",
    "seconds": "Duration.",
    "token_ids": "Token ids, shape (tokens,).",
    "tokens": "Number of tokens.",
    "channel_mean": "Mean of R, G, B, 0 to 1.",
    "channel_std": "Standard deviation of R, G, B, 0 to 1.",
    "perceptual_hash": "64-bit hash of the picture's look.",
    "log_mel": "Log-mel spectrogram, shape (mel_bins, frames), row by row.",
    "split": "train, validation or test.",
    "target_kind": "What the label is for: sample_id, sha256 or uri.",
    "target": "The id, hash or address itself.",
    "annotator": "Who labelled.",
    "confidence": "Certainty that the annotator stated, 0 to 1.",
    "reason": "Why.",
    "detail": "Why, in a sentence with the values that decided.",
    "requested_by": "Who asked for it.",
    "request_id": "Idempotency key of the request.",
    "deadline": "No fetch began after this time.",
    "key": "Key of the message.",
    "headers": "Headers of the message, in their order.",
    "traceparent": "W3C trace context of the message.",
    "etag": "ETag that the server gave.",
    "last_modified": "Last-Modified that the server gave.",
    "encoding": "Character encoding that was decoded.",
    "format": "File format that was decoded.",
    "source_sample_rate_hz": "Samples a second of the recording before resampling.",
    "source_channels": "Channels of the recording before mixing.",
    "frames": "Frames of the spectrogram.",
    "mel_bins": "Mel bins of the spectrogram.",
    "version": "Number of the dataset version.",
    "manifest": "Path of the version's manifest in the store.",
    "rows": "Rows of the dataset version.",
    "labels": "Labels that name the dataset.",
    "matched": "Labels that name a sample that is known; the others wait for theirs.",
    "batch": "Batch that the sample came with.",
    "kind": "What the row is of.",
    "run": "Name of the training run.",
    "step": "Training step.",
    "rank": "Rank of the process that reported.",
    "time_ms": "Time of the report, Unix milliseconds.",
    "name": "Name of the metric or resource.",
    "model": "Name of the model.",
    "round": "Round of federated averaging.",
    "workers": "Workers whose parameters are in the average.",
    "samples": "Training samples behind the average.",
    "codec": "Compression of the parameters.",
    "checksum": "Checksum of the uncompressed parameters.",
    "parameters": "The average as safetensors.",
}


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Return the schema of a table for the UI, with a description for each known column."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=_type_name(field.type),
                description=_DESCRIPTIONS.get(field.name),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def column_schema_of(version: DatasetVersion) -> dg.TableSchema:
    """Return the schema of a dataset version: the columns of all its modalities."""
    columns = {column.name: column for columns in version.columns.values() for column in columns}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type,
                description=_DESCRIPTIONS.get(column.name),
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in columns.values()
        ]
    )


def _type_name(kind: pa.DataType) -> str:
    """Return the type as a reader of the UI expects it: Arrow's own names of nested types are long."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return f"{kind.value_type} tensor {' x '.join(str(side) for side in kind.shape)}"
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.value_type}[{kind.list_size}]"
    if pa.types.is_list(kind):
        return f"{kind.value_type}[]"
    return str(kind)


def column_lineage(
    schema: pa.Schema, upstream: Mapping[str, pa.Schema], computed: Mapping[str, Iterable[tuple[str, str]]]
) -> dg.TableColumnLineage:
    """Return where each column comes from.

    Parameters
    ----------
    upstream:
        Schemas of the upstream assets by name: a column of the same name is carried over from the first that has it.
    computed:
        Pairs of upstream asset and column for the columns that are computed.
    """
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for name in schema.names:
        sources = (
            computed.get(name) or [(asset, name) for asset, columns in upstream.items() if name in columns.names][:1]
        )
        deps[name] = [dg.TableColumnDep(asset_key=asset, column_name=column) for asset, column in sources]
    return dg.TableColumnLineage(deps_by_column=deps)
