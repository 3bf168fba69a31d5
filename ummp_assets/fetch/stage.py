"""The stage `downloads`: every request of a batch fetched, in one pass, in bounded memory."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from ummp_assets.errors import AccountingMismatch, StoreUnavailable
from ummp_assets.fetch.fetched import FetchRequest, Result
from ummp_assets.fetch.http import HttpFetcher
from ummp_assets.fetch.ordering import InOrder
from ummp_assets.fetch.refusing import refuse_taken_down
from ummp_assets.fetch.revalidation import StoredBodies
from ummp_assets.fetch.rows import FAILURE_SCHEMA, FAILURES, LOT_BYTES, LOT_ROWS, ROW_GROUP_BYTES, SAMPLES, RowWriter
from ummp_assets.fetch.sources import BlockingSources
from ummp_assets.parallel.rare_collections import rare_collections
from ummp_assets.records import RAW_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.fetch_state import FetchState
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table
from ummp_assets.storage.tables import TableLimits

__all__ = ["CODE_VERSION", "STAGE", "Progress", "download"]

STAGE = "downloads"
CODE_VERSION = "1"

Progress = Callable[[int, int], None]
"""Called with how many requests of the batch have ended, and how many there are."""

# Requests taken from the batch and not yet ended. Larger than what one slow host can hold up; some 10 MB.
_WINDOW_REQUESTS = 20_000
_MAX_HELD_BYTES = 64 * 2**20
_POLL_SECONDS = 0.2
_SCHEMAS = {SAMPLES: RAW_SCHEMA, FAILURES: FAILURE_SCHEMA}
_LIMITS = TableLimits(row_group_bytes=ROW_GROUP_BYTES)
_NUMBERS = ("attempts", "bytes", "archives", "unpacked")
# In the order of the fields of `FetchRequest`.
_COLUMNS = ["sample_id", "dataset", "uri", "modality", "sha256", "label", "attributes", "deadline"]


def download(
    store: ObjectStore,
    index: Index,
    settings: Settings,
    batch: str,
    on_progress: Progress | None = None,
) -> Manifest:
    """Fetch what a batch's requests name and commit the stage `downloads`.

    Rows stand in the order of the requests, whatever the order of arrival. A request that cannot be fetched is an
    outcome with its reason and never fails the batch. An archive or table becomes a sample for each member; the
    manifest's numbers add up: samples + rejections == `requests` - `archives` + `unpacked`.

    Raises
    ------
    ManifestMissing
        The stage `requests` has not committed the batch.
    StoreUnavailable
        The store or its scratch folder cannot be written; nothing is committed.
    AccountingMismatch
        Rows and rejections do not add up to the requests.
    """
    requests = read_manifest(store, "requests", batch)
    total = requests.rows(SAMPLES)
    with rare_collections(), StageWriter(store, STAGE, batch, _SCHEMAS, _LIMITS) as writer:
        state = FetchState(index, batch)
        with RowWriter(store, writer, state, batch, settings.fetch) as rows:
            try:
                fetchers = _Fetchers(settings, index, state, writer.scratch, store)
                with InOrder(writer.scratch, _MAX_HELD_BYTES) as order:
                    _fetch_all(_read_requests(store, requests), total, fetchers, order, rows, on_progress)
            except OSError as error:
                raise StoreUnavailable(str(writer.scratch), error) from error
        counted = rows.numbers
        if counted["samples"] + counted["rejected"] != total - counted["archives"] + counted["unpacked"]:
            raise AccountingMismatch(f"batch {batch}: {total} requests became {dict(counted)}")
        numbers = {"requests": total, **{name: counted[name] for name in _NUMBERS}}
        return writer.commit(code_version=CODE_VERSION, inputs=[requests], numbers=numbers)


class _Fetchers:
    """All sources behind one pair of `add` and `take`."""

    def __init__(self, settings: Settings, index: Index, state: FetchState, scratch: Path, store: ObjectStore) -> None:
        self._index = index
        self._refused: list[tuple[FetchRequest, Result]] = []
        self._http = HttpFetcher(settings.fetch, state, scratch, StoredBodies(store, STAGE))
        self._blocking = BlockingSources(settings.fetch, state, scratch, self._http.wake)

    @property
    def pending(self) -> int:
        return self._http.pending + self._blocking.pending + len(self._refused)

    def add(self, requests: list[FetchRequest]) -> None:
        refused = refuse_taken_down(self._index, requests)
        web: list[FetchRequest] = []
        for request in requests:
            if request.position in refused:
                self._refused.append((request, refused[request.position]))
            elif request.uri.lstrip()[:8].lower().startswith(("http:", "https:")):
                web.append(request)
            else:
                self._blocking.add(request)
        self._http.add(web)

    def take(self) -> list[tuple[FetchRequest, Result]]:
        refused, self._refused = self._refused, []
        return refused + self._http.poll(0 if refused else _POLL_SECONDS) + self._blocking.take()

    def close(self) -> None:
        # The sources' threads wake the other one until they have ended.
        self._blocking.close()
        self._http.close()


def _fetch_all(
    requests: Iterator[list[FetchRequest]],
    total: int,
    fetchers: _Fetchers,
    order: InOrder,
    rows: RowWriter,
    on_progress: Progress | None,
) -> None:
    done = 0
    try:
        while done < total:
            # One chunk a turn: the first transfers run while the next requests are read.
            if fetchers.pending < _WINDOW_REQUESTS and (chunk := next(requests, None)) is not None:
                fetchers.add(chunk)
            ended = fetchers.take()
            for request, result in ended:
                order.put(request, result)
            done += len(ended)
            while rows.has_room and (entries := order.take(LOT_ROWS, LOT_BYTES)):
                rows.write(entries)
            if ended and on_progress is not None:
                on_progress(done, total)
        while entries := order.take(LOT_ROWS, LOT_BYTES):
            rows.write(entries)
        rows.finish()
    finally:
        fetchers.close()


def _read_requests(store: ObjectStore, requests: Manifest) -> Iterator[list[FetchRequest]]:
    position = 0
    for rows in read_table(store, requests, SAMPLES, columns=_COLUMNS):
        columns = [rows.column(name).to_pylist() for name in _COLUMNS]
        yield list(map(FetchRequest._make, zip(count(position), *columns)))
        position += rows.num_rows
