"""`--set NAME=VALUE` and `--threshold NAME=VALUE`: settings with other values tried in place of the ones in force."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ummp_assets.clean.rules.catalogue import previewable_settings
from ummp_assets.errors import InvalidInput
from ummp_assets.settings import Settings, load_settings

__all__ = ["setting_value", "try_settings"]

_DUPLICATES = ("near_duplicate_similarity", "near_duplicate_bits")


def try_settings(assignments: Iterable[str]) -> tuple[Settings, dict[str, Any]]:
    """Return the settings in force with these values, and the values by name.

    Parameters
    ----------
    assignments:
        As `clean.text.gopher_quality.min_words=50`; values are JSON, or text where they are none.

    Raises
    ------
    InvalidInput
        No such setting, or one that stored measurements say nothing of; the message lists those that they do.
    InvalidSettings
        The value is out of bounds.
    """
    settings = load_settings()
    chosen: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise InvalidInput(f"{assignment!r} is not NAME=VALUE, as in clean.text.gopher_quality.min_words=50")
        _require_previewable(settings, name.strip())
        chosen[name.strip()] = _parse(text.strip())
    overrides: dict[str, Any] = {}
    for name, value in chosen.items():
        _put(overrides, settings, name.split("."), value)
    return load_settings(**overrides), chosen


def setting_value(settings: Settings, name: str) -> Any:
    """Return the value of a setting by its dotted name; None for a key that a mapping does not have."""
    value: Any = settings
    for part in name.split("."):
        value = value.get(int(part)) if isinstance(value, Mapping) else getattr(value, part)
    return value


def _require_previewable(settings: Settings, name: str) -> None:
    known = {f"clean.{path}" for path in previewable_settings(settings.clean)}
    # A mapping may be given whole as well.
    if name in known | {path.rpartition(".")[0] for path in known if path.rpartition(".")[2].isdecimal()}:
        return
    why = "no stored measurement judges it"
    if name.rpartition(".")[2] in _DUPLICATES:
        why = "the index keeps its verdicts on duplicates, so that a new run repeats them"
    elif not _exists(settings, name):
        why = "there is no such setting"
    raise InvalidInput(
        f"{name} cannot be previewed: {why}. Those that can: {', '.join(sorted(known))}. Any other needs recomputing: "
        "set it and materialize the clean stages of the batches again."
    )


def _exists(settings: Settings, name: str) -> bool:
    try:
        setting_value(settings, name)
    except (AttributeError, ValueError):
        return False
    return True


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(overrides: dict[str, Any], settings: Settings, path: list[str], value: Any) -> None:
    """Put a value at its path; one key of a mapping beside the others that are in force."""
    parent = setting_value(settings, ".".join(path[:-1]))
    if isinstance(parent, Mapping):
        path, value = path[:-1], {str(key): item for key, item in parent.items()} | {path[-1]: value}
    for name in path[:-1]:
        overrides = overrides.setdefault(name, {})
    known = overrides.get(path[-1])
    overrides[path[-1]] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
