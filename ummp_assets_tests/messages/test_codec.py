"""Bytes of a message -> a request, or one of the reasons of "bad input"; and whether the published schemas agree."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ummp_assets.messages.codec import Undecodable, decode
from ummp_assets.messages.json_schemas import PUBLISHED_MODELS, json_schema
from ummp_assets.messages.schemas import LabelMessage, LogMessage, RequestMessage, TakedownMessage
from ummp_assets.reasons import Outcome, Reason

LIMIT = 1_000_000


def _json(**fields: Any) -> bytes:
    document = {"schema": "ummp.request/1", "dataset": "news", "uri": "http://x/", **fields}
    return json.dumps({name: value for name, value in document.items() if value is not ...}).encode()


@dataclass(frozen=True)
class Bad:
    """A message that cannot be read: the reason, and what its sentence must name."""

    name: str
    value: bytes | None
    reason: Reason
    says: str


BAD = [
    Bad("null value", None, Reason.NULL_VALUE, "tombstone"),
    Bad("no bytes", b"", Reason.NOT_JSON, "EOF"),
    Bad("no JSON", b"no json", Reason.NOT_JSON, "it begins b'no json'"),
    Bad("JSON cut off", b'{"schema": "ummp.req', Reason.NOT_JSON, "EOF"),
    Bad("more than one document", b'{"a": 1} {"b": 2}', Reason.NOT_JSON, "trailing characters"),
    Bad("a list", b"[1, 2]", Reason.NOT_JSON, "expected a JSON object, found list"),
    Bad("a number", b"17", Reason.NOT_JSON, "found int"),
    Bad("null in JSON", b"null", Reason.NOT_JSON, "found NoneType"),
    Bad("invalid UTF-8", b'{"schema": "\xff\xfe"}', Reason.NOT_JSON, "invalid unicode"),
    Bad("UTF-16", '{"schema": "ummp.request/1"}'.encode("utf-16"), Reason.NOT_JSON, "line 1 column 1"),
    Bad("half of a surrogate pair", b'{"schema": "\\ud800"}', Reason.NOT_JSON, "line 1"),
    Bad("NaN", b'{"schema": "ummp.request/1", "label": NaN}', Reason.NOT_JSON, "expected value"),
    Bad("infinity", b'{"schema": "ummp.request/1", "label": -Infinity}', Reason.NOT_JSON, "invalid number"),
    Bad("deep nesting", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, Reason.NOT_JSON, "recursion limit"),
    Bad("a number of 5,000 digits", b'{"label": ' + b"1" * 5_000 + b"}", Reason.NOT_JSON, "number out of range"),
    Bad("one byte too long", _json(note="x").ljust(LIMIT + 1), Reason.MESSAGE_TOO_LARGE, "1,000,001 bytes"),
    Bad("10 MB", _json(note="x" * 10_000_000), Reason.MESSAGE_TOO_LARGE, "intake.max_message_bytes) is 1,000,000"),
    Bad("no schema", _json(schema=...), Reason.UNKNOWN_SCHEMA, "found None"),
    Bad("schema is no text", _json(schema=1), Reason.UNKNOWN_SCHEMA, "found 1"),
    Bad("unknown schema", _json(schema="acme.order/1"), Reason.UNKNOWN_SCHEMA, "'acme.order/1'"),
    Bad("another of our schemas", _json(schema="ummp.label/1"), Reason.UNKNOWN_SCHEMA, "expected schema 'ummp.req"),
    Bad("unknown major version", _json(schema="ummp.request/2"), Reason.UNKNOWN_SCHEMA, "'ummp.request/2'"),
    Bad("major version 10", _json(schema="ummp.request/10"), Reason.UNKNOWN_SCHEMA, "'ummp.request/10'"),
    Bad("schema without a version", _json(schema="ummp.request"), Reason.UNKNOWN_SCHEMA, "'ummp.request'"),
    Bad("no dataset", _json(dataset=...), Reason.INVALID_DATASET, "dataset: Field required"),
    Bad("null dataset", _json(dataset=None), Reason.INVALID_DATASET, "dataset: Input should be a valid string"),
    Bad("dataset with capitals", _json(dataset="News"), Reason.INVALID_DATASET, "dataset: String should match"),
    Bad("dataset with a path", _json(dataset="../etc"), Reason.INVALID_DATASET, "dataset: String should match"),
    Bad("dataset with a line break", _json(dataset="news\n"), Reason.INVALID_DATASET, "dataset: String should"),
    Bad("dataset that starts with a dash", _json(dataset="-news"), Reason.INVALID_DATASET, "dataset: String should"),
    Bad("dataset of 65 characters", _json(dataset="n" * 65), Reason.INVALID_DATASET, "dataset: String should"),
    Bad("empty dataset", _json(dataset=""), Reason.INVALID_DATASET, "dataset: String should match"),
    Bad("no URI", _json(uri=...), Reason.MISSING_URI, "uri: Field required"),
    Bad("null URI", _json(uri=None), Reason.MISSING_URI, "uri: Input should be a valid string"),
    Bad("empty URI", _json(uri=""), Reason.MISSING_URI, "uri: String should have at least 1"),
    Bad("unknown modality", _json(modality="smell"), Reason.INVALID_FIELD, "modality: Input should be 'auto'"),
    Bad("short hash", _json(sha256="abc"), Reason.INVALID_FIELD, "sha256: String should match"),
    Bad("id is a number", _json(id=5), Reason.INVALID_FIELD, "id: Input should be a valid string"),
    Bad("attributes are a list", _json(attributes=[1]), Reason.INVALID_FIELD, "attributes: Input should be a valid"),
    Bad("deadline without a zone", _json(deadline="2026-01-01T00:00:00"), Reason.INVALID_FIELD, "timezone"),
    Bad("deadline is no time", _json(deadline="soon"), Reason.INVALID_FIELD, "deadline"),
    Bad(
        "label beyond all numbers",
        _json(label=5).replace(b"5", b"1e999"),
        Reason.INVALID_FIELD,
        "should be a finite number",
    ),
    Bad("dataset and URI wrong", _json(dataset="", uri=""), Reason.INVALID_DATASET, "uri: "),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad_message_has_a_reason_and_a_sentence(case: Bad) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(RequestMessage, case.value, LIMIT)

    assert caught.value.reason is case.reason
    assert case.says in caught.value.detail
    assert len(caught.value.detail) <= 300
    assert caught.value.reason.outcome is Outcome.DEAD


GOOD = {
    "only what is required": _json(),
    "dataset of 64 characters": _json(dataset="n" * 64),
    "dataset of one digit": _json(dataset="7"),
    "a minor version": _json(schema="ummp.request/1.7"),
    "unknown fields": _json(priority=3, nested={"a": [1, None]}),
    "empty optional fields": _json(id=None, sha256=None, label=None, attributes=None, deadline=None),
    "every modality": _json(modality="archive"),
    "a label of any shape": _json(label={"boxes": [[0.5, 1]], "ok": True}),
    "text in other scripts": _json(uri="http://例え.jp/図", attributes={"τίτλος": "мир"}),
    "exactly as long as allowed": _json().ljust(LIMIT),
}


@pytest.mark.parametrize("value", GOOD.values(), ids=GOOD.keys())
def test_good_message_is_read(value: bytes) -> None:
    document = json.loads(value)

    request = decode(RequestMessage, value, LIMIT)

    assert request.schema_ == "ummp.request/1"
    assert (request.dataset, request.uri) == (document["dataset"], document["uri"])
    assert request.model_extra == {
        name: document[name] for name in document.keys() - RequestMessage.model_fields.keys() - {"schema"}
    }


def test_all_fields_are_read_by_value() -> None:
    request = decode(
        RequestMessage,
        _json(
            modality="image",
            id="order-17",
            sha256="AB" * 32,
            label=["cat", 0.5],
            attributes={"page": 2},
            deadline="2026-01-01T01:30:00+01:00",
        ),
        LIMIT,
    )

    assert request.model_dump(mode="json", by_alias=True) == {
        "schema": "ummp.request/1",
        "dataset": "news",
        "uri": "http://x/",
        "modality": "image",
        "id": "order-17",
        "sha256": "ab" * 32,
        "label": ["cat", 0.5],
        "attributes": {"page": 2},
        "deadline": "2026-01-01T01:30:00+01:00",
    }


def test_last_of_duplicate_keys_holds() -> None:
    value = (
        b'{"schema": "ummp.request/1", "dataset": "a", "uri": "http://first/", "uri": "http://last/", "dataset": "b"}'
    )

    request = decode(RequestMessage, value, LIMIT)

    assert (request.dataset, request.uri) == ("b", "http://last/")


OTHERS: list[tuple[str, type[Any], dict[str, Any], str | None]] = [
    ("label by URI", LabelMessage, {"dataset": "a", "uri": "u", "label": None}, None),
    ("label by sample", LabelMessage, {"dataset": "a", "sample_id": "t~0~1", "label": 3, "uri": None}, None),
    ("label without a target", LabelMessage, {"dataset": "a", "label": 3}, "exactly one of sample_id, sha256, uri"),
    ("label with two", LabelMessage, {"dataset": "a", "uri": "u", "sample_id": "s", "label": 3}, "got sample_id, uri"),
    ("label that is missing", LabelMessage, {"dataset": "a", "uri": "u"}, "label: Field required"),
    ("confidence above 1", LabelMessage, {"dataset": "a", "uri": "u", "label": 1, "confidence": 1.1}, "confidence: "),
    ("takedown of a domain", TakedownMessage, {"domain": "x.org", "reason": "law"}, None),
    ("takedown without a reason", TakedownMessage, {"domain": "x.org"}, "reason: Field required"),
    ("takedown of nothing", TakedownMessage, {"reason": "law"}, "got none"),
    ("log of a step", LogMessage, {"run": "r", "step": 0, "metrics": {"loss": 1.5}}, None),
    ("log of a negative step", LogMessage, {"run": "r", "step": -1}, "step: "),
    ("log whose metric is a word", LogMessage, {"run": "r", "step": 1, "metrics": {"loss": "low"}}, "metrics.loss: "),
]


@pytest.mark.parametrize(
    ("model", "fields", "problem"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS]
)
def test_other_messages_are_judged_by_their_models(
    model: type[Any], fields: dict[str, Any], problem: str | None
) -> None:
    schema = model.model_fields["schema_"].default
    value = json.dumps({"schema": schema, **fields}).encode()

    if problem is None:
        read = decode(model, value, LIMIT)
        assert {name: getattr(read, name) for name in fields} == fields
    else:
        with pytest.raises(Undecodable) as caught:
            decode(model, value, LIMIT)
        assert caught.value.reason is Reason.INVALID_FIELD
        assert problem in caught.value.detail


def _cases_for_schemas() -> list[Any]:
    requests = [(name, RequestMessage, json.loads(value), True) for name, value in GOOD.items()]
    for case in BAD:
        # A deadline's form is a format, which JSON Schema leaves to the reader; JSON knows no number beyond all; and
        # "$" in Python's patterns, unlike JSON Schema's, also stands before a line break at the end.
        if case.reason not in (Reason.NOT_JSON, Reason.NULL_VALUE, Reason.MESSAGE_TOO_LARGE) and not (
            any(word in case.name for word in ("deadline", "beyond", "line break"))
        ):
            assert case.value is not None
            requests.append((case.name, RequestMessage, json.loads(case.value), False))
    for name, model, fields, problem in OTHERS:
        document = {"schema": model.model_fields["schema_"].default, **fields}
        requests.append((name, model, document, problem is None))
    return [pytest.param(model, document, good, id=name) for name, model, document, good in requests]


@pytest.mark.parametrize(("model", "document", "good"), _cases_for_schemas())
def test_published_schema_agrees_with_the_reader(model: type[Any], document: dict[str, Any], good: bool) -> None:
    assert Draft202012Validator(json_schema(model)).is_valid(document) is good


def test_published_schemas_are_valid_schemas() -> None:
    for model in PUBLISHED_MODELS:
        Draft202012Validator.check_schema(json_schema(model))
