"""From a result to its samples: one for a file, many for an archive or table, none for a failure."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ummp_assets.errors import UmmpError
from ummp_assets.fetch.body import Body
from ummp_assets.fetch.collecting import ScratchFull
from ummp_assets.fetch.fetched import (
    Failure,
    Fetched,
    FetchRequest,
    Result,
    attempts_json,
    evidence_json,
)
from ummp_assets.fetch.modality import (
    ARCHIVE,
    AUTO,
    HEAD_BYTES,
    TABLE,
    declared_or_guessed,
    resolve_modality,
)
from ummp_assets.fetch.unpack import BrokenMember, Member, MemberNames, UnpackStopped, storable, unpack
from ummp_assets.reasons import Reason
from ummp_assets.records import Modality, Rejection
from ummp_assets.settings import FetchSettings

__all__ = ["RejectedSample", "Sample", "is_container", "modality_of", "samples_of"]


_log = logging.getLogger(__name__)
_MODALITIES = frozenset(Modality)


class Sample(NamedTuple):
    """One row of the table `samples` of the stage `downloads`, its bytes not yet placed."""

    sample_id: str
    uri: str
    modality: str
    media_type: str | None
    body: Body
    label: str | None
    attributes: str | None
    request: FetchRequest
    result: Fetched


@dataclass(frozen=True, slots=True)
class RejectedSample:
    """One row of the tables `outcomes` and `failures`."""

    rejection: Rejection
    attempts: str
    evidence: str | None


def modality_of(request: FetchRequest, result: Fetched) -> str | None:
    """Return text, image, audio, archive or table; None when the bytes are none of these."""
    if result.modality is not None:
        return result.modality
    return resolve_modality(request.modality, result.body.head(HEAD_BYTES), result.media_type, result.final_uri)


def is_container(modality: str | None) -> bool:
    """Return whether a modality stands for many samples."""
    return modality in (ARCHIVE, TABLE)


def samples_of(
    request: FetchRequest, result: Result, modality: str | None, scratch: Path, settings: FetchSettings
) -> Iterator[Sample | RejectedSample]:
    """Yield what becomes of a request; `modality` is that of `modality_of`."""
    if isinstance(result, Failure):
        yield _reject(request, result, result.reason, result.detail)
    elif is_container(modality):
        yield from _unpacked(request, result, scratch, settings)
    elif modality not in _MODALITIES:
        detail = f"The bytes begin with {result.body.head(8)!r} and are declared as {result.media_type or 'nothing'}."
        result.body.discard()
        yield _reject(request, result, Reason.UNKNOWN_MODALITY, detail)
    else:
        yield Sample(
            sample_id=request.sample_id,
            uri=request.uri,
            modality=str(modality),
            media_type=result.media_type,
            body=result.body,
            label=request.label,
            attributes=request.attributes,
            request=request,
            result=result,
        )


def _unpacked(
    request: FetchRequest, result: Fetched, scratch: Path, settings: FetchSettings
) -> Iterator[Sample | RejectedSample]:
    names = MemberNames()
    try:
        for item in unpack(result.body, _path_of(result.final_uri), result.media_type, scratch, settings):
            name = names.take(item.name)
            if isinstance(item, BrokenMember):
                yield _reject(request, result, item.reason, f"{item.detail}.", name)
            else:
                yield _member_sample(request, result, item, name)
    except UnpackStopped as stop:
        # The archive's own id stands for all that could not be reached in it.
        yield _reject(request, result, stop.reason, f"{stop.detail}.")
    except ScratchFull as full:
        raise (full.__cause__ or full) from None
    except UmmpError:
        raise
    except Exception as error:  # noqa: BLE001 - one bad archive never fails its batch
        _log.warning("%s cannot be unpacked", request.uri, exc_info=error)
        detail = f"The library that takes it apart failed: {type(error).__name__}."
        yield _reject(request, result, Reason.CORRUPT_ARCHIVE, detail)
    finally:
        result.body.discard()


def _member_sample(request: FetchRequest, result: Fetched, member: Member, name: str) -> Sample | RejectedSample:
    declared = request.modality if request.modality in _MODALITIES else AUTO
    modality = resolve_modality(declared, member.body.head(HEAD_BYTES), member.media_type, member.name)
    if modality not in _MODALITIES:
        detail = f"{member.name!r} begins with {member.body.head(8)!r}."
        member.body.discard()
        return _reject(request, result, Reason.UNKNOWN_MODALITY, detail, name)
    return Sample(
        sample_id=f"{request.sample_id}~{name}",
        uri=storable(member.uri) if member.uri else request.uri,
        modality=str(modality),
        media_type=member.media_type,
        body=member.body,
        label=member.label if member.label is not None else request.label,
        attributes=member.attributes if member.attributes is not None else request.attributes,
        request=request,
        result=result,
    )


def _reject(
    request: FetchRequest, result: Result, reason: Reason, detail: str, member: str | None = None
) -> RejectedSample:
    sample_id = request.sample_id if member is None else f"{request.sample_id}~{member}"
    modality = declared_or_guessed(request.modality, request.uri)
    rejection = Rejection(sample_id, request.dataset, modality, request.uri, reason, detail)
    return RejectedSample(rejection, attempts_json(result.attempts), evidence_json(result.evidence))


def _path_of(uri: str) -> str:
    return unquote(urlsplit(uri).path) or uri
