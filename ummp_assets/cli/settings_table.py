"""Every setting as a row: for the README, for `ummp doctor`, from the one place where settings are declared."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from ummp_assets.settings import Settings

__all__ = ["SettingRow", "describe_settings", "hide_secrets", "settings_table", "unknown_variables"]

_BOUNDS = {"ge": ">= {}", "gt": "> {}", "le": "<= {}", "lt": "< {}", "pattern": "matches {}"}
_SECRET_NAME = re.compile(
    r"password|passwd|secret|token(?!i)|credential|authorization|bearer|cookie|(^|_)key$", re.IGNORECASE
)
_SECRET_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):([^@\s]+)@")
_HIDDEN = "***"
_FOR_TESTS = ("UMMP_TEST_", "UMMP_PEER_TESTS")


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting; `value` and `default` as text, secrets hidden; `is_set` where the environment gives it."""

    variable: str
    value: str
    default: str
    bounds: str
    description: str
    is_set: bool


def describe_settings(settings: Settings | None = None) -> list[SettingRow]:
    """Return a row for each setting in order of declaration.

    Parameters
    ----------
    settings:
        Whose values are shown; by default the defaults, whatever the environment says.
    """
    shown = settings or Settings.model_construct()
    return list(_rows("UMMP", Settings, shown))


def unknown_variables(environment: Iterable[str]) -> dict[str, str | None]:
    """Return the `UMMP_*` variables that are no setting and so have no effect, each with the one it may stand for.

    A part of a nested setting (`UMMP_CLEAN__TEXT`, as JSON) and an entry of a mapping (`UMMP_FETCH__HOSTS__...`) are
    settings, too.
    """
    known = [row.variable for row in describe_settings()]
    unknown = {}
    for name in sorted(environment):
        upper = name.upper()
        if upper.startswith("UMMP_") and not upper.startswith(_FOR_TESTS) and not any(_covers(upper, k) for k in known):
            unknown[name] = next(iter(get_close_matches(upper, known, n=1, cutoff=0.8)), None)
    return unknown


def _covers(name: str, setting: str) -> bool:
    return setting == name or setting.startswith(f"{name}__") or name.startswith(f"{setting}__")


def settings_table() -> str:
    """Return the Markdown table of all settings that the README holds."""
    lines = ["| variable | default | bounds | what it does |", "|---|---|---|---|"]
    for row in describe_settings():
        # Outside code, Markdown would take <home> for a tag.
        cells = (f"`{row.variable}`", f"`{row.default}`", row.bounds, row.description.replace("<", "&lt;"))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def hide_secrets(value: Any, name: str = "") -> Any:
    """Return a value with passwords in URLs and whatever has a secret's name replaced by ***."""
    if isinstance(value, dict):
        return {key: hide_secrets(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide_secrets(item, name) for item in value]
    if value is not None and _SECRET_NAME.search(name):
        return _HIDDEN
    return _SECRET_IN_URL.sub(rf"\1:{_HIDDEN}@", value) if isinstance(value, str) else value


def _rows(prefix: str, model: type[BaseModel], values: BaseModel, separator: str = "_") -> Iterator[SettingRow]:
    for name, field in model.model_fields.items():
        variable = f"{prefix}{separator}{name.upper()}"
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            yield from _rows(variable, type(value), value, "__")
            continue
        yield SettingRow(
            variable=variable,
            value=_text(name, value),
            default=_text(name, field.get_default(call_default_factory=True)),
            bounds=_bounds(field),
            description=field.description or "",
            is_set=name in values.model_fields_set,
        )


def _bounds(field: FieldInfo) -> str:
    # Of a number that may be none, they stand with the number.
    parts = get_args(field.annotation) if NoneType in get_args(field.annotation) else ()
    limits = [limit for part in parts for given in getattr(part, "__metadata__", ()) for limit in given.metadata]
    found = [
        pattern.format(f"`{limit}`" if name == "pattern" else f"{limit:,}")
        for item in [*field.metadata, *limits]
        for name, pattern in _BOUNDS.items()
        if (limit := getattr(item, name, None)) is not None
    ]
    return ", ".join(found)


def _text(name: str, value: Any) -> str:
    if value is None:
        return "not set"
    plain = hide_secrets(to_jsonable_python(value), name)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
