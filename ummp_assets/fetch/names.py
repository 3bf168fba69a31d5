"""The addresses of host names, kept for a minute and then asked for anew."""

from typing import Any

import pycurl

__all__ = ["NameCache"]

_RENEW_SECONDS = 60.0
# libcurl's cache has 23 chains: with 10,000 names in one cache, looking them up took a tenth of a batch's main thread.
_CACHES = 64


class NameCache:
    """Gives libcurl's transfers common caches of names, new ones each minute; a name is always in the same one.

    libcurl looks through its whole cache for entries that are too old whenever a transfer ends: with 5,000 hosts that
    was a third of the processor time, and more with each host: 10,000 gave 1,000 files a second instead of 2,900. So
    entries never grow old, the caches do.
    """

    def __init__(self) -> None:
        self._renew_at = 0.0
        self._shares: dict[int, Any] = {}

    def attach(self, handle: Any, held: Any, hostname: str, now: float) -> Any:
        """Let an idle curl handle use the cache of today that a name is in.

        Parameters
        ----------
        held:
            What an earlier call returned for this handle, None at first.
        now:
            Seconds of a monotonic clock.
        """
        if now >= self._renew_at:
            self._shares, self._renew_at = {}, now + _RENEW_SECONDS
        share = self._shares.get(number := hash(hostname) % _CACHES)
        if share is None:
            share = self._shares[number] = pycurl.CurlShare()
            share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)
        if held is not share:
            if held is None:
                handle.setopt(pycurl.DNS_CACHE_TIMEOUT, -1)
            else:
                handle.unsetopt(pycurl.SHARE)
            handle.setopt(pycurl.SHARE, share)
        return share
