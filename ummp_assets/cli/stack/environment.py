"""Settings as environment variables, for the processes of a stack."""

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from pydantic_core import to_json

from ummp_assets.settings import Settings

__all__ = ["settings_environment", "without_settings"]


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that hold settings."""
    names = tuple(f"UMMP_{name.upper()}" for name in Settings.model_fields)
    nested = tuple(f"{name}__" for name in names)
    return {
        name: value
        for name, value in environment.items()
        if name.upper() not in names and not name.upper().startswith(nested)
    }


def settings_environment(settings: Settings) -> dict[str, str]:
    """Return the `UMMP_*` variables from which `load_settings()` in another process makes the same settings.

    Only what was set is passed on, so that the defaults stay defaults in `ummp doctor`.

    >>> from ummp_assets.settings import IntakeSettings
    >>> settings_environment(Settings(topic_prefix="mine", intake=IntakeSettings(max_queued_batches=2)))["UMMP_INTAKE"]
    '{"max_queued_batches":2}'
    """
    values = _reveal(settings.model_dump(exclude_unset=True))
    values["home"] = str(settings.home_path)
    return {
        f"UMMP_{name.upper()}": value if isinstance(value, str) else to_json(value).decode()
        for name, value in values.items()
        if value is not None
    }


def _reveal(value: Any) -> Any:
    """Return a dumped value with its secrets: pydantic writes them as asterisks, which the children could not use."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {name: _reveal(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_reveal(item) for item in value]
    return value
