"""WebDataset and MosaicML Streaming as readers, each in a process and an environment of its own."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from ummp_assets_tests.benchmarks.harness import notice, peer_python

__all__ = ["PEERS", "Peer", "Rates"]

Rates = dict[str, float]
"""Samples of a second, of a second of processor time, and of a second of the first epoch."""

_WEBDATASET = """
import glob, webdataset
def open_reader(folder, part, shuffle):
    tars = sorted(glob.glob(folder + "/*.tar"))
    def epoch():
        dataset = webdataset.WebDataset(tars, shardshuffle=len(tars) if shuffle else False, empty_check=False)
        return (dataset.shuffle(1000) if shuffle else dataset).decode().to_tuple(part + ".npy", "json")
    return epoch, lambda row: row[0]
"""

_MDS = """
from streaming import StreamingDataset
def open_reader(folder, part, shuffle):
    dataset = StreamingDataset(local=folder, shuffle=shuffle, batch_size=64, num_canonical_nodes=1)
    return lambda: dataset, lambda row: row[part]
"""

_SERVE = """
import json, sys, time, numpy
readers, first = {}, {}
def read(epoch, value, part):
    rows = seen = 0
    batch = []
    def touch():
        if part == "image":
            return int(numpy.stack(batch)[:, ::64, ::64].sum())
        return sum(int(array.flat[-1]) for array in batch)
    for row in epoch():
        batch.append(value(row))
        if len(batch) == 64:
            seen += touch(); rows += 64; batch = []
    if batch:
        seen += touch(); rows += len(batch)
    return rows
for line in sys.stdin:
    folder, part, shuffle, seconds = key = json.loads(line)
    key = str(key)
    if key not in readers:
        began = time.perf_counter()
        readers[key] = open_reader(folder, part, shuffle)
        first[key] = read(*readers[key], part) / (time.perf_counter() - began)
    began, used, rows = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < seconds:
        rows += read(*readers[key], part)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"a_second": rows / wall, "a_cpu_second": rows / cpu, "first_epoch": first[key]}), flush=True)
"""

PEERS = {
    "webdataset": (["webdataset>=1.0", "numpy>=2"], _WEBDATASET),
    "mds": (["mosaicml-streaming>=0.13"], _MDS),
}


class Peer:
    """A peer's process, which reads whole epochs of what it is told to read."""

    def __init__(self, python: Path, script: str) -> None:
        command = [str(python), "-c", script + _SERVE]
        # Its own words go to a file of their own: MDS says a lot.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    @classmethod
    def find(cls, name: str) -> Self | None:
        """Start a peer; None, with a notice, where it cannot be had."""
        requirements, script = PEERS[name]
        python = peer_python("mosaicml-streaming" if name == "mds" else name, requirements)
        return None if python is None else cls(python, script)

    def read(self, folder: Path, part: str, shuffle: bool, seconds: float) -> Rates:
        """Read epochs for at least so many seconds, after a first one where the folder is new."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(folder), part, shuffle, seconds]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer.startswith("{"):
            notice(f"the peer ended with code {self._process.wait(10)} and said {answer!r}")
            raise RuntimeError(f"a peer could not read {folder}")
        rates: Rates = json.loads(answer)
        return rates

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
