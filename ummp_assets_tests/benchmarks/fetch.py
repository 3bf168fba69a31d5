"""Fetching, from Kafka messages to a committed `downloads` partition, against Celery with Redis, img2dataset and a bare
libcurl loop, all on the same nginx on loopback.

The project does the whole way: reads and parses the messages, keeps robots.txt and budgets, hashes, writes Parquet,
manifest and index. The peers do less: Celery's task runs `requests.get` and writes a file, img2dataset writes tar files
without decoding or resizing, the bare loop hashes and drops the bytes. A first round in each process is not counted.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter, time
from typing import Any

import pyarrow as pa

from ummp_assets.fetch.stage import download
from ummp_assets.messages.embedded.process import start_broker
from ummp_assets.messages.intake import read_requests
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.submitting import submit
from ummp_assets.records import REQUEST_SCHEMA
from ummp_assets.settings import FetchSettings, Settings, load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets.storage.stages import Manifest, StageWriter, read_table
from ummp_assets_tests.benchmarks.fetch_peers import (
    CELERY_PROCESSES,
    CELERY_THREADS,
    CeleryWorker,
    bare_pycurl,
    celery_worker,
    img2dataset,
)
from ummp_assets_tests.benchmarks.fetch_servers import Site, black_hole, serve_site, write_jpegs
from ummp_assets_tests.benchmarks.harness import Report, main, notice, ratio, take_turns

_CONNECTIONS = 32
# One host in a hundred is dead, one in a hundred slow.
_HOST_PART, _DEAD, _SLOW = 100, 1, 2
_LARGE_BYTES = 2_000_000_000


@dataclass(frozen=True)
class _Sizes:
    files: int
    celery_files: int
    rounds: int
    hosts: int
    files_per_host: int
    host_rounds: int
    large: bool


_FULL = _Sizes(4_000, 1_000, 5, 10_000, 5, 3, large=True)
_QUICK = _Sizes(1_500, 300, 2, 1_000, 5, 1, large=False)


def measure(quick: bool) -> Report:
    """Measure the project and its peers in turn."""
    sizes = _QUICK if quick else _FULL
    report = Report()
    with tempfile.TemporaryDirectory(prefix="ummp-fetch-") as name, ExitStack() as stack:
        folder = Path(name)
        # nginx's workers are another user where it is started by root.
        folder.chmod(0o755)
        names = write_jpegs(folder / "www", sizes.files)
        site = stack.enter_context(serve_site(folder / "www", folder / "nginx"))
        _measure_peers(sizes, folder, site, names, report)
        _measure_dead_hosts(sizes, folder, site, names, report)
        if sizes.large:
            _measure_memory(folder, site, names, report)
    return report


def _measure_peers(sizes: _Sizes, folder: Path, site: Site, names: Sequence[str], report: Report) -> None:
    rounds = count()

    def urls(number: int) -> list[str]:
        # Another query each time: an unchanged URL would only be asked whether it has changed.
        turn = next(rounds)
        return [f"http://127.0.0.1:{site.port}/{name}?{turn}" for name in names[:number]]

    with ExitStack() as stack:
        broker = stack.enter_context(start_broker(folder / "broker"))
        project = _Project(folder / "home", broker.bootstrap_servers)
        contenders: dict[str, Callable[[], float]] = {
            "project": lambda: project.files_per_second(urls(sizes.files)),
            "bare_pycurl": lambda: bare_pycurl(urls(sizes.files), _CONNECTIONS),
        }
        for name, pool in (("celery_redis", CELERY_THREADS), ("celery_redis_processes", CELERY_PROCESSES)):
            worker = stack.enter_context(celery_worker(urls(50), pool))
            if worker is not None:
                contenders[name] = partial(_celery, worker, sizes.celery_files, urls)
        first = img2dataset(urls(200), folder / "img2dataset")
        if first is not None:
            contenders["img2dataset_download"] = lambda: img2dataset(urls(sizes.files), folder / "img2dataset") or 0.0
        for name in ("project", "bare_pycurl"):
            contenders[name]()
        figures = take_turns(contenders, sizes.rounds)
    for name, found in figures.items():
        report.rows += [{"what": name, "files_per_second": figure} for figure in found]
        if name != "project":
            report.ratios[f"vs_{name}"] = ratio(figures["project"], found)


def _celery(worker: CeleryWorker, files: int, urls: Callable[[int], list[str]]) -> float:
    return worker.files_per_second(urls(files))


class _Project:
    """A deployment on the embedded broker, SQLite and a local folder."""

    def __init__(self, home: Path, bootstrap_servers: str | None = None, **fetch: Any) -> None:
        rules = FetchSettings(
            allowed_addresses=("127.0.0.0/8",),
            max_connections=_CONNECTIONS,
            max_connections_per_host=_CONNECTIONS,
            connect_timeout_seconds=2.0,
            **fetch,
        )
        self.settings: Settings = load_settings(home=home, kafka_bootstrap_servers=bootstrap_servers, fetch=rules)
        self.store = open_store(self.settings)
        self.index = open_index(self.settings)
        self._numbers = count(1)

    def files_per_second(self, urls: Sequence[str]) -> float:
        """Submit the URLs, then measure from the messages in Kafka to the committed partition."""
        sent = submit(urls, dataset="benchmark", settings=self.settings)
        spans = sorted(sent.offsets.items())
        ranges = tuple(OffsetRange(partition, span.first, span.last + 1) for partition, span in spans)
        batch = OffsetLog(self.store).put(Batch(sent.topic, next(self._numbers), ranges), datetime.now(UTC))
        began = perf_counter()
        read_requests(self.store, self.settings, batch.key)
        manifest = download(self.store, self.index, self.settings, batch.key)
        seconds = perf_counter() - began
        if manifest.rows("samples") != len(urls):
            raise ValueError(f"{manifest.rows('samples')} of {len(urls)} files were fetched: {manifest.outcomes}")
        # As the peers' files of the round before: else this one alone would fill fresh memory in every round.
        for entries in manifest.tables.values():
            for entry in entries:
                self.store.delete(entry.path)
        return len(urls) / seconds

    def download(self, urls: Sequence[str]) -> tuple[Manifest, float]:
        """Fetch the URLs from a committed `requests` stage on; return what was committed, and the seconds."""
        batch = f"ummp.requests.normal~{next(self._numbers):08d}"
        rows = [
            {
                **dict.fromkeys(REQUEST_SCHEMA.names),
                "sample_id": f"ummp.requests.normal~0~{number}",
                "dataset": "benchmark",
                "topic": "ummp.requests.normal",
                "partition": 0,
                "offset": number,
                "timestamp_ms": 0,
                "uri": url,
                "modality": "auto",
                "value": b"",
            }
            for number, url in enumerate(urls)
        ]
        with StageWriter(self.store, "requests", batch, {"samples": REQUEST_SCHEMA}) as writer:
            writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=REQUEST_SCHEMA))
            writer.commit(code_version="1")
        began = perf_counter()
        manifest = download(self.store, self.index, self.settings, batch)
        return manifest, perf_counter() - began


def _measure_dead_hosts(sizes: _Sizes, folder: Path, site: Site, names: Sequence[str], report: Report) -> None:
    """Many hosts, each an address of its own in 127.0.0.0/8; then the same with one in a hundred dead and one slow.

    The throughput is that of the hosts that are well in both cases, until the last of their files. The whole batch ends
    later where there are others: a dead host is given two attempts of two seconds.
    """
    with black_hole() as dead_port:

        def run(name: str, ports: tuple[int, int]) -> float:
            urls = _many_hosts(sizes, names, site.port, *ports)
            with tempfile.TemporaryDirectory(dir=folder) as home:
                project = _Project(Path(home))
                manifest, seconds = project.download(urls)
                began = time() - seconds
                files, last = _well_hosts(project, manifest, sizes)
            row = {"what": name, "hosts": sizes.hosts, "files": manifest.rows("samples"), "batch_seconds": seconds}
            report.rows.append({**row, "files_per_second": files / (last - began)})
            return files / (last - began)

        troubled, well = (dead_port, site.slow_port), (site.port, site.port)
        run("warm_up", well)
        turns = {"dead_hosts": lambda: run("dead_hosts", troubled), "all_alive": lambda: run("all_alive", well)}
        figures = take_turns(turns, sizes.host_rounds)
    report.ratios["dead_hosts"] = ratio(figures["dead_hosts"], figures["all_alive"])


def _well_hosts(project: "_Project", manifest: Manifest, sizes: _Sizes) -> tuple[int, float]:
    """Return how many files came from hosts that are well, and when the last of them was asked for, in Unix seconds."""
    files, last = 0, 0.0
    for rows in read_table(project.store, manifest, "samples", columns=["sample_id", "fetched_at"]):
        for row in rows.to_pylist():
            host = int(row["sample_id"].rpartition("~")[2]) % sizes.hosts
            if host % _HOST_PART not in (_DEAD, _SLOW):
                files += 1
                last = max(last, datetime.fromisoformat(row["fetched_at"]).timestamp())
    return files, last


def _many_hosts(sizes: _Sizes, names: Sequence[str], port: int, dead_port: int, slow_port: int) -> list[str]:
    ports = {_DEAD: dead_port, _SLOW: slow_port}
    urls = []
    for file in range(sizes.files_per_host):
        for host in range(sizes.hosts):
            at = ports.get(host % _HOST_PART, port)
            name = names[(host * sizes.files_per_host + file) % len(names)]
            urls.append(f"http://127.{1 + host // 65_536}.{host // 256 % 256}.{host % 256}:{at}/{name}")
    return urls


def _measure_memory(folder: Path, site: Site, names: Sequence[str], report: Report) -> None:
    """One object of 2 GB and 10,000 small ones in one batch, in a process of its own."""
    with (folder / "www" / "large.bin").open("wb") as file:
        file.write(b"fLaC")
        file.truncate(_LARGE_BYTES)
    command = [
        sys.executable,
        "-m",
        "ummp_assets_tests.benchmarks.fetch",
        "--peak",
        str(folder / "peak"),
        str(site.port),
    ]
    done = subprocess.run([*command, *names], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2_000:])
    fetched, peak_mib, seconds = done.stdout.split()
    row = {"what": "2 GB and 10,000 small objects", "fetched": int(fetched)}
    report.rows.append({**row, "peak_mib": float(peak_mib), "seconds": float(seconds)})
    notice(f"peak memory {peak_mib} MiB")


def _peak(home: str, port: str, names: Sequence[str]) -> None:
    site = f"http://127.0.0.1:{port}"
    urls = [f"{site}/large.bin", *(f"{site}/{names[number % len(names)]}?{number}" for number in range(10_000))]
    manifest, seconds = _Project(Path(home)).download(urls)
    # `ru_maxrss` would begin with what the parent held at the fork.
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    peak_mib = int(line.split()[1]) / 1_024
    print(manifest.rows("samples"), round(peak_mib, 1), round(seconds, 2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        _peak(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        main(__name__, measure, __doc__ or "")
