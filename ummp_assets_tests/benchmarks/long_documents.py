"""The largest documents that the default limits accept, one of each kind: CPU seconds to clean and sign one, and to
tokenise what is left.

    python -m ummp_assets_tests.benchmarks.long_documents [--quick] [--json]

Nothing is compared with a peer; what is asked is that no document holds up its batch for over a second. `--quick` takes
the common kinds and every third of those that are built to hurt, each once instead of twice.
"""

import time
from typing import Any

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.text.document import clean_document
from ummp_assets.clean.text.signatures import sign_texts
from ummp_assets.features.text.tokenizers import Tokenizer, load_tokenizer
from ummp_assets.settings import TextSettings
from ummp_assets_tests.benchmarks.harness import Report, main, notice
from ummp_assets_tests.benchmarks.long_texts import COMMON, LONG_TEXTS

__all__ = ["measure"]


def measure(quick: bool) -> Report:
    settings = TextSettings()
    tokenizer = load_tokenizer(settings.tokenizer)
    # What is loaded and computed at first use, outside ASCII, too.
    measure_one("Schöne Wörter <p> 1".encode(), settings, tokenizer)
    hostile = [name for name in LONG_TEXTS if name not in COMMON]
    names = [*COMMON, *hostile[:: 3 if quick else 1]]
    rows = [_row(name, LONG_TEXTS[name](settings.max_bytes), settings, tokenizer, 1 if quick else 2) for name in names]
    return Report(
        ratios={
            "slowest_clean_seconds": max(row["clean_seconds"] for row in rows),
            "slowest_tokens_seconds": max(row["tokens_seconds"] for row in rows),
        },
        rows=rows,
    )


def measure_one(data: bytes, settings: TextSettings, tokenizer: Tokenizer) -> tuple[float, float, int]:
    """Return the CPU seconds to clean and sign a document, those to tokenise it, and its tokens."""
    began = time.process_time()
    document = clean_document(data, None, settings)
    if isinstance(document, Refusal):
        return time.process_time() - began, 0, 0
    sign_texts([document.text])
    cleaned = time.process_time()
    tokens = len(tokenizer.encode(document.text))
    return cleaned - began, time.process_time() - cleaned, tokens


def _row(name: str, data: bytes, settings: TextSettings, tokenizer: Tokenizer, rounds: int) -> dict[str, Any]:
    measured = [measure_one(data, settings, tokenizer) for _ in range(rounds)]
    clean_seconds, tokens_seconds, tokens = map(min, zip(*measured, strict=True))
    notice(f"{name}: {clean_seconds:.2f} s, tokens {tokens_seconds:.2f} s")
    return {
        "kind": name,
        "bytes": len(data),
        "clean_seconds": round(clean_seconds, 3),
        "tokens_seconds": round(tokens_seconds, 3),
        "tokens": tokens,
    }


if __name__ == "__main__":
    main(__name__, measure, __doc__)
