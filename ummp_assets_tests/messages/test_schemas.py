"""The published JSON Schemas stand beside the code and say what the models say."""

import json
import os
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import BaseModel

from ummp_assets.messages import schemas
from ummp_assets.messages.json_schemas import PUBLISHED_MODELS, json_schema, published_name, read_published, to_file

_UPDATE = "UMMP_WRITE_PUBLISHED_SCHEMAS"


@pytest.mark.parametrize("model", PUBLISHED_MODELS, ids=published_name)
def test_published_file_is_what_the_model_says(model: type[BaseModel]) -> None:
    if os.environ.get(_UPDATE) == "1":
        Path(str(files("ummp_assets.messages"))).joinpath("published", published_name(model)).write_bytes(
            to_file(model)
        )

    assert read_published(model) == to_file(model), f"run this test with {_UPDATE}=1 and look at what changed"


def test_every_message_model_is_published_and_no_other_file() -> None:
    models = {
        kind
        for kind in vars(schemas).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and "schema_" in kind.model_fields
    }
    folder = files("ummp_assets.messages").joinpath("published")

    assert models == set(PUBLISHED_MODELS)
    assert {file.name for file in folder.iterdir()} == {published_name(model) for model in PUBLISHED_MODELS}


def test_published_names_and_ids_follow_the_schema() -> None:
    assert [published_name(model) for model in PUBLISHED_MODELS] == [
        "ummp.request-1.json",
        "ummp.label-1.json",
        "ummp.takedown-1.json",
        "ummp.log-1.json",
        "ummp.parameters-1.json",
    ]
    assert [json.loads(read_published(model))["$id"] for model in PUBLISHED_MODELS][:2] == [
        "urn:ummp.request:1",
        "urn:ummp.label:1",
    ]


def test_request_schema_requires_what_the_design_requires() -> None:
    schema = json_schema(schemas.RequestMessage)

    assert schema["required"] == ["schema", "dataset", "uri"]
    assert schema["additionalProperties"] is True
    assert set(schema["properties"]) == {
        "schema",
        "dataset",
        "uri",
        "modality",
        "id",
        "sha256",
        "label",
        "attributes",
        "deadline",
    }
