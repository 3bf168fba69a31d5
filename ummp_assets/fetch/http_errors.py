"""What a failed transfer means: the reason that is kept, and whether another try may help."""

from dataclasses import dataclass

import pycurl

from ummp_assets.fetch.http_transfer import HttpTransfer
from ummp_assets.reasons import Reason

__all__ = ["REDIRECTS", "Verdict", "judge", "judge_curl_error", "judge_status", "refused_text"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an attempt failed, in a sentence, and whether the same request may succeed later."""

    reason: Reason
    transient: bool
    error: str = ""


# Client errors that pass: timeout, too early, too many requests (RFC 9110, RFC 8470, RFC 6585).
_TRANSIENT_CLIENT_ERRORS = frozenset({408, 425, 429})
# Server errors that stay: not implemented, HTTP version not supported.
_PERMANENT_SERVER_ERRORS = frozenset({501, 505})

# CURLE_TOO_LARGE, which pycurl does not name: one header beyond libcurl's limit of 100 kB.
_E_TOO_LARGE = 100
# For all headers together libcurl's limit is 300 kB, and its error the same as for a broken connection.
_ENDLESS_HEADER_BYTES = 250_000

_CURL_VERDICTS = {
    pycurl.E_UNSUPPORTED_PROTOCOL: (Reason.UNSUPPORTED_SCHEME, False),
    pycurl.E_URL_MALFORMAT: (Reason.INVALID_URI, False),
    pycurl.E_COULDNT_RESOLVE_PROXY: (Reason.NAME_NOT_RESOLVED, True),
    pycurl.E_COULDNT_RESOLVE_HOST: (Reason.NAME_NOT_RESOLVED, True),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: (Reason.INVALID_RESPONSE, False),
    pycurl.E_PARTIAL_FILE: (Reason.TRUNCATED_BODY, True),
    pycurl.E_OPERATION_TIMEDOUT: (Reason.TIMED_OUT, True),
    pycurl.E_SSL_CONNECT_ERROR: (Reason.TLS_FAILED, True),
    pycurl.E_PEER_FAILED_VERIFICATION: (Reason.TLS_FAILED, False),
    pycurl.E_SSL_CACERT_BADFILE: (Reason.TLS_FAILED, False),
    pycurl.E_FILESIZE_EXCEEDED: (Reason.OBJECT_TOO_LARGE, False),
    _E_TOO_LARGE: (Reason.INVALID_RESPONSE, False),
}


def judge(transfer: HttpTransfer, code: int, message: str) -> Verdict | None:
    """Return what is wrong with a transfer that has ended with a libcurl code, None when it has succeeded, be it with
    a redirect or with the news that nothing has changed."""
    status = transfer.status
    if transfer.is_other_part:
        return Verdict(Reason.INVALID_RESPONSE, True, "The server sent another part than the rest that was asked for")
    if status == 416 and transfer.download.resume_at:
        return Verdict(Reason.HTTP_CLIENT_ERROR, True, "The server has no such rest as was asked for")
    if transfer.fault is not None and status is not None and 200 <= status < 300:
        return Verdict(transfer.fault, False, transfer.fault.meaning.rstrip("."))
    if transfer.refused is not None and code == pycurl.E_COULDNT_CONNECT:
        return Verdict(Reason.ADDRESS_REFUSED, False, refused_text(transfer.refused))
    if code == pycurl.E_RECV_ERROR and transfer.header_bytes > _ENDLESS_HEADER_BYTES:
        return Verdict(Reason.INVALID_RESPONSE, False, message)
    if code not in (0, pycurl.E_WRITE_ERROR):
        return judge_curl_error(code, message)
    if status == 304 and transfer.download.stored is not None:
        return None
    if status in REDIRECTS and transfer.handle.getinfo(pycurl.REDIRECT_URL):
        return None
    return judge_status(status or 0)


def judge_status(status: int) -> Verdict | None:
    """Return what is wrong with an HTTP status, None for success."""
    if 200 <= status < 300:
        return None
    error = f"The server answered {status}"
    if status in _TRANSIENT_CLIENT_ERRORS or status >= 500:
        return Verdict(Reason.HTTP_SERVER_ERROR, status not in _PERMANENT_SERVER_ERRORS, error)
    return Verdict(Reason.HTTP_CLIENT_ERROR, False, error)


def judge_curl_error(code: int, message: str = "") -> Verdict:
    """Return what a libcurl error code (CURLE_*) means; codes not listed are broken connections."""
    reason, transient = _CURL_VERDICTS.get(code, (Reason.CONNECTION_FAILED, True))
    return Verdict(reason, transient, f"{message or 'The transfer broke'} (libcurl error {code})")


def refused_text(address: str) -> str:
    """Return the sentence for an address that policy does not let be talked to."""
    return f"The address {address} is not public and not in fetch.allowed_addresses"
