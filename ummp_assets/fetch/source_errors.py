"""What the blocking sources raise."""

from collections.abc import Sequence

from ummp_assets.fetch.fetched import Attempt
from ummp_assets.reasons import Reason

__all__ = ["SourceError"]


class SourceError(Exception):
    """An attempt that failed.

    Parameters
    ----------
    detail:
        A sentence for a person, without credentials.
    transient:
        Whether the same attempt may succeed later; `retry_after` is what the server asks to wait, in seconds.

    A source that tries several times by itself sets `attempts`.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        transient: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.reason, self.transient, self.status, self.retry_after = reason, transient, status, retry_after
        self.attempts: Sequence[Attempt] = ()
        super().__init__(detail)
