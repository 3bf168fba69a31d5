"""Sources whose libraries block: fsspec file systems, SQL databases and paginated APIs, in a few threads."""

import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from ummp_assets.errors import UmmpError
from ummp_assets.fetch.addresses import AddressPolicy
from ummp_assets.fetch.api import ApiSource
from ummp_assets.fetch.api_budgets import ApiBudgets
from ummp_assets.fetch.clock import deadline_passed, timestamp
from ummp_assets.fetch.collecting import ScratchFull
from ummp_assets.fetch.fetched import Attempt, Failure, Fetched, FetchRequest, Result
from ummp_assets.fetch.files import FileSource
from ummp_assets.fetch.retrying import RetryRule
from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.fetch.sql import SqlSource
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings
from ummp_assets.storage.fetch_state import FetchState

__all__ = ["BlockingSources", "Source"]

_log = logging.getLogger(__name__)
_THREADS = 16
_SCHEME = re.compile(r"\s*([A-Za-z][\w+.-]*):")


class Source(Protocol):
    """Reads one kind of URI; called from several threads at once."""

    def handles(self, scheme: str) -> bool:
        """Return whether URIs of the scheme (lower case) are this source's."""
        ...

    def fetch(self, request: FetchRequest, started: str) -> Fetched:
        """Return the object, fetched at `started`; raises `SourceError` and `ScratchFull`."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class BlockingSources:
    """Fetches requests of the blocking sources; one thread calls `add`, `take` and `close`.

    Parameters
    ----------
    on_result:
        Called from another thread whenever there is something to `take`.
    """

    def __init__(
        self, settings: FetchSettings, state: FetchState, scratch: Path, on_result: Callable[[], None]
    ) -> None:
        addresses = AddressPolicy(settings.allowed_addresses)
        self._budgets = ApiBudgets(settings, state)
        self._sources: tuple[Source, ...] = (
            SqlSource(settings, scratch),
            ApiSource(settings, scratch, addresses, self._budgets),
            FileSource(settings, scratch),
        )
        self._retry = RetryRule(settings.max_attempts, settings.retry_base_seconds, settings.max_retry_seconds)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sources")
        self._results: SimpleQueue[tuple[FetchRequest, Result | BaseException]] = SimpleQueue()
        self._on_result = on_result
        self.pending = 0

    def add(self, request: FetchRequest) -> None:
        """Take a request; its result comes out of `take`."""
        self.pending += 1
        self._threads.submit(self._run, request)

    def take(self) -> list[tuple[FetchRequest, Result]]:
        """Return what has ended; raises `OSError` when the scratch folder could not take what arrived."""
        self._budgets.renew()
        ended: list[tuple[FetchRequest, Result]] = []
        while True:
            try:
                request, result = self._results.get_nowait()
            except Empty:
                return ended
            self.pending -= 1
            if isinstance(result, BaseException):
                raise result
            ended.append((request, result))

    def close(self) -> None:
        """Wait for what runs, drop what waits, release connections."""
        self._threads.shutdown(cancel_futures=True)
        for source in self._sources:
            source.close()
        self._budgets.close()

    def _run(self, request: FetchRequest) -> None:
        try:
            result: Result | BaseException = self._fetch(request)
        except ScratchFull as error:
            result = error.__cause__ or error
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that calls `take`
            result = error
        self._results.put((request, result))
        self._on_result()

    def _fetch(self, request: FetchRequest) -> Result:
        found = _SCHEME.match(request.uri)
        if found is None:
            return Failure(Reason.INVALID_URI, f"{request.uri!r} has no scheme.")
        scheme = found[1].lower()
        source = next((source for source in self._sources if source.handles(scheme)), None)
        if source is None:
            return Failure(Reason.UNSUPPORTED_SCHEME, f"No source reads URIs of the scheme {scheme!r}.")
        attempts: list[Attempt] = []
        waited = 0.0
        while True:
            if deadline_passed(request.deadline):
                return Failure(Reason.DEADLINE_PASSED, f"The deadline {request.deadline} had passed.", attempts)
            started = timestamp()
            try:
                fetched = source.fetch(request, started)
            except (ScratchFull, UmmpError):
                raise
            except Exception as caught:  # noqa: BLE001 - one bad sample never fails its batch
                error = caught if isinstance(caught, SourceError) else _unforeseen(caught)
                attempts.extend(error.attempts or [Attempt(started, request.uri, None, error.status, str(error), 0)])
                _log.info("attempt %d at %s: %s", len(attempts), request.uri, error)
                wait = self._retry.wait_seconds(len(attempts), waited, error.retry_after)
                if not error.transient or wait is None:
                    return Failure(error.reason, f"{error} ({request.uri}).", attempts)
                waited += wait
                time.sleep(wait)
            else:
                return _checked(request, fetched, [*attempts, *fetched.attempts])


def _unforeseen(error: Exception) -> SourceError:
    """Return what stands for an error that no source expects."""
    _log.warning("a source failed in an unforeseen way", exc_info=error)
    # Most of what a library does not say in Python's own terms is an outage, as botocore's EndpointConnectionError.
    return SourceError(Reason.SOURCE_FAILED, f"The source's library failed: {type(error).__name__}", transient=True)


def _checked(request: FetchRequest, fetched: Fetched, attempts: list[Attempt]) -> Result:
    body = fetched.body
    if body.byte_count == 0:
        body.discard()
        return Failure(Reason.EMPTY_BODY, f"The object has no bytes ({request.uri}).", attempts, fetched.evidence)
    if request.sha256 is not None and request.sha256.lower() != body.sha256:
        body.discard()
        detail = f"The bytes have the sha256 {body.sha256}, the request says {request.sha256} ({request.uri})."
        return Failure(Reason.CHECKSUM_MISMATCH, detail, attempts, fetched.evidence)
    return fetched._replace(attempts=attempts)
