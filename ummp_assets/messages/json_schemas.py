"""The JSON Schemas of the messages, published as files in `published/` for those who write messages in any language.

The models in `messages.schemas` decide; a test compares the files with them.
"""

import json
import re
from importlib.resources import files
from typing import Any

from pydantic import BaseModel

from ummp_assets.messages.schemas import LabelMessage, LogMessage, ParametersHeader, RequestMessage, TakedownMessage

__all__ = ["PUBLISHED_MODELS", "json_schema", "published_name", "read_published", "to_file"]

PUBLISHED_MODELS: tuple[type[BaseModel], ...] = (
    RequestMessage,
    LabelMessage,
    TakedownMessage,
    LogMessage,
    ParametersHeader,
)
"""Models of the messages that others may send."""


def published_name(model: type[BaseModel]) -> str:
    """Return the file name of a model's schema, e.g. `ummp.request-1.json`."""
    return f"{_schema_name(model).replace('/', '-')}.json"


def read_published(model: type[BaseModel]) -> bytes:
    """Return the published file of a model."""
    return files("ummp_assets.messages").joinpath("published", published_name(model)).read_bytes()


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a message.

    It says what the codec accepts: unknown fields, and every minor version of the schema's major one.
    """
    name = _schema_name(model)
    document = model.model_json_schema(by_alias=True)
    document["title"] = name
    document["properties"]["schema"] = {"type": "string", "pattern": rf"^{re.escape(name)}(\..*)?$"}
    document["required"] = ["schema", *document.get("required", [])]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{name.replace('/', ':')}",
        **document,
    }


def to_file(model: type[BaseModel]) -> bytes:
    """Return what the published file of a model must hold."""
    return json.dumps(json_schema(model), indent=2, ensure_ascii=False).encode() + b"\n"


def _schema_name(model: type[BaseModel]) -> str:
    return str(model.model_fields["schema_"].default)
