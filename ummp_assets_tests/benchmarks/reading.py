"""Reading a dataset for training, against WebDataset and MosaicML Streaming (MDS) on the same samples.

Each reads whole epochs from local disk in one process, in order and shuffled, and hands out batches of 64: images of
256 x 256 as stacked uint8 arrays (height x width x RGB), texts as arrays of token ids, sounds as log-mel spectrograms.
The peers get plain arrays (`npy`, `ndarray`), which need no decoding; this project verifies every page, the peers
nothing. A ratio is the worst one of modalities and orders. Memory is measured in a process of its own.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ummp_assets.datasets.reader import Dataset
from ummp_assets.datasets.stream import BatchStream
from ummp_assets.settings import DatasetSettings, Settings, load_settings
from ummp_assets_tests.benchmarks.harness import Report, main, ratio, take_turns
from ummp_assets_tests.benchmarks.reading_peers import PEERS, Peer, Rates
from ummp_assets_tests.benchmarks.reading_samples import NAME, PARTS, Sizes, export_for, fill, open_part

_Array = np.ndarray[Any, np.dtype[Any]]

_BATCH_ROWS = 64
_ORDERS = {"shuffled": True, "in order": False}

_MEMORY = """
import json, psutil, sys
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.settings import load_settings
home, name, modality, part = sys.argv[1:]
dataset = open_dataset(name, modality=modality, columns=["sample_id", "label", part], settings=load_settings(home=home))
process, stream, mib = psutil.Process(), dataset.iter_batches(64, shuffle_seed=1), []
before = process.memory_info().rss
for epoch in range(6):
    for rows in stream:
        mib.append((epoch, (process.memory_info().rss - before) / 2**20))
first = max(value for epoch, value in mib if epoch < 3)
print(json.dumps({
    "dataset_mib": sum(shard.byte_count for shard in dataset.shards) / 2**20,
    "rss_mib_before": before / 2**20,
    "peak_growth_mib_epochs_1_to_3": first,
    "peak_growth_mib_epochs_4_to_6": max(value for epoch, value in mib if epoch >= 3),
}))
"""


def measure(quick: bool) -> Report:
    """Measure all modalities and orders; `quick` reads fewer samples for less time."""
    report = Report()
    sizes = Sizes(1_200, 12_000, 900) if quick else Sizes(2_400, 18_000, 1_800)
    seconds, rounds = (0.6, 2) if quick else (1.0, 3)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings = load_settings(
            home=Path(folder) / "home",
            store_fsync=False,
            datasets=DatasetSettings(test_fraction=0, validation_fraction=0),
        )
        fill(settings, sizes)
        peers = {name: stack.enter_context(peer) for name in PEERS if (peer := Peer.find(name))}
        for modality in PARTS:
            dataset = open_part(settings, modality)
            for name in peers:
                export_for(name, dataset, Path(folder) / name / modality)
            for order in _ORDERS:
                _measure_order(report, (modality, order), dataset, peers, Path(folder), (seconds, rounds))
        report.rows += [_memory(settings, modality) for modality in PARTS]
    return report


def _measure_order(
    report: Report,
    what: tuple[str, str],
    dataset: Dataset,
    peers: dict[str, Peer],
    folder: Path,
    effort: tuple[float, int],
) -> None:
    modality, order = what
    part, shuffle = PARTS[modality], _ORDERS[order]
    seconds, rounds = effort
    found: dict[str, list[Rates]] = {name: [] for name in ("ummp", *peers)}

    def contend(name: str, read: Callable[[], Rates]) -> Callable[[], float]:
        def run() -> float:
            found[name].append(read())
            return found[name][-1]["a_second"]

        return run

    def read_peer(name: str) -> Callable[[], Rates]:
        return lambda: peers[name].read(folder / name / modality / order, part, shuffle, seconds)

    contenders = {"ummp": contend("ummp", _ours(dataset, part, shuffle, seconds))}
    contenders |= {name: contend(name, read_peer(name)) for name in peers}
    figures = take_turns(contenders, rounds)
    for name, rates in found.items():
        row: dict[str, Any] = {"reader": name, "modality": modality, "order": order, "samples": len(dataset)}
        row |= {f"samples_{key}": max(rate[key] for rate in rates) for key in ("a_second", "a_cpu_second")}
        row["samples_a_second_first_epoch"] = rates[0]["first_epoch"]
        if name != "ummp":
            row["ratio"] = ratio(figures["ummp"], figures[name])
            key = f"vs_{name}"
            report.ratios[key] = min(row["ratio"], report.ratios.get(key, row["ratio"]))
        report.rows.append(row)


def _ours(dataset: Dataset, part: str, shuffle: bool, seconds: float) -> Callable[[], Rates]:
    stream = dataset.iter_batches(_BATCH_ROWS, shuffle_seed=1 if shuffle else None)
    first: list[float] = []

    def run() -> Rates:
        began = time.perf_counter()
        if not first:
            first.append(_read(stream, part) / (time.perf_counter() - began))
        began, used, rows = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - began < seconds:
            rows += _read(stream, part)
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        return {"a_second": rows / wall, "a_cpu_second": rows / cpu, "first_epoch": first[0]}

    return run


def _read(stream: BatchStream, part: str) -> int:
    rows = seen = 0
    for batch in _arrays(stream, part):
        seen += sum(int(item[-1]) for item in batch) if isinstance(batch, list) else int(batch[:, ::64, ::64].sum())
        rows += len(batch)
    return rows


def _arrays(stream: BatchStream, part: str) -> "Iterator[_Array | list[_Array]]":
    for rows in stream:
        column = rows.column(part)
        if part == "image":
            yield column.to_numpy_ndarray()
        else:
            values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
            yield [values[begin:end] for begin, end in pairwise(offsets)]


def _memory(settings: Settings, modality: str) -> dict[str, object]:
    """Return the memory of a process that does nothing but read six shuffled epochs."""
    command = [sys.executable, "-c", _MEMORY, str(settings.home), NAME, modality, PARTS[modality]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"reader": "ummp", "modality": modality, "order": "shuffled", **json.loads(done.stdout)}


if __name__ == "__main__":
    main(__name__, measure, __doc__ or "")
