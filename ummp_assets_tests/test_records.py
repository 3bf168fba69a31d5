"""Errors, reasons and records: what other parts take for granted about them."""

import inspect
import multiprocessing
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import FrozenInstanceError, fields

import pyarrow as pa
import pytest

from ummp_assets import errors, reasons, records
from ummp_assets.errors import (
    BrokerUnavailable,
    InvalidInput,
    ObjectNotFound,
    Permanent,
    StoreUnavailable,
    Transient,
    UmmpError,
)
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.records import OUTCOME_SCHEMA, Coordinates, Modality, Rejection, image_schema

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, UmmpError)]
SCHEMAS = {name: value for name, value in vars(records).items() if isinstance(value, pa.Schema)}


def test_every_error_is_public_and_transient_or_permanent() -> None:
    assert sorted(kind.__name__ for kind in ERRORS) == sorted(errors.__all__)
    for kind in ERRORS:
        if kind not in (UmmpError, Transient, Permanent):
            assert issubclass(kind, Transient) != issubclass(kind, Permanent), kind


def test_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, str] = {}
    branch = ""
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r" {4}([│ ]   )?[├└]── (\w+)", line):
            if match[1] is None:
                branch = match[2]
            else:
                drawn[match[2]] = branch
    defined = {kind.__name__: kind.__mro__[1].__name__ for kind in ERRORS if kind.__mro__[1] in (Transient, Permanent)}

    assert drawn == defined


def test_messages_say_what_was_tried_and_what_to_do() -> None:
    broker = str(BrokerUnavailable("kafka:9092", "timed out"))
    assert "kafka:9092" in broker
    assert "timed out" in broker
    assert "UMMP_KAFKA_BOOTSTRAP_SERVERS" in broker
    store = str(StoreUnavailable("s3://bucket/a", PermissionError("denied")))
    assert (
        store == "the store cannot be used at s3://bucket/a: denied. Check UMMP_STORE, its permissions and free space."
    )


@pytest.mark.parametrize(
    "error",
    [
        BrokerUnavailable("kafka:9092", TimeoutError("late")),
        StoreUnavailable("s3://bucket/a", OSError(28, "No space left on device")),
        ObjectNotFound("a/b"),
        InvalidInput("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_travels_between_processes_unchanged(error: UmmpError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def _fail() -> None:
    raise StoreUnavailable("s3://bucket/a", "no space")


def test_error_of_a_worker_process_reaches_its_caller() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(StoreUnavailable, match="no space") as caught,
    ):
        pool.submit(_fail).result()
    assert caught.value.path == "s3://bucket/a"


def test_every_reason_has_a_code_an_outcome_and_a_sentence() -> None:
    for reason in Reason:
        assert reason.value == reason.name.lower(), reason
        assert Reason._value2member_map_[reason.value] is reason
        assert reason.outcome in Outcome
        assert reason.outcome is not Outcome.STORED, reason
        assert reason.meaning[0].isupper(), reason
        assert reason.meaning.endswith("."), reason
    assert {reason.outcome for reason in Reason} == set(Outcome) - {Outcome.STORED}


def test_codes_fit_the_columns_that_hold_them() -> None:
    assert max(len(reason.value) for reason in Reason) <= 64
    assert [outcome.value for outcome in Outcome] == ["stored", "duplicate", "filtered", "dead"]
    assert [modality.value for modality in Modality] == ["text", "image", "audio"]


def test_public_names_are_those_of_the_modules() -> None:
    for module in (errors, reasons, records):
        own = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", module.__name__) == module.__name__
        }
        public = {name for name in own if not inspect.ismodule(getattr(module, name))}
        assert public == set(module.__all__), module


def test_coordinates_are_the_sample_id() -> None:
    coordinates = Coordinates("ummp.requests.normal", 3, 17)

    assert coordinates.sample_id == "ummp.requests.normal~3~17"
    assert Coordinates.parse(coordinates.sample_id) == coordinates
    assert Coordinates.parse("ummp.requests.normal~3~17~page/2~a.txt") == coordinates
    assert min(Coordinates("t", 0, 10), Coordinates("t", 0, 9)).offset == 9


@pytest.mark.parametrize("text", ["", "topic", "topic~1", "~1~2", "topic~x~1", "topic~1~-2", "t~1~", "t~٣~1", "t~01~2"])
def test_text_that_is_no_sample_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no sample id"):
        Coordinates.parse(text)


def test_rejection_has_the_outcome_of_its_reason_and_the_columns_of_its_table() -> None:
    rejection = Rejection("t~0~1", "news", "text", "http://x", Reason.EXACT_DUPLICATE, "as t~0~0", twin="t~0~0")

    assert rejection.outcome is Outcome.DUPLICATE
    assert {field.name for field in fields(rejection)} | {"outcome"} == set(OUTCOME_SCHEMA.names)
    with pytest.raises(FrozenInstanceError):
        rejection.detail = "other"  # type: ignore[misc]


def test_tables_of_samples_start_with_the_samples_identity() -> None:
    tables = {**SCHEMAS, "image_schema": image_schema(8)}
    without = {"LABEL_SCHEMA", "TAKEDOWN_SCHEMA"}

    for name, schema in tables.items():
        assert len(set(schema.names)) == len(schema.names), name
        if name not in without:
            assert schema.names[:2] == ["sample_id", "dataset"], name
            assert not schema.field("sample_id").nullable, name


def test_image_column_is_a_tensor_of_the_side() -> None:
    tensor = image_schema(32).field("image").type

    assert tensor.shape == [32, 32, 3]
    assert tensor.value_type == pa.uint8()
