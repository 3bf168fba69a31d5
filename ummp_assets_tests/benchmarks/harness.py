"""What every benchmark shares: its command line, turn-taking, peers in environments of their own, and the report.

A benchmark module calls `main(__name__, measure)`; `measure(quick)` returns a `Report`. Project and peer are measured
in turn on the same work, so that a machine whose speed drifts shifts both; a ratio is the median over the rounds.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Report", "main", "notice", "peer_python", "ratio", "take_turns"]


@dataclass
class Report:
    """What a benchmark found.

    Parameters
    ----------
    ratios:
        By name, project over peer; higher is better unless DESIGN says otherwise.
    rows:
        Every figure that the ratios come from, with units in the keys.
    """

    ratios: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


def main(module: str, measure: Callable[[bool], Report], description: str) -> None:
    """Run a benchmark from the command line and print its report."""
    name = module.rsplit(".", 1)[-1] if module != "__main__" else Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(prog=f"python -m ummp_assets_tests.benchmarks.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help="less work: ends within 60 s once the peers are installed")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    arguments = parser.parse_args()
    report = measure(arguments.quick)
    if arguments.json:
        document = {"benchmark": name, "machine": machine(), "ratios": report.ratios, "rows": report.rows}
        print(json.dumps(document, indent=1))
    else:
        _print_table(name, report)


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures: processor, cores, memory in GiB, Python."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "python": platform.python_version()}


def take_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each contender once a round, in turn, and return the figures that they returned."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            figures[name].append(run())
            notice(
                f"round {number + 1} of {rounds}: {name} {figures[name][-1]:,.4g} ({time.perf_counter() - began:.1f} s)"
            )
    return figures


def ratio(project: Sequence[float], peer: Sequence[float]) -> float:
    """Return the median over the rounds of project / peer."""
    return round(statistics.median(ours / theirs for ours, theirs in zip(project, peer, strict=True)), 4)


def peer_python(name: str, requirements: Sequence[str]) -> Path | None:
    """Return the Python of an environment that holds a peer, made at first use, or None with a notice if it can't be
    had.

    Environments live in `~/.cache/ummp-benchmarks/` (or below `UMMP_BENCHMARK_CACHE`) and are reused.
    """
    digest = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("UMMP_BENCHMARK_CACHE", Path.home() / ".cache" / "ummp-benchmarks"))
    folder = cache / f"{name}-{digest}"
    python = folder / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    # Two benchmarks may want the same peer at the same time.
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists() or _install(folder, python, name, requirements):
            return python
    return None


def _install(folder: Path, python: Path, name: str, requirements: Sequence[str]) -> bool:
    notice(f"installing {name} into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    if not uv:
        venv.create(folder, with_pip=True)
    else:
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    install = (
        [uv, "pip", "install", "-q", "--python", str(python)] if uv else [str(python), "-m", "pip", "install", "-q"]
    )
    done = subprocess.run([*install, *requirements], capture_output=True, text=True)
    if done.returncode != 0:
        notice(f"left out: {name} could not be installed: {done.stderr.strip()[-500:]}")
        return False
    (folder / "complete").touch()
    return True


def notice(text: str) -> None:
    """Tell the person who waits; stdout is kept for the report."""
    print(text, file=sys.stderr, flush=True)


def _print_table(name: str, report: Report) -> None:
    print(f"{name} on {machine()}")
    for row in report.rows:
        print(
            "  "
            + "  ".join(
                f"{key}={value:,.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in row.items()
            )
        )
    for key, value in report.ratios.items():
        print(f"{key:>32} {value:.3g}")
