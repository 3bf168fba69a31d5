"""An S3 server on loopback for tests, in a process of its own: moto's, one request at a time.

Its check of `If-None-Match` and the put that follows are two steps; a second thread could come in between, which S3
itself does not allow. In the bucket `TERSE_BUCKET` a refusal does not say which condition failed, as not every server
that speaks S3 does.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
import pytest

__all__ = ["TERSE_BUCKET", "run_s3_server", "s3_environment"]

TERSE_BUCKET = "ummp-terse"


@contextmanager
def run_s3_server() -> Iterator[str]:
    """Run a server without buckets and yield its endpoint URL."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().strip()
            assert endpoint, f"the S3 server ended with code {process.wait()}"
            yield endpoint
        finally:
            process.kill()


@contextmanager
def s3_environment() -> Iterator[None]:
    """Run a server that the environment names.

    s3fs keeps a file system for each set of arguments, and the environment is none of them: one that was made for
    another server is forgotten on both ends.
    """
    files = fsspec.get_filesystem_class("s3")
    with run_s3_server() as endpoint, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files.clear_instance_cache()
        yield
    files.clear_instance_cache()


def _serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    complete = DomainDispatcherApplication(create_backend_app)

    def terse(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = b"".join(complete(environment, start_response))
        if environment["PATH_INFO"].startswith(f"/{TERSE_BUCKET}/"):
            # Spaces keep the length that was announced.
            condition = b"<Condition>If-None-Match</Condition>"
            answer = answer.replace(condition, b" " * len(condition))
        return [answer]

    server = make_server("127.0.0.1", 0, terse, threaded=False)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve()
