"""What an HTTP status or a libcurl error code means: the reason that is kept, and whether another try may help."""

from dataclasses import dataclass

import pycurl

from ummp_assets.reasons import Reason

__all__ = ["Verdict", "judge_curl_error", "judge_status"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an attempt failed and whether the same request may succeed later."""

    reason: Reason
    transient: bool


# Client errors that pass: timeout, too early, too many requests (RFC 9110, RFC 8470, RFC 6585).
_TRANSIENT_CLIENT_ERRORS = frozenset({408, 425, 429})
# Server errors that stay: not implemented, HTTP version not supported.
_PERMANENT_SERVER_ERRORS = frozenset({501, 505})

# CURLE_TOO_LARGE, which pycurl does not name: a header or all headers beyond libcurl's limits (100 kB, 300 kB).
_E_TOO_LARGE = 100

_CURL_VERDICTS = {
    pycurl.E_UNSUPPORTED_PROTOCOL: Verdict(Reason.UNSUPPORTED_SCHEME, transient=False),
    pycurl.E_URL_MALFORMAT: Verdict(Reason.INVALID_URI, transient=False),
    pycurl.E_COULDNT_RESOLVE_PROXY: Verdict(Reason.NAME_NOT_RESOLVED, transient=True),
    pycurl.E_COULDNT_RESOLVE_HOST: Verdict(Reason.NAME_NOT_RESOLVED, transient=True),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: Verdict(Reason.INVALID_RESPONSE, transient=False),
    pycurl.E_PARTIAL_FILE: Verdict(Reason.TRUNCATED_BODY, transient=True),
    pycurl.E_OPERATION_TIMEDOUT: Verdict(Reason.TIMED_OUT, transient=True),
    pycurl.E_SSL_CONNECT_ERROR: Verdict(Reason.TLS_FAILED, transient=True),
    pycurl.E_PEER_FAILED_VERIFICATION: Verdict(Reason.TLS_FAILED, transient=False),
    pycurl.E_SSL_CACERT_BADFILE: Verdict(Reason.TLS_FAILED, transient=False),
    pycurl.E_FILESIZE_EXCEEDED: Verdict(Reason.OBJECT_TOO_LARGE, transient=False),
    _E_TOO_LARGE: Verdict(Reason.INVALID_RESPONSE, transient=False),
}


def judge_status(status: int) -> Verdict | None:
    """Return what is wrong with a final HTTP status, None for success; redirects are followed before this is asked."""
    if 200 <= status < 300:
        return None
    if status in _TRANSIENT_CLIENT_ERRORS or status >= 500:
        return Verdict(Reason.HTTP_SERVER_ERROR, transient=status not in _PERMANENT_SERVER_ERRORS)
    return Verdict(Reason.HTTP_CLIENT_ERROR, transient=False)


def judge_curl_error(code: int) -> Verdict:
    """Return what a libcurl error code (CURLE_*) means; codes not listed are broken connections."""
    return _CURL_VERDICTS.get(code) or Verdict(Reason.CONNECTION_FAILED, transient=True)
