"""The addresses of host names, kept for a minute and then asked for anew."""

from typing import Any

import pycurl

__all__ = ["NameCache"]

_RENEW_SECONDS = 60.0


class NameCache:
    """Gives libcurl's transfers a common cache of names, a new one each minute.

    libcurl looks through its whole cache for entries that are too old whenever a transfer ends: with 5,000 hosts that
    was a third of the processor time, and more with each host: 10,000 gave 1,000 files a second instead of 2,900. So
    entries never grow old, the cache does.
    """

    def __init__(self) -> None:
        self._renew_at = 0.0
        self._share: Any = None

    def attach(self, handle: Any, held: Any, now: float) -> Any:
        """Let an idle curl handle use the cache of today.

        Parameters
        ----------
        held:
            What an earlier call returned for this handle, None at first.
        now:
            Seconds of a monotonic clock.
        """
        if self._share is None or now >= self._renew_at:
            self._share = pycurl.CurlShare()
            self._share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)
            self._renew_at = now + _RENEW_SECONDS
        if held is not self._share:
            if held is None:
                handle.setopt(pycurl.DNS_CACHE_TIMEOUT, -1)
            else:
                handle.unsetopt(pycurl.SHARE)
            handle.setopt(pycurl.SHARE, self._share)
        return self._share
