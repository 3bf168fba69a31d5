"""The peers of the benchmark `fetch`, each at its own best: Celery with Redis, img2dataset, and a bare libcurl loop."""

import hashlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pycurl

from ummp_assets_tests.benchmarks.fetch_servers import free_port
from ummp_assets_tests.benchmarks.harness import notice, peer_python

__all__ = ["CELERY_PROCESSES", "CELERY_THREADS", "CeleryWorker", "bare_pycurl", "celery_worker", "img2dataset"]

_CELERY = ["celery[redis]==5.5.3", "requests==2.32.5"]
_IMG2DATASET = ["img2dataset==1.47.0"]

CELERY_THREADS = ("--pool=threads", "--concurrency=32")
CELERY_PROCESSES = ("--pool=prefork", "--concurrency=2")

_CELERY_TASKS = """
import hashlib, os, pathlib, sys
import requests
from celery import Celery
app = Celery("peer", broker=os.environ["PEER_REDIS"])
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 32
target = pathlib.Path(os.environ["PEER_TARGET"])

@app.task(name="peer.fetch")
def fetch(url):
    content = requests.get(url, timeout=30).content
    (target / hashlib.sha256(content).hexdigest()).write_bytes(content)

if __name__ == "__main__":
    for line in sys.stdin:
        fetch.delay(line.strip())
"""

_IMG2DATASET_CALL = """
import sys, time
from img2dataset import download
if __name__ == "__main__":
    began = time.perf_counter()
    download(url_list=sys.argv[1], output_folder=sys.argv[2], processes_count=2, thread_count=32, input_format="txt",
             output_format="webdataset", resize_mode="no", skip_reencode=True, disable_all_reencoding=True,
             number_sample_per_shard=1000, enable_wandb=False, timeout=30, disallowed_header_directives=[])
    print("SECONDS", time.perf_counter() - began)
"""


def bare_pycurl(urls: Sequence[str], connections: int) -> float:
    """Return files per second of a loop that only hashes what it downloads and drops it: the limit of the library."""
    multi = pycurl.CurlMulti()
    idle: list[Any] = []
    for _ in range(connections):
        handle = pycurl.Curl()
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.BUFFERSIZE, 131_072)
        idle.append(handle)
    began = time.perf_counter()
    waiting, done = iter(urls), 0
    while done < len(urls):
        while idle and (url := next(waiting, None)) is not None:
            handle = idle.pop()
            handle.hash = hashlib.sha256()
            handle.setopt(pycurl.URL, url)
            handle.setopt(pycurl.WRITEFUNCTION, handle.hash.update)
            multi.add_handle(handle)
        multi.perform()
        queued = 1
        while queued:
            queued, succeeded, failed = multi.info_read()
            if failed:
                raise ConnectionError(str(failed))
            for handle in succeeded:
                multi.remove_handle(handle)
                handle.hash.hexdigest()
                idle.append(handle)
                done += 1
        if not idle:
            multi.select(1.0)
    seconds = time.perf_counter() - began
    multi.close()
    return len(urls) / seconds


class CeleryWorker:
    """A running worker that keeps no results and fetches its messages in lots, both of which make it faster."""

    def __init__(self, python: Path, folder: Path, redis_port: int, pool: Sequence[str]) -> None:
        self._python, self._folder = python, folder
        self._target = folder / "files"
        self._target.mkdir()
        (folder / "peer_tasks.py").write_text(_CELERY_TASKS)
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "PEER_REDIS": f"redis://127.0.0.1:{redis_port}/0",
            "PEER_TARGET": str(self._target),
            "PYTHONPATH": str(folder),
        }
        self.process = subprocess.Popen(
            [python, "-m", "celery", "-A", "peer_tasks", "worker", *pool],
            cwd=folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def files_per_second(self, urls: Sequence[str]) -> float:
        """Return files per second from the first message to the last file."""
        shutil.rmtree(self._target)
        self._target.mkdir()
        began = time.perf_counter()
        subprocess.run(
            [self._python, self._folder / "peer_tasks.py"],
            input="\n".join(urls),
            text=True,
            env=self._environment,
            check=True,
        )
        while len(list(self._target.iterdir())) < len(urls):
            if time.perf_counter() - began > 120:
                raise TimeoutError("the Celery worker has not fetched everything in two minutes")
            time.sleep(0.02)
        return len(urls) / (time.perf_counter() - began)


@contextmanager
def celery_worker(warm_up: Sequence[str], pool: Sequence[str]) -> Iterator[CeleryWorker | None]:
    """Run Redis and a worker, warmed up; yield None with a notice where they can't be had.

    Parameters
    ----------
    pool:
        The worker's options, `CELERY_THREADS` or `CELERY_PROCESSES`: which is faster depends on the machine.
    """
    redis, python = shutil.which("redis-server"), peer_python("celery", _CELERY)
    if redis is None:
        notice("left out: redis-server is not installed (Debian: redis-server)")
    if redis is None or python is None:
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        server = subprocess.Popen(
            [redis, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name], stdout=subprocess.DEVNULL
        )
        worker = CeleryWorker(python, Path(name), port, pool)
        try:
            worker.files_per_second(warm_up)
            yield worker
        finally:
            for process in (worker.process, server):
                process.terminate()
                process.wait()


def img2dataset(urls: Sequence[str], folder: Path) -> float | None:
    """Return files per second of img2dataset with two processes of 32 threads, downloading without decoding or
    resizing; None with a notice where it can't be had."""
    python = peer_python("img2dataset", _IMG2DATASET)
    if python is None:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "urls.txt").write_text("\n".join(urls))
    (folder / "call.py").write_text(_IMG2DATASET_CALL)
    done = subprocess.run(
        [python, folder / "call.py", folder / "urls.txt", folder / "out"],
        env={"PATH": "/usr/bin:/bin", "NO_ALBUMENTATIONS_UPDATE": "1", "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    seconds = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("SECONDS")]
    if not seconds:
        notice(f"left out: img2dataset failed: {done.stderr.strip()[-500:]}")
        return None
    return len(urls) / float(seconds[0])
