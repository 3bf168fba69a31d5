"""http(s) in bulk: many transfers at once in one process through libcurl, each under limits, retried when it may help.

Measured on 4,000 JPEGs of 33 kB from nginx on loopback with 32 connections, files per second of client CPU:
requests.get 294, urllib3 1,486, aiohttp 2,801, libcurl's multi interface 19,829.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pycurl

from ummp_assets.fetch.addresses import AddressPolicy
from ummp_assets.fetch.body import BodyWriter
from ummp_assets.fetch.fetched import Failure, Fetched, FetchRequest, Result
from ummp_assets.fetch.hosts import HostQueues
from ummp_assets.fetch.http_errors import Verdict, judge_curl_error, judge_status
from ummp_assets.fetch.http_transfer import Download, HttpTransfer
from ummp_assets.fetch.retrying import RetryRule, parse_retry_after
from ummp_assets.fetch.transfers import TransferLoop
from ummp_assets.fetch.urls import InvalidUrl, parse_http_url
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings

__all__ = ["HttpFetcher", "utc_now"]

_log = logging.getLogger(__name__)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Too many requests, service unavailable: the whole host asks for a rest, not only this request.
_HOST_IS_BUSY = frozenset({429, 503})


def utc_now() -> datetime:
    return datetime.now(UTC)


class HttpFetcher:
    """Fetches http(s) requests; one thread calls `add` and `poll`.

    Parameters
    ----------
    scratch:
        Folder for objects larger than `inline_bytes`.
    monotonic, now:
        The clocks: seconds for waiting, and the date for what is stored.
    """

    def __init__(
        self,
        settings: FetchSettings,
        scratch: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings, self._scratch, self._monotonic, self._now = settings, scratch, monotonic, now
        self._addresses = AddressPolicy(settings.allowed_addresses)
        self._retry = RetryRule(settings.max_attempts, settings.retry_base_seconds, settings.max_retry_seconds)
        self._queues: HostQueues[Download] = HostQueues(settings.max_connections_per_host)
        self._loop = TransferLoop(max_cached_connections=2 * settings.max_connections)
        self._transfers: list[HttpTransfer] = []
        self._idle: list[HttpTransfer] = []
        self._results: list[tuple[FetchRequest, Result]] = []
        self._storage_error: OSError | None = None
        self.pending = 0

    def add(self, request: FetchRequest) -> None:
        """Take a request; its result comes out of `poll`."""
        self.pending += 1
        try:
            url = parse_http_url(request.uri)
        except InvalidUrl as error:
            self._finish(request, Failure(Reason.INVALID_URI, f"{request.uri!r} cannot be fetched: {error}."))
            return
        host = self._queues.host(url.origin)
        body = BodyWriter(self._scratch, self._settings.inline_bytes, self._settings.max_object_bytes)
        self._queues.add(host, Download(request, url, host, body))

    def poll(self, timeout_seconds: float) -> list[tuple[FetchRequest, Result]]:
        """Let the transfers go on, for at most so long when nothing happens; return what has ended.

        Raises `OSError` when the scratch folder cannot take what arrives.
        """
        now = self._monotonic()
        self._start_transfers(now)
        wake = self._queues.next_time()
        if self._results:
            timeout_seconds = 0.0
        elif wake is not None:
            timeout_seconds = min(timeout_seconds, max(0.0, wake - now))
        self._loop.run(timeout_seconds, self._ended)
        if self._storage_error is not None:
            raise self._storage_error
        results, self._results = self._results, []
        return results

    def close(self) -> None:
        """Break off what still runs and close all connections."""
        idle = set(self._idle)
        for transfer in self._transfers:
            if transfer not in idle:
                self._loop.cancel(transfer.handle)
                transfer.download.body.discard()
            transfer.close()
        self._loop.close()

    def _start_transfers(self, now: float) -> None:
        while self._idle or len(self._transfers) < self._settings.max_connections:
            download = self._queues.take(now)
            if download is None:
                return
            if self._deadline_passed(download):
                continue
            if not self._idle:
                self._transfers.append(HttpTransfer(self._settings, self._addresses))
                self._idle.append(self._transfers[-1])
            transfer = self._idle.pop()
            transfer.begin(download, self._timestamp())
            self._loop.start(transfer.handle)

    def _deadline_passed(self, download: Download) -> bool:
        deadline = download.request.deadline
        if deadline is None or self._now() <= _read_time(deadline):
            return False
        self._queues.release(download.host)
        self._give_up(download, Reason.DEADLINE_PASSED, f"The deadline {deadline} had passed")
        return True

    def _ended(self, handle: Any, code: int, message: str) -> None:
        transfer: HttpTransfer = handle.owner
        download = transfer.download
        status = transfer.status
        verdict = self._judge(transfer, code, status)
        error = None if verdict is None else _describe(transfer, verdict, code, message, status)
        download.attempts.append(transfer.end(error))
        self._queues.release(download.host)
        if transfer.storage_error is not None:
            self._storage_error = transfer.storage_error
            download.body.discard()
        elif verdict is not None:
            _log.info("attempt %d at %s: %s", len(download.attempts), download.url.text, error)
            self._fail(transfer, verdict, error or "", code, status)
        elif status in _REDIRECTS and (target := handle.getinfo(pycurl.REDIRECT_URL)):
            self._redirect(download, target)
        else:
            self._succeed(transfer)
        self._idle.append(transfer)

    def _judge(self, transfer: HttpTransfer, code: int, status: int | None) -> Verdict | None:
        if transfer.fault is not None and (status is None or 200 <= status < 300):
            return Verdict(transfer.fault, transient=False)
        if transfer.refused is not None and code == pycurl.E_COULDNT_CONNECT:
            return Verdict(Reason.ADDRESS_REFUSED, transient=False)
        if code not in (0, pycurl.E_WRITE_ERROR):
            return judge_curl_error(code)
        if status in _REDIRECTS and transfer.handle.getinfo(pycurl.REDIRECT_URL):
            return None
        return judge_status(status or 0)

    def _fail(self, transfer: HttpTransfer, verdict: Verdict, error: str, code: int, status: int | None) -> None:
        download = transfer.download
        download.failures += 1
        if not verdict.transient:
            self._give_up(download, verdict.reason, error)
            return
        retry_after = None
        if status in _HOST_IS_BUSY and "retry-after" in transfer.headers:
            retry_after = parse_retry_after(transfer.headers["retry-after"], self._now())
        wait = self._retry.wait_seconds(download.failures, download.waited_seconds, retry_after)
        if wait is None:
            self._give_up(download, verdict.reason, f"{error}, after {download.failures} attempts")
            return
        self._keep_part(transfer, code)
        download.waited_seconds += wait
        at = self._monotonic() + wait
        if status in _HOST_IS_BUSY:
            download.host.not_before = max(download.host.not_before, at)
        self._queues.add_later(download.host, download, at)

    def _keep_part(self, transfer: HttpTransfer, code: int) -> None:
        """Keep what a broken transfer brought if its rest can be asked for (RFC 9110, 13.1.5), else forget it."""
        download, headers = transfer.download, transfer.headers
        etag = headers.get("etag", "")
        validator = etag if etag.startswith('"') else headers.get("last-modified")
        broke_off = code != 0 and transfer.status in (200, 206) and download.body.byte_count > 0
        if broke_off and validator and headers.get("accept-ranges", "bytes") != "none":
            download.resume_at = download.body.byte_count
            download.validator = validator
        else:
            download.resume_at = 0
            download.body.reset()

    def _redirect(self, download: Download, target: str) -> None:
        download.redirects.append(download.url.text)
        if len(download.redirects) > self._settings.max_redirects:
            self._give_up(download, Reason.TOO_MANY_REDIRECTS, f"More than {self._settings.max_redirects} redirects")
            return
        try:
            download.url = parse_http_url(target)
        except InvalidUrl as error:
            reason = Reason.INVALID_URI if target.startswith("http") else Reason.UNSUPPORTED_SCHEME
            self._give_up(download, reason, f"Redirected to {target!r}, which cannot be fetched: {error}")
            return
        download.host = self._queues.host(download.url.origin)
        self._queues.add(download.host, download)

    def _succeed(self, transfer: HttpTransfer) -> None:
        download, headers = transfer.download, transfer.headers
        body = download.body.finish()
        wanted = download.request.sha256
        if body.byte_count == 0:
            self._give_up(download, Reason.EMPTY_BODY, "The object has no bytes")
        elif wanted is not None and wanted.lower() != body.sha256:
            body.discard()
            self._give_up(
                download,
                Reason.CHECKSUM_MISMATCH,
                f"The bytes have the sha256 {body.sha256}, the request says {wanted}",
            )
        else:
            self._finish(
                download.request,
                Fetched(
                    body=body,
                    final_uri=download.url.text,
                    fetched_at=transfer.started,
                    media_type=headers.get("content-type"),
                    etag=headers.get("etag"),
                    last_modified=headers.get("last-modified"),
                    attempts=download.attempts,
                    evidence={"redirects": download.redirects} if download.redirects else {},
                ),
            )

    def _give_up(self, download: Download, reason: Reason, detail: str) -> None:
        download.body.discard()
        self._finish(download.request, Failure(reason, f"{detail} ({download.url.text}).", download.attempts))

    def _finish(self, request: FetchRequest, result: Result) -> None:
        self.pending -= 1
        self._results.append((request, result))

    def _timestamp(self) -> str:
        return self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _describe(transfer: HttpTransfer, verdict: Verdict, code: int, message: str, status: int | None) -> str:
    if verdict.reason is Reason.ADDRESS_REFUSED:
        return f"The address {transfer.refused} is not public and not in fetch.allowed_addresses"
    if transfer.fault is not None:
        return verdict.reason.meaning.rstrip(".")
    if code not in (0, pycurl.E_WRITE_ERROR):
        return f"{message or 'The transfer broke'} (libcurl error {code})"
    return f"The server answered {status}"
