"""Main text of HTML pages: ours (resiliparse) against trafilatura, in quality and pages per CPU second.

    python -m ummp_assets_tests.benchmarks.main_text [--quick] [--json]

The pages are documentation that installed packages carry: what Sphinx marks as `role="main"` is the truth, the header,
menus and footer around it are what an extraction should leave out. Precision and recall count words, repeated ones as
often as they occur. `vs_trafilatura` is speed, `f1_vs_trafilatura` the ratio of the mean F1.
"""

import importlib.metadata
import json
import re
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from ummp_assets.clean.text.main_text import extract_main_text
from ummp_assets_tests.benchmarks.harness import Report, main, peer_python, ratio, take_turns

_PEER = ["trafilatura==2.*"]
_PEER_PROGRAM = """
import json, sys, time
from trafilatura import extract
pages = json.load(open(sys.argv[1]))
extract(pages[0])
began = time.process_time()
texts = [extract(page) or "" for page in pages]
json.dump({"seconds": time.process_time() - began, "texts": texts}, open(sys.argv[2], "w"))
"""
_WORD = re.compile(r"\w+")


def marked_pages() -> list[tuple[str, str]]:
    """Return pages of installed packages whose main part is marked, each with the text of that part."""
    pages = []
    for distribution in sorted(importlib.metadata.distributions(), key=lambda found: str(found.name)):
        for file in distribution.files or ():
            path = Path(str(file.locate()))
            if path.suffix != ".html" or not path.is_file():
                continue
            html = path.read_text(encoding="utf-8", errors="replace")
            page = HTMLTree.parse(html).document
            part = page.query_selector("[role=main]") if page is not None else None
            if part is not None and len(truth := extract_plain_text(part.html, alt_texts=False)) > 200:
                pages.append((html, truth))
    return pages


def extract_here(pages: Sequence[str]) -> tuple[float, list[str]]:
    """Return the CPU seconds and the text of each page."""
    began = time.process_time()
    texts = [extract_main_text(page) for page in pages]
    return time.process_time() - began, texts


def extract_by_peer(python: Path, pages: Sequence[str]) -> tuple[float, list[str]]:
    """Return the same from trafilatura, in a process of its own."""
    with TemporaryDirectory() as folder:
        given, answered = Path(folder, "pages.json"), Path(folder, "texts.json")
        given.write_text(json.dumps(pages), encoding="utf-8")
        subprocess.run([python, "-c", _PEER_PROGRAM, given, answered], check=True, capture_output=True)
        answer = json.loads(answered.read_text(encoding="utf-8"))
    return answer["seconds"], answer["texts"]


def measure(quick: bool) -> Report:
    rounds = 2 if quick else 5
    marked = marked_pages()
    pages = [page for page, _ in marked]
    python = peer_python("trafilatura", _PEER)
    texts: dict[str, list[str]] = {}

    def ours() -> float:
        seconds, texts["ours"] = extract_here(pages)
        return len(pages) / seconds

    def peer() -> float:
        if python is None:
            raise RuntimeError("trafilatura is not installed")
        seconds, texts["trafilatura"] = extract_by_peer(python, pages)
        return len(pages) / seconds

    figures = take_turns({"ours": ours} if python is None else {"ours": ours, "trafilatura": peer}, rounds)
    report = Report(rows=[{"pages": len(pages), "mean_characters": statistics.mean(map(len, pages))}])
    scores = {name: _score(found, [truth for _, truth in marked]) for name, found in texts.items()}
    for name, values in figures.items():
        report.rows.append({"contender": name, "pages_per_cpu_second": statistics.median(values)} | scores[name])
    if python is not None:
        report.ratios["vs_trafilatura"] = ratio(figures["ours"], figures["trafilatura"])
        report.ratios["f1_vs_trafilatura"] = round(scores["ours"]["f1"] / scores["trafilatura"]["f1"], 4)
    return report


def _score(texts: Sequence[str], truths: Sequence[str]) -> dict[str, Any]:
    """Return the means over the pages."""
    precisions, recalls, f1s = [], [], []
    for text, truth in zip(texts, truths, strict=True):
        found, wanted = Counter(_WORD.findall(text.lower())), Counter(_WORD.findall(truth.lower()))
        common = (found & wanted).total()
        precisions.append(common / max(found.total(), 1))
        recalls.append(common / max(wanted.total(), 1))
        f1s.append(2 * common / max(found.total() + wanted.total(), 1))
    means = {"precision": precisions, "recall": recalls, "f1": f1s}
    return {name: statistics.mean(values) for name, values in means.items()}


if __name__ == "__main__":
    main(__name__, measure, __doc__)
