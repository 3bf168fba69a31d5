"""The stage `downloads`: every request of a batch fetched, in one pass, in bounded memory."""

from collections.abc import Callable, Iterator

from ummp_assets.errors import AccountingMismatch, StoreUnavailable
from ummp_assets.fetch.fetched import Failure, FetchRequest, Result
from ummp_assets.fetch.http import HttpFetcher
from ummp_assets.fetch.ordering import InOrder
from ummp_assets.fetch.revalidation import StoredBodies
from ummp_assets.fetch.rows import FAILURE_SCHEMA, FAILURES, SAMPLES, RowWriter
from ummp_assets.reasons import Reason
from ummp_assets.records import RAW_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.fetch_state import FetchState
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table

__all__ = ["CODE_VERSION", "STAGE", "Progress", "download"]

STAGE = "downloads"
CODE_VERSION = "1"

Progress = Callable[[int, int], None]
"""Called with how many requests of the batch have ended, and how many there are."""

# Requests taken from the batch and not yet ended. Larger than what one slow host can hold up; some 10 MB.
_WINDOW_REQUESTS = 20_000
_MAX_HELD_BYTES = 64 * 2**20
_POLL_SECONDS = 0.2
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
    outcome with its reason and never fails the batch.

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
    with StageWriter(store, STAGE, batch, {SAMPLES: RAW_SCHEMA, FAILURES: FAILURE_SCHEMA}) as writer:
        state = FetchState(index)
        with RowWriter(store, writer, state, batch, settings.fetch.inline_bytes) as rows:
            try:
                fetcher = HttpFetcher(settings.fetch, state, writer.scratch, StoredBodies(store, STAGE))
                _fetch_all(_read_requests(store, requests), total, fetcher, writer, rows, on_progress)
            except OSError as error:
                raise StoreUnavailable(str(writer.scratch), error) from error
        if rows.numbers["samples"] + rows.numbers["rejected"] != total:
            raise AccountingMismatch(f"batch {batch}: {total} requests became {dict(rows.numbers)}")
        numbers = {"requests": total, **{name: rows.numbers[name] for name in ("attempts", "bytes")}}
        return writer.commit(code_version=CODE_VERSION, inputs=[requests], numbers=numbers)


def _fetch_all(
    requests: Iterator[list[FetchRequest]],
    total: int,
    fetcher: HttpFetcher,
    writer: StageWriter,
    rows: RowWriter,
    on_progress: Progress | None,
) -> None:
    order = InOrder(writer.scratch, _MAX_HELD_BYTES)
    done = 0
    try:
        while done < total:
            while fetcher.pending < _WINDOW_REQUESTS and (chunk := next(requests, None)) is not None:
                refusals = {request.position: refusal for request in chunk if (refusal := _refuse(request))}
                for request in chunk:
                    if request.position in refusals:
                        order.put(request, refusals[request.position])
                        done += 1
                fetcher.add([request for request in chunk if request.position not in refusals])
            for ended, result in fetcher.poll(_POLL_SECONDS):
                order.put(ended, result)
                done += 1
            rows.write(order.take())
            if on_progress is not None:
                on_progress(done, total)
        rows.finish()
    finally:
        fetcher.close()


def _read_requests(store: ObjectStore, requests: Manifest) -> Iterator[list[FetchRequest]]:
    position = 0
    for rows in read_table(store, requests, SAMPLES, columns=_COLUMNS):
        yield [FetchRequest(position + number, **row) for number, row in enumerate(rows.to_pylist())]
        position += rows.num_rows


def _refuse(request: FetchRequest) -> Result | None:
    scheme, colon, _ = request.uri.partition(":")
    if not colon or not scheme:
        return Failure(Reason.INVALID_URI, f"{request.uri!r} has no scheme.")
    if scheme.strip().lower() not in ("http", "https"):
        return Failure(Reason.UNSUPPORTED_SCHEME, f"No source reads URIs of the scheme {scheme!r}.")
    return None
