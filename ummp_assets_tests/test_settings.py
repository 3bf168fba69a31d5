"""Every setting: described, bounded, read from its variable, and named when its value is unusable."""

import os
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ummp_assets.errors import InvalidSettings
from ummp_assets.settings import Settings, load_settings


def _fields(model: type[BaseModel], prefix: str = "UMMP_") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the variable and the field of every setting, nested ones included."""
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{variable}__")
        else:
            yield variable, field


FIELDS = dict(_fields(Settings))


def _limits(field: FieldInfo) -> list[tuple[str, float]]:
    return [
        (kind, getattr(item, kind))
        for item in field.metadata
        for kind in ("ge", "gt", "le", "lt")
        if isinstance(item, annotated_types.BaseMetadata) and hasattr(item, kind)
    ]


def _is_number(field: FieldInfo) -> bool:
    annotation: Any = field.annotation
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return any(option in (int, float) for option in options)


def _value(settings: Settings, variable: str) -> Any:
    value: Any = settings
    for name in variable.removeprefix("UMMP_").lower().split("__"):
        value = getattr(value, name)
    return value


NUMBERS = [variable for variable, field in FIELDS.items() if _is_number(field)]
OUTSIDE = [
    (variable, bound + {"ge": -1, "gt": 0, "le": 1, "lt": 0}[kind])
    for variable in NUMBERS
    for kind, bound in _limits(FIELDS[variable])
]


@pytest.fixture(autouse=True)
def _only_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("UMMP_")]:
        monkeypatch.delenv(variable)


def test_every_setting_has_a_description_that_is_a_sentence() -> None:
    for variable, field in FIELDS.items():
        assert field.description, variable
        assert field.description.endswith((".", ")")), variable


def test_every_number_has_a_bound() -> None:
    assert len(NUMBERS) > 20
    assert [variable for variable in NUMBERS if not _limits(FIELDS[variable])] == []


def test_defaults_are_within_their_bounds() -> None:
    settings = load_settings()

    assert Settings.model_validate(settings.model_dump(warnings=False)) == settings


@pytest.mark.parametrize(("variable", "value"), OUTSIDE)
def test_number_out_of_bounds_names_its_variable(variable: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, str(value))

    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert f"{variable}: Input should be" in str(caught.value)


@pytest.mark.parametrize("variable", NUMBERS)
def test_number_is_read_from_its_variable_and_no_word_is(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Above or below the default, whichever the bounds allow.
    default = FIELDS[variable].default or 1
    upper = [bound for kind, bound in _limits(FIELDS[variable]) if kind in ("le", "lt")]
    chosen = default / 2 if upper and default * 2 >= upper[0] else default * 2
    wanted = int(chosen) if FIELDS[variable].annotation is int else chosen
    monkeypatch.setenv(variable, str(wanted))
    assert _value(load_settings(), variable) == wanted

    monkeypatch.setenv(variable, "many")
    with pytest.raises(InvalidSettings, match=f"{variable}: Input should be a valid"):
        load_settings()


def test_several_bad_values_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_INTAKE__MAX_BATCH_MESSAGES", "0")
    monkeypatch.setenv("UMMP_FETCH__MAX_ATTEMPTS", "x")

    with pytest.raises(InvalidSettings, match=r"UMMP_INTAKE__MAX_BATCH_MESSAGES.*UMMP_FETCH__MAX_ATTEMPTS.*doctor"):
        load_settings()


def test_misspelt_nested_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_FETCH__MAX_ATEMPTS", "3")

    with pytest.raises(InvalidSettings, match="UMMP_FETCH__MAX_ATEMPTS: Extra inputs are not permitted"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("UMMP_KAFKA_CLIENT", "{security_protocol: SSL}"), ("UMMP_FETCH__ALLOWED_ROOTS", "/data"), ("UMMP_CLEAN", "[")],
)
def test_value_that_is_no_json_names_its_variable(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidSettings, match=f"^{variable} is no JSON: Expecting"):
        load_settings()


def test_json_values_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_KAFKA_CLIENT", '{"security_protocol": "SSL"}')
    monkeypatch.setenv("UMMP_FETCH__ALLOWED_ROOTS", '["/data", "s3://bucket"]')

    settings = load_settings()

    assert settings.kafka_client == {"security_protocol": "SSL"}
    assert settings.fetch.allowed_roots == ("/data", "s3://bucket")


def test_null_switches_off_what_may_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_CLEAN__IMAGE__NEAR_DUPLICATE_BITS", "null")
    monkeypatch.setenv("UMMP_CLEAN__TEXT__NEAR_DUPLICATE_SIMILARITY", "null")

    clean = load_settings().clean

    assert (clean.image.near_duplicate_bits, clean.text.near_duplicate_similarity) == (None, None)


@pytest.mark.parametrize("variable", ["UMMP_HOME", "UMMP_STORE", "UMMP_INDEX", "UMMP_KAFKA_BOOTSTRAP_SERVERS"])
def test_empty_variable_is_as_good_as_none(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "")

    assert load_settings() == Settings()
    assert load_settings().home_path == Path("~/.ummp").expanduser()


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_TOPIC_PREFIX", "environment")

    assert load_settings().topic_prefix == "environment"
    assert load_settings(topic_prefix="argument").topic_prefix == "argument"


def test_splits_that_leave_nothing_to_train_on_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_DATASETS__VALIDATION_FRACTION", "0.5")
    monkeypatch.setenv("UMMP_DATASETS__TEST_FRACTION", "0.5")

    with pytest.raises(InvalidSettings, match=r"UMMP_DATASETS: .*leave nothing for the split train"):
        load_settings()


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = load_settings()

    with pytest.raises(ValueError, match="frozen"):
        settings.topic_prefix = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        settings.fetch.max_attempts = 1


def test_store_and_index_are_in_the_home_unless_named(tmp_path: Path) -> None:
    here = load_settings(home=tmp_path)
    assert here.store_url == f"{tmp_path}/store"
    assert here.index_url == f"sqlite:///{tmp_path}/index.db"

    named = load_settings(home=tmp_path, store="s3://bucket/prefix", index="postgresql://host/ummp")
    assert named.store_url == "s3://bucket/prefix"
    assert named.index_url == "postgresql://host/ummp"


def test_broker_is_the_named_one_or_the_embedded_or_an_error_that_helps(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    with pytest.raises(InvalidSettings, match="UMMP_KAFKA_BOOTSTRAP_SERVERS=host:port, or start the embedded"):
        _ = settings.bootstrap_servers

    settings.broker_address_path.parent.mkdir(parents=True)
    settings.broker_address_path.write_text("127.0.0.1:4711\n", encoding="utf-8")
    assert settings.bootstrap_servers == "127.0.0.1:4711"

    assert load_settings(home=tmp_path, kafka_bootstrap_servers="kafka:9092").bootstrap_servers == "kafka:9092"
