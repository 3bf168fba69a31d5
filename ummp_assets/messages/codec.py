"""Bytes of a message -> a typed message, or the reason why it is a dead letter."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from ummp_assets.reasons import Reason

__all__ = ["Undecodable", "decode"]

_M = TypeVar("_M", bound=BaseModel)

_FIELD_REASONS = {"dataset": Reason.INVALID_DATASET, "uri": Reason.MISSING_URI}
_DETAIL_LIMIT = 300


class Undecodable(Exception):
    """A message that cannot be read: the stable reason and a sentence for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail[:_DETAIL_LIMIT]
        super().__init__(self.detail)


def decode(model: type[_M], value: bytes | None, max_message_bytes: int) -> _M:
    """Parse a message's value.

    Parameters
    ----------
    model:
        One of the models in `messages.schemas`.
    max_message_bytes:
        A longer value is not parsed at all.

    Raises
    ------
    Undecodable
        The value is null, too large, no JSON object, of an unknown schema, or has a missing or wrong field.
    """
    if value is None:
        raise Undecodable(Reason.NULL_VALUE, "the message has no value (a tombstone)")
    if len(value) > max_message_bytes:
        raise Undecodable(
            Reason.MESSAGE_TOO_LARGE,
            f"{len(value):,} bytes, the limit (intake.max_message_bytes) is {max_message_bytes:,}",
        )
    document = _parse(value)
    _check_schema(model, document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _explain(error) from None


def _parse(value: bytes) -> dict[str, Any]:
    try:
        document = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise Undecodable(Reason.NOT_JSON, f"{error}; it begins {value[:60]!r}") from None
    if not isinstance(document, dict):
        raise Undecodable(Reason.NOT_JSON, f"expected a JSON object, found {type(document).__name__}")
    return document


def _check_schema(model: type[BaseModel], document: dict[str, Any]) -> None:
    expected = model.model_fields["schema_"].default
    found = document.get("schema")
    # A minor version adds optional fields only, so that every minor version of the same major is read.
    if not isinstance(found, str) or not _same_major(found, expected):
        raise Undecodable(Reason.UNKNOWN_SCHEMA, f"expected schema {expected!r}, found {found!r}")
    document["schema"] = expected


def _same_major(found: str, expected: str) -> bool:
    name, _, version = found.partition("/")
    expected_name, _, expected_version = expected.partition("/")
    return name == expected_name and version.partition(".")[0] == expected_version


def _explain(error: ValidationError) -> Undecodable:
    problems = error.errors(include_url=False, include_context=False)
    reason = next(
        (_FIELD_REASONS[field] for field in _FIELD_REASONS for item in problems if item["loc"][:1] == (field,)),
        Reason.INVALID_FIELD,
    )
    return Undecodable(
        reason, "; ".join(f"{'.'.join(map(str, item['loc'])) or 'message'}: {item['msg']}" for item in problems)
    )
