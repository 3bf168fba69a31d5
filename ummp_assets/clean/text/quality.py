"""What a document looks like: Gopher's quality rules (Rae et al. 2021, A1.1), as datatrove 0.10 defines them."""

import math

from ummp_assets.clean.text.scripts import CHARACTER_LANGUAGES
from ummp_assets.clean.text.words import Words

__all__ = ["measure_quality"]


def measure_quality(text: str, words: Words, language: str) -> dict[str, float]:
    """Return what the rules of quality judge; not a number where a rule does not judge the document.

    In Chinese, Japanese and Korean every character is a word: the bounds on the number of words bound characters, and
    the mean length is not judged. Languages without a list of stop words are not judged by them.

    Parameters
    ----------
    text:
        The normalised document.
    language:
        Its BCP 47 tag.
    """
    lengths = words.proper_lengths
    count = max(words.count, 1)
    has_mean = len(lengths) and language not in CHARACTER_LANGUAGES
    has_bullets, has_ellipses = "-" in text or "•" in text, "..." in text or "…" in text
    lines = text.splitlines()
    firsts = [line.lstrip()[:1] for line in lines] if has_bullets else []
    bullets = firsts.count("-") + firsts.count("•")
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines) if has_ellipses else 0
    return {
        "gopher_words": len(lengths),
        "gopher_mean_word_length": float(lengths.mean()) if has_mean else math.nan,
        "gopher_hashes_per_word": text.count("#") / count,
        "gopher_ellipses_per_word": (text.count("...") + text.count("…")) / count,
        "gopher_bullet_lines": bullets / max(len(lines), 1),
        "gopher_ellipsis_lines": ellipses / max(len(lines), 1),
        "gopher_words_with_letters": words.with_letters / count,
        "gopher_stop_words": math.nan if words.stop_words is None else words.stop_words,
    }
