"""What a document looks like: Gopher's quality rules (Rae et al. 2021, A1.1), as datatrove 0.10 defines them."""

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.text.scripts import CHARACTER_LANGUAGES
from ummp_assets.clean.text.words import Words
from ummp_assets.reasons import Reason
from ummp_assets.text_settings import GopherQualitySettings

__all__ = ["judge_quality"]


def judge_quality(text: str, words: Words, language: str, settings: GopherQualitySettings) -> Refusal | None:
    """Return the first rule of quality that a document breaks, in the order of the reference, or None.

    In Chinese, Japanese and Korean every character is a word: the bounds on the number of words bound characters, and
    the mean length is not judged. Languages without a list of stop words are not judged by them.

    Parameters
    ----------
    text:
        The normalised document, not empty.
    language:
        Its BCP 47 tag.
    """
    return (
        _judge_words(words, language, settings)
        or _judge_symbols(text, words, settings)
        or _judge_lines(text, settings)
        or _judge_vocabulary(words, settings)
    )


def _judge_words(words: Words, language: str, settings: GopherQualitySettings) -> Refusal | None:
    lengths = words.proper_lengths
    count = len(lengths)
    if count < settings.min_words:
        return Refusal(Reason.GOPHER_TOO_FEW_WORDS, f"{count} words, fewer than {settings.min_words}", count)
    if count > settings.max_words:
        return Refusal(Reason.GOPHER_TOO_MANY_WORDS, f"{count} words, more than {settings.max_words}", count)
    if language in CHARACTER_LANGUAGES or not count:
        return None
    mean = float(lengths.mean())
    if mean < settings.min_mean_word_length:
        detail = f"a word has {mean:.2f} characters on average, fewer than {settings.min_mean_word_length}"
        return Refusal(Reason.GOPHER_WORDS_TOO_SHORT, detail, mean)
    if mean > settings.max_mean_word_length:
        detail = f"a word has {mean:.2f} characters on average, more than {settings.max_mean_word_length}"
        return Refusal(Reason.GOPHER_WORDS_TOO_LONG, detail, mean)
    return None


def _judge_symbols(text: str, words: Words, settings: GopherQualitySettings) -> Refusal | None:
    for reason, name, count in (
        (Reason.GOPHER_TOO_MANY_HASHES, "hashes", text.count("#")),
        (Reason.GOPHER_TOO_MANY_ELLIPSES, "ellipses", text.count("...") + text.count("…")),
    ):
        if (rate := count / max(words.count, 1)) > settings.max_symbols_per_word:
            detail = f"{rate:.2f} {name} for each word, more than {settings.max_symbols_per_word}"
            return Refusal(reason, detail, rate)
    return None


def _judge_lines(text: str, settings: GopherQualitySettings) -> Refusal | None:
    lines = text.splitlines()
    for reason, name, count, allowed in (
        (
            Reason.GOPHER_TOO_MANY_BULLET_LINES,
            "begin with a bullet",
            sum(line.lstrip().startswith(("•", "-")) for line in lines) if "-" in text or "•" in text else 0,
            settings.max_bullet_lines,
        ),
        (
            Reason.GOPHER_TOO_MANY_ELLIPSIS_LINES,
            "end with an ellipsis",
            sum(line.rstrip().endswith(("...", "…")) for line in lines) if "..." in text or "…" in text else 0,
            settings.max_ellipsis_lines,
        ),
    ):
        if (share := count / max(len(lines), 1)) > allowed:
            return Refusal(reason, f"{share:.1%} of the lines {name}, more than {allowed:.1%}", share)
    return None


def _judge_vocabulary(words: Words, settings: GopherQualitySettings) -> Refusal | None:
    share = words.with_letters / max(words.count, 1)
    if share < settings.min_words_with_letters:
        detail = f"{share:.1%} of the words have a letter, fewer than {settings.min_words_with_letters:.1%}"
        return Refusal(Reason.GOPHER_TOO_FEW_WORDS_WITH_LETTERS, detail, share)
    if words.stop_words is not None and words.stop_words < settings.min_stop_words:
        detail = f"{words.stop_words} different stop words, fewer than {settings.min_stop_words}"
        return Refusal(Reason.GOPHER_TOO_FEW_STOP_WORDS, detail, words.stop_words)
    return None
