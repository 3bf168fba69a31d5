"""The few record types that travel between stages.

Arrow schemas describe what stands in a stage's Parquet files; frozen dataclasses what travels in memory. A sample's
id is its provenance: `<topic>~<partition>~<offset>`, and `~<member>` for a member of an archive or a row of a table.
"""

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from ummp_assets.errors import InvalidInput
from ummp_assets.reasons import Outcome, Reason

__all__ = [
    "AUDIO_FEATURE_SCHEMA",
    "AUDIO_SCHEMA",
    "HEADERS",
    "IMAGE_FEATURE_SCHEMA",
    "LABEL_SCHEMA",
    "OUTCOME_SCHEMA",
    "RAW_SCHEMA",
    "REQUEST_SCHEMA",
    "TAKEDOWN_SCHEMA",
    "TEXT_FEATURE_SCHEMA",
    "TEXT_SCHEMA",
    "Coordinates",
    "Modality",
    "Rejection",
    "image_schema",
]


class Modality(StrEnum):
    """What kind of content a sample is."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True, order=True)
class Coordinates:
    """Where a message stands in Kafka.

    >>> Coordinates("ummp.requests.normal", 0, 17).sample_id
    'ummp.requests.normal~0~17'
    >>> Coordinates.parse("ummp.requests.normal~0~17~page/2.txt").offset
    17
    """

    topic: str
    partition: int
    offset: int

    @property
    def sample_id(self) -> str:
        return f"{self.topic}~{self.partition}~{self.offset}"

    @classmethod
    def parse(cls, sample_id: str) -> "Coordinates":
        """Return the coordinates inside a sample id; raises `InvalidInput` when it is none."""
        parts = sample_id.split("~", 3)
        if len(parts) >= 3 and parts[0] and parts[1].isdecimal() and parts[2].isdecimal():
            coordinates = cls(parts[0], int(parts[1]), int(parts[2]))
            # One message, one id: not "007", nor the digits of other scripts.
            if coordinates.sample_id == "~".join(parts[:3]):
                return coordinates
        raise InvalidInput(f"{sample_id!r} is no sample id: expected <topic>~<partition>~<offset>[~<member>]")


@dataclass(frozen=True, slots=True)
class Rejection:
    """A sample that ends here, and why.

    Parameters
    ----------
    detail:
        One sentence for a person with the values that decided.
    measured:
        The number that a rule compared with its threshold, so that other thresholds can be tried later.
    twin:
        For duplicates, the sample id of the owner.
    """

    sample_id: str
    dataset: str
    modality: str
    uri: str
    reason: Reason
    detail: str
    measured: float | None = None
    twin: str | None = None

    @property
    def outcome(self) -> Outcome:
        return self.reason.outcome


_IDENTITY = [
    pa.field("sample_id", pa.string(), nullable=False),
    pa.field("dataset", pa.string(), nullable=False),
]

OUTCOME_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        pa.field("modality", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("measured", pa.float64()),
        pa.field("twin", pa.string()),
    ]
)
"""Samples that ended in a stage, with their reason; the table `outcomes` of every stage."""

HEADERS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))
"""A message's headers, in their order; a name may come twice."""

REQUEST_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("request_id", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("label", pa.string()),
        pa.field("attributes", pa.string()),
        pa.field("deadline", pa.string()),
        pa.field("traceparent", pa.string()),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary(), nullable=False),
        pa.field("headers", HEADERS),
    ]
)
"""Table `samples` of the stage `requests`: one row a readable message. `modality` may be auto, archive or table;
`label` and `attributes` are JSON; `value` holds the original bytes, unknown fields included."""

RAW_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        pa.field("uri", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("media_type", pa.string()),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("byte_count", pa.int64(), nullable=False),
        pa.field("content", pa.large_binary()),
        pa.field("blob", pa.string()),
        pa.field("label", pa.string()),
        pa.field("attributes", pa.string()),
        pa.field("fetched_at", pa.string(), nullable=False),
        pa.field("final_uri", pa.string(), nullable=False),
        pa.field("etag", pa.string()),
        pa.field("last_modified", pa.string()),
        pa.field("attempts", pa.string(), nullable=False),
        pa.field("evidence", pa.string()),
    ]
)
"""Table `samples` of the stage `downloads`: one row a sample with its raw bytes, either in `content` (up to
`inline_bytes`) or in the store at `blob`. `modality` is text, image or audio here; `attempts` and `evidence` are
JSON."""

_CLEAN = [
    *_IDENTITY,
    pa.field("uri", pa.string(), nullable=False),
    pa.field("sha256", pa.string(), nullable=False),
    pa.field("content_sha256", pa.string(), nullable=False),
    pa.field("label", pa.string()),
    pa.field("attributes", pa.string()),
]

TEXT_SCHEMA = pa.schema(
    [
        *_CLEAN,
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("language_score", pa.float32(), nullable=False),
        pa.field("encoding", pa.string(), nullable=False),
        pa.field("characters", pa.int32(), nullable=False),
    ]
)
"""Table `samples` of `clean_text`. `sha256` is of the raw bytes, `content_sha256` of the normalised text in UTF-8."""


def image_schema(side_pixels: int) -> pa.Schema:
    """Table `samples` of `clean_images`: `image` is a fixed-shape tensor, uint8, height x width x RGB.

    `content_sha256` is of `width`, `height` (of the oriented image at full size, in pixels) and the stored pixels: what
    trains the same is the same. Hashing every pixel instead would take a fifth of the stage's time, and would forbid
    decoding large JPEGs at a fraction of their size.
    """
    return pa.schema(
        [
            *_CLEAN,
            pa.field("image", pa.fixed_shape_tensor(pa.uint8(), (side_pixels, side_pixels, 3)), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("format", pa.string(), nullable=False),
        ]
    )


AUDIO_SCHEMA = pa.schema(
    [
        *_CLEAN,
        pa.field("waveform", pa.list_(pa.float32()), nullable=False),
        pa.field("sample_rate_hz", pa.int32(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("source_sample_rate_hz", pa.int32(), nullable=False),
        pa.field("source_channels", pa.int32(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
    ]
)
"""Table `samples` of `clean_audio`: `waveform` is mono, shape (n,), -1 to 1, at `sample_rate_hz`."""

TEXT_FEATURE_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
    ]
)
"""Table `samples` of `text_features`: `token_ids` of shape (tokens,)."""

IMAGE_FEATURE_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        pa.field("channel_mean", pa.list_(pa.float32(), 3), nullable=False),
        pa.field("channel_std", pa.list_(pa.float32(), 3), nullable=False),
        pa.field("perceptual_hash", pa.uint64(), nullable=False),
    ]
)
"""Table `samples` of `image_features`: mean and standard deviation of R, G, B, scaled to 0-1; a 64-bit perceptual
hash."""

AUDIO_FEATURE_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        pa.field("log_mel", pa.list_(pa.float32()), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("mel_bins", pa.int32(), nullable=False),
    ]
)
"""Table `samples` of `audio_features`: `log_mel` of shape (mel_bins, frames), flattened row by row."""

LABEL_SCHEMA = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("target_kind", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("annotator", pa.string()),
        pa.field("confidence", pa.float64()),
    ]
)
"""Table `labels` of the stage `labels`: `target_kind` is sample_id, sha256 or uri; `label` is JSON."""

TAKEDOWN_SCHEMA = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("requested_by", pa.string()),
    ]
)
"""Table `takedowns` of the stage `takedowns`: `kind` is uri, sha256, domain or sample_id."""
