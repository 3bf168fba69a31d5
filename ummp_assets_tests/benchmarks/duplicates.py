"""Near duplicates of texts: documents per CPU second from text to verdict against datasketch, both recalls and
precisions on planted near duplicates, and how the index's cost grows from 10^4 to 10^6 texts.

    python -m ummp_assets_tests.benchmarks.duplicates [--quick] [--json]

Both are given the same normalised texts. Ours keeps every signature and band in a database on disk; datasketch keeps
them in memory. `vs_datasketch` compares with its batch call, the row `datasketch, one by one` is the loop of its
documentation.
"""

import json
import random
import re
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ummp_assets.clean.text.normalise import normalise_text
from ummp_assets.clean.text.signatures import SEQUENCE_WORDS, sign_texts
from ummp_assets.storage.index import SqlIndex
from ummp_assets.storage.near_duplicates import SIGNATURE_VALUES, SignatureIndex, SignedTexts
from ummp_assets_tests.benchmarks.english import english_documents
from ummp_assets_tests.benchmarks.harness import Report, main, peer_python, ratio, take_turns

_MIN_SIMILARITY = 0.8
_CLAIM = 1_000

_PEER_PROGRAM = """
import json, re, sys, time
from datasketch import MinHash, MinHashLSH
texts, batch = json.load(open(sys.argv[1])), sys.argv[3] == "batch"
began = time.process_time()
index, signatures, duplicates = MinHashLSH(threshold=0.8, num_perm=112), [], []
for number, text in enumerate(texts):
    words = re.findall(r"\\w+", text.lower())
    sequences = {" ".join(words[place : place + 5]).encode() for place in range(len(words) - 4)}
    signature = MinHash(num_perm=112)
    if batch:
        signature.update_batch(sequences)
    else:
        for sequence in sequences:
            signature.update(sequence)
    signatures.append(signature)
    if any(signature.jaccard(signatures[twin]) >= 0.8 for twin in index.query(signature)):
        duplicates.append(number)
    else:
        index.insert(number, signature)
json.dump({"seconds": time.process_time() - began, "duplicates": duplicates}, open(sys.argv[2], "w"))
"""


@dataclass(frozen=True)
class Corpus:
    """Texts in order; `duplicates` are the places of those whose exact similarity to an earlier one is high."""

    texts: Sequence[str]
    duplicates: frozenset[int]


def plant_duplicates(documents: Sequence[str]) -> Corpus:
    """Return unlike documents and, after each third, an edited copy: half of them near duplicates (similarity 0.85 and
    more), half only related (up to 0.7)."""
    drawn = random.Random(1)
    seen: set[str] = set()
    texts: list[str] = []
    duplicates: set[int] = set()
    for document in documents:
        sequences = _sequences(document)
        if len(sequences) < 100 or len(sequences & seen) > 0.05 * len(sequences):
            continue
        seen |= sequences
        texts.append(document)
        if len(texts) % 4 != 3:
            continue
        wanted = drawn.uniform(0.86, 0.99) if drawn.random() < 0.5 else drawn.uniform(0.3, 0.68)
        copy = _edited(document, wanted, drawn)
        common = _sequences(copy)
        similarity = len(sequences & common) / len(sequences | common)
        if similarity >= 0.85:
            duplicates.add(len(texts))
        elif similarity > 0.7:
            continue
        texts.append(copy)
        seen |= common
    return Corpus(texts, frozenset(duplicates))


def _sequences(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[place : place + SEQUENCE_WORDS]) for place in range(len(words) - SEQUENCE_WORDS + 1)}


def _edited(text: str, similarity: float, drawn: random.Random) -> str:
    """Return the text with words replaced: each takes five sequences away and adds five."""
    words = text.split(" ")
    changes = round(len(words) * (1 - similarity) / (1 + similarity) / SEQUENCE_WORDS)
    for place in drawn.sample(range(len(words)), max(1, changes)):
        words[place] = f"changed{place}"
    return " ".join(words)


@contextmanager
def fresh_index() -> Iterator[SignatureIndex]:
    with TemporaryDirectory() as folder:
        index = SqlIndex(f"sqlite:///{Path(folder, 'index.db')}")
        yield SignatureIndex(index)
        index.close()


def find_here(texts: Sequence[str]) -> tuple[float, set[int]]:
    """Return the CPU seconds and the places of the duplicates that were found."""
    found: set[int] = set()
    with fresh_index() as index:
        # What is loaded and compiled at first use.
        signatures = sign_texts(texts[:10])
        index.claim("first use", SignedTexts(["t~0~0"], signatures[:1]), _MIN_SIMILARITY)
        began = time.process_time()
        for start in range(0, len(texts), _CLAIM):
            signatures = sign_texts(texts[start : start + _CLAIM])
            sample_ids = [f"t~0~{start + place}" for place in range(len(signatures))]
            twins = index.claim("benchmark", SignedTexts(sample_ids, signatures), _MIN_SIMILARITY)
            found.update(start + place for place, twin in enumerate(twins) if twin is not None)
        return time.process_time() - began, found


def find_by_peer(python: Path, texts: Sequence[str], mode: str) -> tuple[float, set[int]]:
    """Return the same from datasketch, in a process of its own."""
    with TemporaryDirectory() as folder:
        given, answered = Path(folder, "texts.json"), Path(folder, "found.json")
        given.write_text(json.dumps(texts), encoding="utf-8")
        subprocess.run([python, "-c", _PEER_PROGRAM, given, answered, mode], check=True, capture_output=True)
        answer = json.loads(answered.read_text(encoding="utf-8"))
    return answer["seconds"], set(answer["duplicates"])


def measure(quick: bool) -> Report:
    rounds = 3 if quick else 5
    documents = english_documents(1_400 if quick else 8_000)
    corpus = plant_duplicates([normalise_text(document) for document in documents])
    python = peer_python("datasketch", ["datasketch>=1.6,<3"])
    found: dict[str, set[int]] = {}

    def ours() -> float:
        # As long as the peer takes, so that what disturbs a fraction of a second does not decide.
        seconds = []
        for _ in range(10):
            took, found["ours"] = find_here(corpus.texts)
            seconds.append(took)
        return len(corpus.texts) / statistics.mean(seconds)

    def peer(name: str, mode: str) -> float:
        if python is None:
            raise RuntimeError("datasketch is not installed")
        seconds, found[name] = find_by_peer(python, corpus.texts, mode)
        return len(corpus.texts) / seconds

    contenders = {"ours": ours}
    if python is not None:
        contenders["datasketch, batch"] = lambda: peer("datasketch, batch", "batch")
        contenders["datasketch, one by one"] = lambda: peer("datasketch, one by one", "single")
    figures = take_turns(contenders, rounds)
    report = Report()
    for name, values in figures.items():
        recall, precision = _score(found[name], corpus)
        rate = statistics.median(values)
        report.rows.append(
            {"contender": name, "documents_per_cpu_second": rate, "recall": recall, "precision": precision}
        )
    report.rows.append(_describe(corpus))
    if python is not None:
        report.ratios["vs_datasketch"] = ratio(figures["ours"], figures["datasketch, batch"])
        report.ratios["vs_datasketch_one_by_one"] = ratio(figures["ours"], figures["datasketch, one by one"])
    report.ratios["recall"], report.ratios["precision"] = _score(found["ours"], corpus)
    report.ratios["lookup_growth"] = _measure_growth(report.rows)
    return report


def _score(found: set[int], corpus: Corpus) -> tuple[float, float]:
    right = len(found & corpus.duplicates)
    return right / len(corpus.duplicates), right / max(len(found), 1)


def _describe(corpus: Corpus) -> dict[str, Any]:
    return {
        "documents": len(corpus.texts),
        "planted": len(corpus.duplicates),
        "mean_characters": statistics.mean(map(len, corpus.texts)),
    }


def _measure_growth(rows: list[dict[str, Any]]) -> float:
    """Return the cost of a claim with 10^6 random signatures in the index over that with 10^4."""
    drawn = np.random.default_rng(0)
    seconds: dict[int, float] = {}
    with fresh_index() as index:
        claimed = 0

        def claim() -> float:
            nonlocal claimed
            signatures = drawn.integers(0, 2**16, (_CLAIM, SIGNATURE_VALUES), np.uint16)
            texts = SignedTexts([f"t~0~{claimed + place}" for place in range(_CLAIM)], signatures)
            began = time.process_time()
            index.claim("benchmark", texts, _MIN_SIMILARITY)
            claimed += _CLAIM
            return time.process_time() - began

        for size in (10_000, 1_000_000):
            while claimed < size:
                claim()
            seconds[size] = statistics.median(claim() for _ in range(9)) / _CLAIM
            rows.append({"texts_in_index": size, "microseconds_per_text": 1e6 * seconds[size]})
    return round(seconds[1_000_000] / seconds[10_000], 4)


if __name__ == "__main__":
    main(__name__, measure, __doc__)
