"""The messages that UMMP reads, as models whose JSON Schemas are published in `published/` by `messages.json_schemas`.

Unknown fields are kept (the original bytes are stored beside the parsed fields) and an unknown major version is a dead
letter.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic.config import JsonDict

__all__ = [
    "DATASET_PATTERN",
    "LabelMessage",
    "LogMessage",
    "ParametersHeader",
    "RequestMessage",
    "RequestModality",
    "TakedownMessage",
]

DATASET_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"

Dataset = Annotated[str, StringConstraints(pattern=DATASET_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Positive = Annotated[int, Field(ge=1, le=2**53 - 1)]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=8_192)]


class RequestModality(StrEnum):
    """What a request says of its object; `auto` leaves it to the bytes."""

    AUTO = "auto"
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    ARCHIVE = "archive"
    TABLE = "table"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


def _exactly_one(*names: str) -> JsonDict:
    """Say in JSON Schema what `_require_one` checks."""
    return {"oneOf": [{"properties": {name: {"type": "string"}}, "required": [name]} for name in names]}


class RequestMessage(_Message):
    """`ummp.request/1`: collect one URI into one dataset."""

    # JSON has no word for what 1e999 becomes, so that it could not be stored as JSON.
    model_config = ConfigDict(allow_inf_nan=False)

    schema_: Literal["ummp.request/1"] = Field("ummp.request/1", alias="schema")
    dataset: Dataset
    uri: Uri
    modality: RequestModality = RequestModality.AUTO
    id: Text | None = Field(None, description="Idempotency key.")
    sha256: Sha256 | None = Field(None, description="What the bytes must hash to.")
    label: JsonValue = None
    attributes: dict[str, JsonValue] | None = None
    deadline: AwareDatetime | None = Field(None, description="No fetch begins after this time.")


class LabelMessage(_Message):
    """`ummp.label/1`: label one sample, content or URI of a dataset."""

    model_config = ConfigDict(allow_inf_nan=False, json_schema_extra=_exactly_one("sample_id", "sha256", "uri"))

    schema_: Literal["ummp.label/1"] = Field("ummp.label/1", alias="schema")
    dataset: Dataset
    sample_id: Text | None = None
    sha256: Sha256 | None = None
    uri: Uri | None = None
    label: JsonValue
    annotator: Text | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        _require_one(self, "sample_id", "sha256", "uri")
        return self


class TakedownMessage(_Message):
    """`ummp.takedown/1`: take a content, URI, domain or sample out of every dataset."""

    model_config = ConfigDict(json_schema_extra=_exactly_one("uri", "sha256", "domain", "sample_id"))

    schema_: Literal["ummp.takedown/1"] = Field("ummp.takedown/1", alias="schema")
    uri: Uri | None = None
    sha256: Sha256 | None = None
    domain: Annotated[str, StringConstraints(min_length=1, max_length=253, to_lower=True)] | None = None
    sample_id: Text | None = None
    reason: Text
    requested_by: Text | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        _require_one(self, "uri", "sha256", "domain", "sample_id")
        return self


class LogMessage(_Message):
    """`ummp.log/1`: what a training process measured at a step."""

    schema_: Literal["ummp.log/1"] = Field("ummp.log/1", alias="schema")
    run: Text
    step: Count
    time: datetime | None = None
    rank: Count = 0
    metrics: dict[str, float] = {}
    resources: dict[str, float] = {}
    dataset: Dataset | None = None
    version: Positive | None = None
    shard: Text | None = None
    level: Text | None = None
    message: str | None = None


class ParametersHeader(_Message):
    """`ummp.parameters/1`: the header of one chunk of a model's parameters; the chunk's bytes follow it."""

    schema_: Literal["ummp.parameters/1"] = Field("ummp.parameters/1", alias="schema")
    model: Text
    round: Count
    worker: Text
    role: Literal["local", "global"]
    samples: Count
    codec: Text
    chunk: Count
    chunks: Positive
    checksum: Text
    workers: Positive | None = Field(None, description="Workers that send parameters in this round, where known.")


def _require_one(message: BaseModel, *names: str) -> None:
    given = [name for name in names if getattr(message, name) is not None]
    if len(given) != 1:
        raise ValueError(f"exactly one of {', '.join(names)} is required, got {', '.join(given) or 'none'}")
