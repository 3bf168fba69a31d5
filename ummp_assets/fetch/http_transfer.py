"""One curl handle, reused for one transfer after another, and what it receives."""

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pycurl

from ummp_assets.fetch.addresses import AddressPolicy
from ummp_assets.fetch.body import BodyTooLarge, BodyWriter
from ummp_assets.fetch.decoding import ACCEPT_ENCODING, CodingError, Decoder, DecompressionBomb, make_decoder
from ummp_assets.fetch.fetched import Attempt, FetchRequest
from ummp_assets.fetch.hosts import Host
from ummp_assets.fetch.http_head import parse_head
from ummp_assets.fetch.names import NameCache
from ummp_assets.fetch.proxies import upper_case_proxy
from ummp_assets.fetch.urls import HttpUrl
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings
from ummp_assets.storage.fetch_state import StoredFetch

__all__ = ["Download", "HttpTransfer"]

# Larger than libcurl's 16 kB: fewer calls into Python for each object.
_RECEIVE_BUFFER_BYTES = 131_072
# The text of an error page is thrown away, but read so far, so that the connection can be used again.
_MAX_ERROR_PAGE_BYTES = 65_536
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_ALWAYS_SENT = (f"Accept-Encoding: {ACCEPT_ENCODING}",)
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_CA_FILE_VARIABLES = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(slots=True, eq=False)
class Download:
    """An http(s) request on its way: what is left of it survives from one attempt to the next.

    Parameters
    ----------
    stored:
        Where the bytes of an earlier fetch stand, to ask only whether they have changed.
    robots_of:
        Set when this is our own question for that host's robots.txt, not a request of the batch.
    resume_at:
        Bytes of the body, as transferred, that `body` holds from a broken attempt; 0 to start from nothing.
    validator:
        Strong ETag or date of those bytes, for `If-Range`.
    """

    request: FetchRequest
    url: HttpUrl
    host: "Host[Download]"
    body: BodyWriter
    stored: StoredFetch | None = None
    robots_of: "Host[Download] | None" = None
    attempts: list[Attempt] = field(default_factory=list)
    redirects: list[str] = field(default_factory=list)
    failures: int = 0
    connect_timeouts: int = 0
    waited_seconds: float = 0.0
    resume_at: int = 0
    validator: str | None = None
    decoder: Decoder | None = None

    @property
    def position(self) -> int:
        """Place of the request in the batch."""
        return self.request.position

    @property
    def left_tls(self) -> bool:
        """Whether redirects have led from https to http, where everybody on the way could read credentials."""
        return self.url.text.startswith("http:") and any(text.startswith("https:") for text in self.redirects)

    def start_over(self) -> None:
        """Forget what broken attempts brought."""
        self.body.reset()
        self.resume_at, self.validator, self.decoder = 0, None, None


class HttpTransfer:
    """Receives one response at a time into the download's body.

    After `read_head`, `status` (None when no response came) and `headers` (by lower-case name, only those that fetching
    knows, what came several times joined by commas) describe the last response. `refused` names an address that policy
    did not let it connect to, `fault` says why the body was not taken, `is_other_part` that it is not the rest that was
    asked for, and `storage_error` why it could not be stored.
    """

    download: Download
    status: int | None
    headers: Mapping[str, str]
    refused: str | None
    fault: Reason | None
    is_other_part: bool
    storage_error: OSError | None
    received_bytes: int
    stalled: bool
    _is_head_read: bool
    _sink: Callable[[bytes], None] | None
    _seen_bytes: int

    def __init__(self, settings: FetchSettings, addresses: AddressPolicy) -> None:
        self._addresses = addresses
        self._max_ratio = settings.unpack.max_ratio
        self._lines: list[bytes] = []
        self._sent_headers: list[str | bytes] = []
        self._http_proxy = upper_case_proxy()
        self._names: Any = None
        self.started = ""
        self.handle: Any = pycurl.Curl()
        self.handle.owner = self
        self._set_up(settings)
        self._forget()

    def begin(self, download: Download, started: str, names: NameCache, now: float) -> None:
        """Make the handle ready for the next attempt of a download; `started` is the time now, `now` the same by the
        monotonic clock."""
        self._forget()
        self._names = names.attach(self.handle, self._names, download.url.hostname, now)
        self.download, self.started = download, started
        self.handle.setopt(pycurl.URL, download.url.text)
        if self._http_proxy:
            self.handle.setopt(pycurl.PROXY, self._http_proxy if download.url.text.startswith("http:") else None)
        own = () if download.redirects and download.left_tls else download.host.rules.headers
        headers = [*_ALWAYS_SENT, *own, *map(_as_received, _conditions(download))]
        if headers != self._sent_headers:
            self.handle.setopt(pycurl.HTTPHEADER, headers)
            self._sent_headers = headers

    @property
    def header_bytes(self) -> int:
        """Size of all headers received."""
        return sum(map(len, self._lines))

    @property
    def never_connected(self) -> bool:
        """Whether not even a connection stood."""
        return not self.handle.getinfo(pycurl.CONNECT_TIME)

    def read_head(self) -> None:
        """Set `status` and `headers`; once a response has a body, they stand."""
        if not self._is_head_read:
            self._is_head_read = True
            self.status, self.headers = parse_head(self._lines)

    def look(self) -> bool:
        """Return whether nothing has been received since the last look."""
        self.stalled = self.received_bytes == self._seen_bytes
        self._seen_bytes = self.received_bytes
        return self.stalled

    def complete_body(self) -> None:
        """Check that a body without bytes is the one that was asked for, and that a coded one has come to its end; sets
        `fault` when it has not."""
        if self._sink is None:
            if self.download.resume_at:
                self._receive(b"")
        elif self._rest_bytes is not None and self.received_bytes != self._rest_bytes:
            self.is_other_part = True
        elif self.fault is None and self.download.decoder is not None:
            try:
                self.download.decoder.finish()
            except CodingError:
                self.fault = Reason.INVALID_RESPONSE

    def end(self, error: str | None) -> Attempt:
        """Return the attempt that has just ended."""
        address = self.handle.getinfo(pycurl.PRIMARY_IP) or None
        return Attempt(self.started, self.download.url.text, address, self.status, error, self.received_bytes)

    def close(self) -> None:
        """Free the handle."""
        self.handle.owner = None
        self.handle.close()

    def _set_up(self, settings: FetchSettings) -> None:
        option = self.handle.setopt
        option(pycurl.NOSIGNAL, 1)
        option(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        option(pycurl.FOLLOWLOCATION, 0)
        option(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        option(pycurl.USERAGENT, settings.user_agent)
        option(pycurl.CONNECTTIMEOUT_MS, int(settings.connect_timeout_seconds * 1_000))
        option(pycurl.TIMEOUT_MS, int(settings.total_timeout_seconds * 1_000))
        option(pycurl.LOW_SPEED_LIMIT, settings.low_speed_bytes_per_second)
        option(pycurl.LOW_SPEED_TIME, settings.low_speed_seconds)
        option(pycurl.MAXFILESIZE_LARGE, settings.max_object_bytes)
        option(pycurl.BUFFERSIZE, _RECEIVE_BUFFER_BYTES)
        option(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        # A bound `append` costs a tenth of a Python function, and most responses have some eight headers.
        option(pycurl.HEADERFUNCTION, self._lines.append)
        option(pycurl.WRITEFUNCTION, self._receive)
        certificates = next((os.environ[name] for name in _CA_FILE_VARIABLES if os.environ.get(name)), None)
        if certificates:
            option(pycurl.CAINFO, certificates)

    def _forget(self) -> None:
        self._lines.clear()
        self._is_head_read = False
        self.status, self.headers = None, _NO_HEADERS
        self._sink = None
        self._seen_bytes = -1
        self.stalled = False
        self.received_bytes = 0
        self.refused = self.fault = self.storage_error = None
        self.is_other_part = False
        self._rest_bytes: int | None = None

    def _open_socket(self, _purpose: int, target: Any) -> Any:
        family, kind, protocol, address = target
        if not self._addresses.allows(address[0], address[1]):
            self.refused = address[0]
            return pycurl.SOCKET_BAD
        try:
            return _Opened(socket.socket(family, kind, protocol).detach())
        except OSError as error:
            # Too many open files: this machine's fault, and no reason to give a request up.
            self.storage_error = error
            return pycurl.SOCKET_BAD

    def _receive(self, data: bytes) -> int | None:
        """Take a piece of the body; 0 tells libcurl to break off."""
        self.received_bytes += len(data)
        try:
            if self._sink is None:
                self._sink = self._choose_sink()
            self._sink(data)
        except BodyTooLarge:
            self.fault = Reason.OBJECT_TOO_LARGE
        except DecompressionBomb:
            self.fault = Reason.DECOMPRESSION_BOMB
        except (CodingError, _ResponseUnusable):
            self.fault = Reason.INVALID_RESPONSE
        except OSError as error:
            self.storage_error = error
        else:
            return None
        return 0

    def _choose_sink(self) -> Callable[[bytes], None]:
        self.read_head()
        download = self.download
        status = self.status or 0
        if status == 206:
            if not self._is_rest():
                self.is_other_part = bool(download.resume_at)
                raise _ResponseUnusable
        elif 200 <= status < 300:
            if download.resume_at:
                download.start_over()
            download.decoder = make_decoder(
                self.headers.get("content-encoding", ""), download.body.write, self._max_ratio
            )
        else:
            return self._drop
        return download.decoder.feed if download.decoder is not None else download.body.write

    def _is_rest(self) -> bool:
        """Return whether a part goes from where the body so far ends to the object's end, and is of the same object."""
        download, etag = self.download, self.headers.get("etag")
        found = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
        if found is None or not download.resume_at:
            return False
        first, last, total = map(int, found.groups())
        is_same = etag is None or not (download.validator or "").startswith('"') or etag == download.validator
        self._rest_bytes = total - first
        return first == download.resume_at and last + 1 == total and is_same

    def _drop(self, _data: bytes) -> None:
        if self.received_bytes > _MAX_ERROR_PAGE_BYTES:
            raise _ResponseUnusable


class _Opened:
    """A socket that is closed as soon as libcurl has taken its own duplicate of it."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)


class _ResponseUnusable(Exception):
    """The body cannot be used, whatever it says."""


def _conditions(download: Download) -> list[str]:
    if download.resume_at and download.validator:
        return [f"Range: bytes={download.resume_at}-", f"If-Range: {download.validator}"]
    stored = download.stored
    if stored is None:
        return []
    if stored.etag:
        return [f"If-None-Match: {stored.etag}"]
    return [f"If-Modified-Since: {stored.last_modified}"] if stored.last_modified else []


def _as_received(line: str) -> str | bytes:
    """Return a header with a server's own words; pycurl takes text only if it is ASCII."""
    return line if line.isascii() else line.encode("latin-1")
