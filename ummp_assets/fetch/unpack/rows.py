"""Rows of a table to samples.

The content of a row is its field `content`, `bytes` or `text` (bytes, text, or a mapping with `bytes` in it, as Hugging
Face writes images and audio), the same of `image` and `audio`, or `content_base64`. A row without any of these is
itself the text, as JSON. `label` is the label; all other fields become attributes.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ummp_assets.fetch.unpack.members import BrokenMember, Limits, Member
from ummp_assets.reasons import Reason

__all__ = ["members_of_rows"]

_CONTENT_FIELDS = ("content", "bytes", "text", "image", "audio")
_BASE64_FIELD = "content_base64"


def members_of_rows(
    rows: Iterable[Mapping[str, Any] | BrokenMember], limits: Limits, *, counted: bool
) -> Iterator[Member | BrokenMember]:
    """Yield a sample for each row, named by its number from 0; rows that are broken already pass through.

    `counted` says that the rows' bytes have been counted already, where they were decompressed.
    """
    for number, row in enumerate(rows):
        limits.count_member()
        try:
            yield row if isinstance(row, BrokenMember) else _member(str(number), row, limits, counted)
        except RecursionError:
            yield BrokenMember(str(number), Reason.CORRUPT_MEMBER, "The row's values are nested too deeply")


def _member(name: str, row: Mapping[str, Any], limits: Limits, counted: bool) -> Member | BrokenMember:
    rest = dict(row)
    label = rest.pop("label", None)
    try:
        content, media_type = _take_content(rest)
    except (ValueError, binascii.Error) as error:
        return BrokenMember(name, Reason.CORRUPT_MEMBER, f"{_BASE64_FIELD} is no base64: {error}")
    if content is None:
        content, media_type, rest = _as_json(rest).encode(), "application/json", {}
    if not content:
        return BrokenMember(name, Reason.EMPTY_BODY, "The row's content is empty")
    body = limits.make_body(content, counted=counted)
    if body is None:
        return BrokenMember(name, Reason.OBJECT_TOO_LARGE, f"The row's content has {len(content)} bytes")
    uri = rest.pop("uri", None) or rest.pop("url", None)
    return Member(
        name,
        body,
        media_type,
        uri=str(uri) if uri else None,
        label=None if label is None else _as_json(label),
        attributes=_as_json(rest) if rest else None,
    )


def _take_content(row: dict[str, Any]) -> tuple[bytes | None, str | None]:
    if isinstance(row.get(_BASE64_FIELD), str):
        return base64.b64decode(row.pop(_BASE64_FIELD), validate=True), None
    for name in _CONTENT_FIELDS:
        value = row.get(name)
        if isinstance(value, Mapping):
            value = value.get("bytes")
        if isinstance(value, str):
            del row[name]
            return value.encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8"
        if isinstance(value, bytes):
            del row[name]
            return value, None
    return None, None


def _as_json(value: Any) -> str:
    """Return JSON (RFC 8259) that UTF-8 can hold: null for NaN and infinity, escapes for lone surrogates."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=_plain)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
