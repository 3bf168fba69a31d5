"""An HTTP server on loopback for the sample content."""

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ummp_assets.cli.demo.content import Sample

__all__ = ["SampleServer", "serve"]


@contextmanager
def serve(samples: Iterable[Sample], unsteady: Iterable[str] = ()) -> Iterator["SampleServer"]:
    """Serve samples on 127.0.0.1 while the `with` block lasts.

    Parameters
    ----------
    unsteady:
        Paths that answer 503 with `Retry-After: 1` when they are first asked for.
    """
    server = SampleServer({f"/{sample.path}": sample for sample in samples}, {f"/{path}" for path in unsteady})
    thread = threading.Thread(target=server.serve_forever, name="sample-content", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class SampleServer(ThreadingHTTPServer):
    """Serves samples from any number of threads; an address that it does not know is a 404."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, samples: Mapping[str, Sample], unsteady: set[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.samples, self.unsteady = samples, unsteady
        self.asked: Counter[str] = Counter()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet when a client went away; report everything else."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    @property
    def served(self) -> int:
        """Samples that were asked for at least once."""
        return len(self.samples.keys() & self.asked.keys())


class _Handler(BaseHTTPRequestHandler):
    server: SampleServer
    protocol_version = "HTTP/1.1"
    # Head and body in one piece: apart, the second waits 40 ms for the acknowledgement of the first.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        sample = self.server.samples.get(self.path)
        if sample is None:
            self._answer(HTTPStatus.NOT_FOUND, b"no such sample\n")
        elif self.path in self.server.unsteady and self.server.asked[self.path] == 1:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"ask again\n", {"Retry-After": "1"})
        else:
            self._answer(HTTPStatus.OK, sample.read(), {"Content-Type": sample.media_type})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet: what became of each request is in the outcomes."""

    def _answer(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", **(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
