"""From a response that has arrived whole to the result of its request, with what policy decided as evidence."""

from collections.abc import Mapping
from typing import Any

from ummp_assets.fetch.body import Body
from ummp_assets.fetch.fetched import Failure, Fetched, FetchRequest, Result
from ummp_assets.fetch.host_rules import HostRules
from ummp_assets.fetch.http_transfer import Download, HttpTransfer
from ummp_assets.fetch.modality import HEAD_BYTES, resolve_modality
from ummp_assets.fetch.robots import forbids_ai
from ummp_assets.reasons import Reason
from ummp_assets.records import Modality

__all__ = ["evidence_of", "failure_of", "result_of"]


def result_of(transfer: HttpTransfer, body: Body, agent: str) -> Result:
    """Return what becomes of a request whose object is here: empty, unlike its checksum, reserved by its owner, or
    fetched."""
    download, headers = transfer.download, transfer.headers
    # A 304 repeats only some headers (RFC 9110, 15.4.5); the rest is as it was.
    stored = download.stored if transfer.status == 304 else None
    media_type = headers.get("content-type") or (stored.media_type if stored else None)
    wanted = download.request.sha256
    evidence = evidence_of(download)
    if stored is not None:
        evidence = {**evidence, "unchanged_since": {"batch": stored.batch, "row": stored.row}}
    said = _said_of_use(headers, download.host.rules)
    if said:
        evidence = {**evidence, **said}
    problem = _optout(transfer, body, media_type, agent) if said else None
    if body.byte_count == 0:
        problem = Reason.EMPTY_BODY, "The object has no bytes"
    elif wanted is not None and wanted.lower() != body.sha256:
        problem = Reason.CHECKSUM_MISMATCH, f"The bytes have the sha256 {body.sha256}, the request says {wanted}"
    if problem is not None:
        body.discard()
        return failure_of(download, *problem, evidence)
    return Fetched(
        body=body,
        final_uri=download.url.text,
        fetched_at=transfer.started,
        media_type=media_type,
        etag=headers.get("etag") or (stored.etag if stored else None),
        last_modified=headers.get("last-modified") or (stored.last_modified if stored else None),
        attempts=download.attempts,
        evidence=evidence,
    )


def failure_of(download: Download, reason: Reason, detail: str, evidence: Mapping[str, Any] | None = None) -> Failure:
    """Return a failure with the download's attempts and evidence."""
    if evidence is None:
        evidence = evidence_of(download, allowed=reason not in (Reason.ROBOTS_DISALLOWED, Reason.ROBOTS_UNREACHABLE))
    return Failure(reason, f"{detail} ({download.url.text}).", download.attempts, evidence)


def evidence_of(download: Download, *, allowed: bool = True) -> Mapping[str, Any]:
    """Return what is known of the decision to fetch: the robots.txt it rests on with its date, and the redirects."""
    host = download.host
    evidence: Mapping[str, Any] = {}
    if not host.rules.respect_robots:
        evidence = {"robots": {"respected": False}}
    elif host.robots is not None:
        evidence = host.robots.evidence
        if not allowed:
            evidence = {"robots": {**evidence["robots"], "allowed": False}}
    return {**evidence, "redirects": list(download.redirects)} if download.redirects else evidence


def _said_of_use(headers: Mapping[str, str], rules: HostRules) -> dict[str, Any]:
    """Return what the headers say about the use of the object, as evidence.

    `X-Robots-Tag: noai, noimageai` (DeviantArt's convention) and `tdm-reservation` (W3C TDM Reservation Protocol, 2.2).
    """
    said: dict[str, Any] = {}
    if (tag := headers.get("x-robots-tag")) is not None:
        said["x_robots_tag"] = {"value": tag, "respected": rules.respect_noai}
    if (reservation := headers.get("tdm-reservation")) is not None:
        said["tdm_reservation"] = {"value": reservation, "respected": rules.respect_tdm_reservation}
    return said


def _optout(transfer: HttpTransfer, body: Body, media_type: str | None, agent: str) -> tuple[Reason, str] | None:
    """Return why the object's owner does not want it used."""
    headers, rules = transfer.headers, transfer.download.host.rules
    tag = headers.get("x-robots-tag")
    if tag is not None and rules.respect_noai:
        forbidden = forbids_ai(tag, agent)
        if "noai" in forbidden or ("noimageai" in forbidden and _is_image(transfer.download.request, body, media_type)):
            return Reason.NOAI, f"The server says X-Robots-Tag: {tag}"
    if "1" in headers.get("tdm-reservation", "").replace(",", " ").split() and rules.respect_tdm_reservation:
        return Reason.TDM_RESERVED, "The server says tdm-reservation: 1"
    return None


def _is_image(request: FetchRequest, body: Body, media_type: str | None) -> bool:
    return resolve_modality(request.modality, body.head(HEAD_BYTES), media_type, request.uri) == Modality.IMAGE
