"""Requests to image features, against img2dataset; and the cleaning alone, against a bare OpenCV loop.

    python -m ummp_assets_tests.benchmarks.images [--quick] [--json]

`vs_img2dataset`: JPEGs of 500 x 400 on a server on loopback are downloaded, resized and cropped to 256 x 256 and
written as Parquet; `_photos` is of a quarter as many of 1,600 x 1,200, some 200 kB each. Ours runs the stages
`downloads`, `clean_images` and `image_features` one after the other: the files are stored, their pixels are stored as
they are (196 kB each), hashed and looked up among exact and near duplicates, every page and file has its checksum, and
what is committed is flushed to the disk. img2dataset 1.47 runs 2 processes of 32 threads; it stores the squares as JPEG
of quality 95 (some 30 kB), hashes the files it fetched, and flushes nothing.
`vs_img2dataset` has its seconds from its own statistics, without its start; `vs_img2dataset_command` those of the whole
command, and its CPU seconds include the start as well.

`vs_bare_opencv`: `clean_images` over stored bytes against OpenCV's decode, resize (areas) and crop in a thread per core
that keeps nothing. Of 500 x 400 it makes 1,050 to 1,220 a second on two cores, twice what img2dataset's statistics say:
three times those would be more than decoding and resizing leave. Large JPEGs are decoded at a part of their size, which
neither peer does. Cuts of one photograph overlap, so only equal hashes count as near duplicates here.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import numpy.typing as npt

from ummp_assets.clean.image_stage import clean_images
from ummp_assets.features.image_stage import image_features
from ummp_assets.fetch.stage import download
from ummp_assets.parallel.cores import available_cores
from ummp_assets.parallel.opencv_threads import one_opencv_thread
from ummp_assets.settings import CleanSettings, FetchSettings, ImageSettings, Settings, load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets.storage.stages import Manifest
from ummp_assets_tests.benchmarks.harness import Report, main, notice, peer_python, ratio, take_turns
from ummp_assets_tests.benchmarks.media_contents import cut_photographs
from ummp_assets_tests.clean.downloads import put_downloads, raw_row
from ummp_assets_tests.fetch.batches import BATCH, commit_requests, request_row

_PEER = ["img2dataset==1.47.0"]
_SIDE = 256

_NGINX_SETTINGS = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000; types {{ image/jpeg jpg; }}
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def write_images(folder: Path, count: int, size: tuple[int, int]) -> list[bytes]:
    """Write JPEGs as `0.jpg`, `1.jpg`, ... and return their bytes."""
    contents = list(cut_photographs(count, *size))
    for number, data in enumerate(contents):
        (folder / f"{number}.jpg").write_bytes(data)
    return contents


@contextmanager
def serving(root: Path) -> Iterator[str | None]:
    """Serve a folder with nginx on loopback; give None with a notice where nginx is not installed."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        notice("left out: nginx is not installed (Debian: apt-get install nginx-light)")
        yield None
        return
    with socket.socket() as free, TemporaryDirectory() as name:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        configuration = Path(name, "nginx.conf")
        configuration.write_text(_NGINX_SETTINGS.format(folder=name, port=port, root=root), encoding="utf-8")
        arguments = [nginx, "-c", str(configuration)]
        if os.geteuid() == 0:
            # It would read the files as another user, who may not enter a temporary folder.
            arguments += ["-g", "user root;"]
        server = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError("nginx did not start")


def _settings(home: Path) -> Settings:
    fetch = FetchSettings(allowed_addresses=("127.0.0.0/8",), max_connections=64, max_connections_per_host=64)
    clean = CleanSettings(image=ImageSettings(side_pixels=_SIDE, near_duplicate_bits=0))
    return load_settings(home=home, fetch=fetch, clean=clean)


@dataclass(frozen=True, slots=True)
class Speed:
    """What one run of a contender came to; CPU seconds also tell on a machine that others use.

    Parameters
    ----------
    command_seconds:
        With the start and end of its process, where it is a command of its own.
    stages:
        Seconds and CPU seconds of its parts, by name.
    """

    images: int
    seconds: float
    cpu_seconds: float
    command_seconds: float | None = None
    stages: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def run_stages(urls: list[str]) -> Speed:
    """Run from the committed requests to the committed features."""
    with TemporaryDirectory() as name:
        settings = _settings(Path(name))
        store, index = open_store(settings), open_index(settings)
        commit_requests(store, [request_row(number, url, "image") for number, url in enumerate(urls)])
        stages: dict[str, tuple[float, float]] = {}
        runs: dict[str, Callable[[], Manifest]] = {
            "downloads": partial(download, store, index, settings, BATCH),
            "clean_images": partial(clean_images, store, index, settings, BATCH),
            "image_features": partial(image_features, store, settings, BATCH),
        }
        for stage, run in runs.items():
            began, used = time.perf_counter(), time.process_time()
            rows = run().rows("samples")
            stages[stage] = time.perf_counter() - began, time.process_time() - used
        index.close()
    assert rows > 0.97 * len(urls), f"only {rows} of {len(urls)} images came through"
    seconds, cpu_seconds = (sum(figures) for figures in zip(*stages.values(), strict=True))
    return Speed(rows, seconds, cpu_seconds, stages=stages)


def run_img2dataset(python: Path, urls: list[str]) -> Speed:
    """Run img2dataset; seconds are those inside its workers, those of the command and the CPU seconds include its
    start."""
    with TemporaryDirectory() as name:
        Path(name, "urls.txt").write_text("\n".join(urls), encoding="utf-8")
        options = {
            "url_list": f"{name}/urls.txt",
            "input_format": "txt",
            "output_folder": f"{name}/out",
            "output_format": "parquet",
            "image_size": str(_SIDE),
            "resize_mode": "center_crop",
            "processes_count": "2",
            "thread_count": "32",
            "number_sample_per_shard": str(max(1, len(urls) // 4)),
            "enable_wandb": "False",
        }
        arguments = [f"--{key}={value}" for key, value in options.items()]
        before, began = os.times(), time.perf_counter()
        subprocess.run([python.parent / "img2dataset", *arguments], check=True, capture_output=True)
        after, command_seconds = os.times(), time.perf_counter() - began
        statistics = [json.loads(path.read_text()) for path in sorted(Path(name, "out").glob("*_stats.json"))]
    successes = sum(shard["successes"] for shard in statistics)
    assert successes > 0.97 * len(urls), f"only {successes} of {len(urls)} images came through"
    seconds = max(shard["end_time"] for shard in statistics) - min(shard["start_time"] for shard in statistics)
    cpu_seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return Speed(successes, seconds, cpu_seconds, command_seconds)


def run_clean(contents: list[bytes]) -> Speed:
    """Run the stage `clean_images` alone."""
    with TemporaryDirectory() as name:
        settings = _settings(Path(name))
        store, index = open_store(settings), open_index(settings)
        put_downloads(store, [raw_row(number, data, modality="image") for number, data in enumerate(contents)])
        began, used = time.perf_counter(), time.process_time()
        clean_images(store, index, settings, BATCH)
        speed = Speed(len(contents), time.perf_counter() - began, time.process_time() - used)
        index.close()
    return speed


def run_bare_loop(contents: list[bytes]) -> Speed:
    """Run OpenCV's decode, resize and crop on all cores, keeping nothing."""
    began, used = time.perf_counter(), time.process_time()
    with one_opencv_thread(), ThreadPoolExecutor(available_cores()) as executor:
        for _ in executor.map(_decode_and_resize, contents):
            pass
    return Speed(len(contents), time.perf_counter() - began, time.process_time() - used)


def _decode_and_resize(data: bytes) -> npt.NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    height, width = pixels.shape[:2]
    scale = _SIDE / min(height, width)
    small = cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    top, left = (small.shape[0] - _SIDE) // 2, (small.shape[1] - _SIDE) // 2
    return np.array(small[top : top + _SIDE, left : left + _SIDE], np.uint8)


def measure(quick: bool) -> Report:
    count, rounds = (1_000, 3) if quick else (4_000, 5)
    report = Report()
    python = peer_python("img2dataset", _PEER)
    _measure_size(report, "", (500, 400), count, rounds, python)
    _measure_size(report, "_photos", (1_600, 1_200), count // 4, rounds, python)
    return report


def _measure_size(
    report: Report, suffix: str, size: tuple[int, int], count: int, rounds: int, python: Path | None
) -> None:
    with TemporaryDirectory() as name:
        contents = write_images(Path(name), count, size)
        bare = partial(run_bare_loop, contents)
        compare(report, f"vs_bare_opencv{suffix}", partial(run_clean, contents), bare, rounds)
        with serving(Path(name)) as address:
            if python is not None and address is not None:
                urls = [f"{address}/{number}.jpg" for number in range(count)]
                peer = partial(run_img2dataset, python, urls)
                compare(report, f"vs_img2dataset{suffix}", partial(run_stages, urls), peer, rounds)


def compare(report: Report, name: str, project: Callable[[], Speed], peer: Callable[[], Speed], rounds: int) -> None:
    """Measure both in turn, and report the ratios of images per second and per CPU second."""
    per_cpu_second: dict[str, list[float]] = {"ummp": [], "peer": []}
    of_command: list[float] = []
    fastest: dict[str, Speed] = {}

    def run(contender: str, work: Callable[[], Speed]) -> float:
        speed = work()
        fastest[contender] = min(speed, fastest.get(contender, speed), key=lambda one: one.seconds)
        per_cpu_second[contender].append(speed.images / speed.cpu_seconds)
        if speed.command_seconds is not None:
            of_command.append(speed.images / speed.command_seconds)
        return speed.images / speed.seconds

    per_second = take_turns({"ummp": partial(run, "ummp", project), "peer": partial(run, "peer", peer)}, rounds)
    for contender in ("ummp", "peer"):
        report.rows.append(
            {
                "ratio": name,
                "contender": contender,
                "images_per_second": max(per_second[contender]),
                "images_per_cpu_second": max(per_cpu_second[contender]),
            }
        )
    for stage, (seconds, cpu_seconds) in fastest["ummp"].stages.items():
        report.rows.append({"ratio": name, "stage": stage, "seconds": seconds, "cpu_seconds": cpu_seconds})
    report.ratios[name] = ratio(per_second["ummp"], per_second["peer"])
    report.ratios[f"{name}_cpu"] = ratio(per_cpu_second["ummp"], per_cpu_second["peer"])
    if of_command:
        report.ratios[f"{name}_command"] = ratio(per_second["ummp"], of_command)


if __name__ == "__main__":
    main(__name__, measure, __doc__ or "")
