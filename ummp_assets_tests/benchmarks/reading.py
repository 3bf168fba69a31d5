"""Reading a dataset for training, against WebDataset and MosaicML Streaming (MDS) on the same samples.

Each reads whole epochs, shuffled, from local disk in one process, and hands out batches of 64: images of 256 x 256 as
stacked uint8 arrays, texts as arrays of token ids. The peers get plain arrays (`npy`, `ndarray`), which need no
decoding. A ratio is the worse one of images and texts.
"""

import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.exports.mds import export_mds
from ummp_assets.datasets.exports.webdataset import export_webdataset
from ummp_assets.datasets.reader import Dataset, open_dataset
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.stream import BatchStream
from ummp_assets.records import IMAGE_FEATURE_SCHEMA, TEXT_FEATURE_SCHEMA, TEXT_SCHEMA, image_schema
from ummp_assets.settings import DatasetSettings, Settings, load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets.storage.stages import StageWriter
from ummp_assets_tests.benchmarks.harness import Report, main, notice, peer_python, ratio, take_turns
from ummp_assets_tests.datasets.batches import put_batch

_Array = np.ndarray[Any, np.dtype[Any]]

_BATCH_ROWS = 64
_SIDE = 256

_WEBDATASET = """
import json, sys, time, webdataset
folder, part, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
import glob, numpy
tars = sorted(glob.glob(folder + "/*.tar"))
def epoch():
    dataset = webdataset.WebDataset(tars, shardshuffle=len(tars), empty_check=False).shuffle(1000).decode()
    return dataset.to_tuple(part + ".npy", "json")
def collate(rows):
    return numpy.stack([row[0] for row in rows]) if part == "image" else [row[0] for row in rows]
"""

_MDS = """
import json, sys, time, numpy
from streaming import StreamingDataset
folder, part, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
dataset = StreamingDataset(local=folder, shuffle=True, batch_size=64, num_canonical_nodes=1)
def epoch():
    return dataset
def collate(rows):
    return numpy.stack([row[part] for row in rows]) if part == "image" else [row[part] for row in rows]
"""

_LOOP = """
def read():
    rows = count = 0
    batch, seen = [], 0
    for row in epoch():
        batch.append(row)
        if len(batch) == 64:
            seen += touch(collate(batch)); count += 64; batch = []
    if batch:
        seen += touch(collate(batch)); count += len(batch)
    return count
def touch(batch):
    return int(batch[:, ::64, ::64].sum()) if part == "image" else sum(int(ids[-1]) for ids in batch)
read()
began, used, count = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - began < seconds:
    count += read()
print(json.dumps([count / (time.perf_counter() - began), count / (time.process_time() - used)]))
"""

# By reader and modality, samples per second of processor time: what is left of a difference on a machine that is busy.
_CPU_RATES: dict[str, list[float]] = {}


def measure(quick: bool) -> Report:
    """Measure both modalities; `quick` reads fewer samples for less time."""
    report = Report()
    images, texts = (600, 4_000) if quick else (4_000, 40_000)
    seconds, rounds = (1.5, 3) if quick else (6.0, 5)
    peers = {
        "webdataset": (peer_python("webdataset", ["webdataset>=1.0", "numpy>=2"]), _WEBDATASET),
        "mds": (peer_python("mosaicml-streaming", ["mosaicml-streaming>=0.13"]), _MDS),
    }
    worst: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            home=Path(folder) / "home", datasets=DatasetSettings(test_fraction=0, validation_fraction=0)
        )
        _fill(settings, images, texts)
        for modality, part in (("image", "image"), ("text", "token_ids")):
            dataset = open_dataset("bench", modality=modality, columns=["sample_id", "label", part], settings=settings)
            contenders = {"ummp": _ours(dataset, part, seconds)}
            for name, (python, script) in peers.items():
                if python is not None:
                    export = Path(folder) / name / modality
                    _export(name, dataset, export)
                    contenders[name] = _theirs(name, python, script, export, part, seconds)
            figures = take_turns(contenders, rounds)
            for name, values in figures.items():
                report.rows.append(
                    {
                        "reader": name,
                        "modality": modality,
                        "samples": len(dataset),
                        "samples_per_second": max(values),
                        "samples_per_cpu_second": max(_CPU_RATES[f"{name} {part}"]),
                    }
                )
                if name != "ummp":
                    found = ratio(figures["ummp"], values)
                    report.rows[-1]["ratio"] = found
                    worst[f"vs_{name}"] = min(found, worst.get(f"vs_{name}", found))
        report.rows.append(_memory(settings))
    report.ratios = worst
    return report


def _fill(settings: Settings, images: int, texts: int) -> None:
    """Commit a dataset of photograph-like images and of texts of about 600 tokens."""
    store, index = open_store(settings), open_index(settings)
    per_batch = 500
    for number in range(images // per_batch + 1):
        key = put_batch(store, number + 1, [], start=number * 100_000)
        share = min(per_batch, images - number * per_batch)
        _put_images(settings, key, number * 100_000, share)
        _put_texts(settings, key, number * 100_000 + share, texts * share // images)
        write_shards(store, settings, key)
        commit_batch(store, index, settings, key)
    index.close()


def _put_images(settings: Settings, batch: str, start: int, count: int) -> None:
    random = np.random.default_rng(start)
    schema = image_schema(_SIDE)
    store = open_store(settings)
    with (
        StageWriter(store, "clean_images", batch, {"samples": schema}) as clean,
        StageWriter(store, "image_features", batch, {"samples": IMAGE_FEATURE_SCHEMA}) as features,
    ):
        for number in range(start, start + count):
            grain = random.integers(0, 6, (_SIDE, _SIDE, 3), np.uint8)
            grainy = cv2.GaussianBlur(random.integers(0, 256, grain.shape, np.uint8), (0, 0), 2) // 2 + grain
            identity = {"sample_id": f"t~0~{number}", "dataset": "bench"}
            row = {**identity, **_clean(number), "width": _SIDE, "height": _SIDE, "format": "png"}
            plain = pa.schema([field for field in schema if field.name != "image"])
            columns = dict(zip(plain.names, pa.RecordBatch.from_pylist([row], schema=plain).columns, strict=True))
            columns["image"] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack([grainy]))
            clean.write("samples", pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema))
            feature = {"channel_mean": [0.5] * 3, "channel_std": [0.2] * 3, "perceptual_hash": number}
            features.write(
                "samples", pa.RecordBatch.from_pylist([{**identity, **feature}], schema=IMAGE_FEATURE_SCHEMA)
            )
        clean.commit(code_version="1")
        features.commit(code_version="1")


def _put_texts(settings: Settings, batch: str, start: int, count: int) -> None:
    random = np.random.default_rng(start)
    store = open_store(settings)
    rows, features = [], []
    for number in range(start, start + count):
        ids = random.integers(0, 50_000, int(random.integers(100, 1_100)))
        text = " ".join(map(str, ids))
        identity = {"sample_id": f"t~0~{number}", "dataset": "bench"}
        kind = {"language": "en", "language_score": 0.5, "encoding": "utf-8", "characters": len(text)}
        rows.append({**identity, **_clean(number), "text": text, **kind})
        features.append({**identity, "token_ids": ids.tolist(), "tokens": len(ids)})
    for stage, schema, values in (
        ("clean_text", TEXT_SCHEMA, rows),
        ("text_features", TEXT_FEATURE_SCHEMA, features),
    ):
        with StageWriter(store, stage, batch, {"samples": schema}) as writer:
            writer.write("samples", pa.RecordBatch.from_pylist(values, schema=schema))
            writer.commit(code_version="1")


def _clean(number: int) -> dict[str, str | None]:
    digest = f"{number:064x}"
    return {"uri": f"http://x/{number}", "sha256": digest, "content_sha256": digest, "label": "1", "attributes": None}


def _export(name: str, dataset: Dataset, folder: Path) -> None:
    if name == "webdataset":
        export_webdataset(dataset, folder, lossless_images="npy", tar_bytes=64 * 2**20)
    else:
        export_mds(dataset, folder)


def _ours(dataset: Dataset, part: str, seconds: float) -> Callable[[], float]:
    def run() -> float:
        stream = dataset.iter_batches(_BATCH_ROWS, shuffle_seed=1)
        seen = sum(map(_touch, _arrays(stream, part)))
        began, used, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - began < seconds:
            for batch in _arrays(stream, part):
                seen += _touch(batch)
                count += len(batch)
        _CPU_RATES.setdefault(f"ummp {part}", []).append(count / (time.process_time() - used))
        return count / (time.perf_counter() - began)

    return run


def _arrays(stream: BatchStream, part: str) -> "Iterator[_Array | list[_Array]]":
    for rows in stream:
        column = rows.column(part)
        if part == "image":
            yield column.to_numpy_ndarray()
        else:
            ids, offsets = column.values.to_numpy(), column.offsets.to_numpy()
            yield [ids[begin:end] for begin, end in pairwise(offsets)]


def _touch(batch: "_Array | list[_Array]") -> int:
    if isinstance(batch, list):
        return sum(int(ids[-1]) for ids in batch)
    return int(batch[:, ::64, ::64].sum())


def _theirs(name: str, python: Path, script: str, folder: Path, part: str, seconds: float) -> Callable[[], float]:
    def run() -> float:
        command = [str(python), "-c", script + _LOOP, str(folder), part, str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            notice(done.stderr[-2_000:])
            done.check_returncode()
        rate, cpu_rate = json.loads(done.stdout.splitlines()[-1])
        _CPU_RATES.setdefault(f"{name} {part}", []).append(cpu_rate)
        return float(rate)

    return run


def _memory(settings: Settings) -> dict[str, object]:
    """Return how much the process grows from the second epoch to the sixth, in MiB."""
    stream = open_dataset("bench", modality="image", settings=settings).iter_batches(_BATCH_ROWS, shuffle_seed=1)
    peaks = []
    for _ in range(6):
        for _batch in stream:
            pass
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
    return {"reader": "ummp", "peak_mib_after_epoch_2": peaks[1], "peak_growth_mib_to_epoch_6": peaks[-1] - peaks[1]}


if __name__ == "__main__":
    main(__name__, measure, __doc__ or "")
