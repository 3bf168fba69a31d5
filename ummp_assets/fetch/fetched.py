"""What goes into a source and what comes out of it: a request in, then a `Fetched` object or a `Failure`.

Named tuples, since each object that is fetched makes four of them: a frozen data class takes three times as long.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic_core import to_json

from ummp_assets.fetch.body import Body
from ummp_assets.reasons import Reason

_NOTHING: Mapping[str, Any] = MappingProxyType({})

__all__ = ["Attempt", "Failure", "FetchRequest", "Fetched", "Result", "attempts_json", "evidence_json"]


class FetchRequest(NamedTuple):
    """One row of the stage `requests`, as far as fetching needs it; `position` is its place in the batch."""

    position: int
    sample_id: str
    dataset: str
    uri: str
    modality: str
    sha256: str | None = None
    label: str | None = None
    attributes: str | None = None
    deadline: str | None = None


class Attempt(NamedTuple):
    """One try at one address.

    Parameters
    ----------
    time:
        When it began, RFC 3339 in UTC.
    address:
        The IP address that was really talked to, None when no connection stood.
    status:
        HTTP status, None for other sources and when none came.
    error:
        What went wrong, None when nothing did.
    byte_count:
        Bytes of the body received in this attempt, as transferred.
    """

    time: str
    uri: str
    address: str | None
    status: int | None
    error: str | None
    byte_count: int


class Fetched(NamedTuple):
    """An object that arrived whole and verified.

    `modality` is set by sources that know what they bring: rows of a query are a table, whatever the request says.
    """

    body: Body
    final_uri: str
    fetched_at: str
    media_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    attempts: Sequence[Attempt] = ()
    evidence: Mapping[str, Any] = _NOTHING
    modality: str | None = None


class Failure(NamedTuple):
    """A request that ends here; `detail` is a sentence for a person with the values that decided."""

    reason: Reason
    detail: str
    attempts: Sequence[Attempt] = ()
    evidence: Mapping[str, Any] = _NOTHING


Result = Fetched | Failure


def attempts_json(attempts: Sequence[Attempt]) -> str:
    """Return the attempts as the JSON array that RAW_SCHEMA.attempts holds."""
    # 0.4 us for one attempt, where an encoder of the standard library takes 3.
    return to_json(
        [
            {
                "time": item.time,
                "uri": item.uri,
                "address": item.address,
                "status": item.status,
                "error": item.error,
                "bytes": item.byte_count,
            }
            for item in attempts
        ]
    ).decode()


def evidence_json(evidence: Mapping[str, Any]) -> str | None:
    """Return what policy decided as the JSON object that RAW_SCHEMA.evidence holds, None when it decided nothing."""
    return json.dumps(evidence, ensure_ascii=False, sort_keys=True) if evidence else None
