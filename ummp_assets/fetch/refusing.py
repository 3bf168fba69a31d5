"""What was taken down is not fetched again."""

from collections.abc import Sequence

from ummp_assets.fetch.fetched import Failure, FetchRequest
from ummp_assets.reasons import Reason
from ummp_assets.storage.index import Index
from ummp_assets.storage.takedown_index import taken_down

__all__ = ["refuse_taken_down"]


def refuse_taken_down(index: Index, requests: Sequence[FetchRequest]) -> dict[int, Failure]:
    """Return a failure for each request whose URI, domain or hash is taken down, by its position in the batch.

    Raises
    ------
    IndexUnavailable
        The index did not answer.
    """
    digests = [request.sha256 for request in requests if request.sha256]
    orders = taken_down(index, uris=[request.uri for request in requests], sha256s=digests)
    refused: dict[int, Failure] = {}
    for request in requests:
        order = orders.get(request.uri) or orders.get(request.sha256 or "")
        if order is not None:
            detail = f"{order.kind} {order.target} was taken down: {order.reason}"
            refused[request.position] = Failure(Reason.TAKEDOWN, detail)
    return refused
