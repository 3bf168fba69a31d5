"""Rules of repetition and quality: each breaks on its own text, keeps an ordinary one, and says what it measured.

`reference_repetition` is the definition, word by word and slow; the rule must give its numbers.
"""

import random
from collections import Counter
from typing import Any

import pytest

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.rules.text import TEXT_MEASUREMENTS
from ummp_assets.clean.text.judging import Judged, judge_document
from ummp_assets.clean.text.words import split_words
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.settings import TextSettings
from ummp_assets.text_settings import QualityRule

PROSE = """The harbour lies to the north of the town, and ships have come to it for a thousand years.
Most of them brought timber, grain or salt; a few carried letters and news from further away.
In winter the bay would freeze, so that people walked across to the islands with their sledges.
Nobody remembers who built the first pier, but the oldest map that shows one is from 1542.
Today ferries leave every hour, and a small museum tells what the sailors used to eat and sing."""

FIRST = PROSE.split("\n")[0]

CHINESE = """海港在城市的北面,一千年来一直有船只来到这里。大多数船运来木材、粮食和盐,也有少数带来远方的信件与消息。
冬天海湾会结冰,人们拉着雪橇走到对面的岛上去。没有人记得是谁修建了第一座码头,但最早画有码头的地图出自一五四二年。
今天渡轮每小时开出一班,一座小博物馆讲述水手们过去吃什么、唱什么。我们喜欢在傍晚沿着岸边散步,看灯塔慢慢亮起来。"""


def judge(rule: QualityRule, text: str, language: str = "en", settings: dict[str, Any] | None = None) -> Judged:
    rules = TextSettings.model_validate({"quality_rules": [rule], "measured_rules": [], rule: settings or {}})
    return judge_document(text, language, rules)


def repetition(text: str, language: str = "en", **settings: object) -> Refusal | None:
    return judge("gopher_repetition", text, language, {"min_words": 0} | settings).refusal


def quality(text: str, language: str = "en", **settings: object) -> Refusal | None:
    return judge("gopher_quality", text, language, settings).refusal


def fineweb(text: str) -> Refusal | None:
    return judge("fineweb", text).refusal


def reference_repetition(text: str) -> dict[int, float]:
    """Return the share of characters for n of 2 to 10, by counting words."""
    words = split_words(text)
    shares = {}
    for n in (2, 3, 4):
        grams = [" ".join(words[start : start + n]) for start in range(len(words) - n + 1)]
        if grams:
            top, count = Counter(grams).most_common(1)[0]
            shares[n] = len(top) * count / len(text)
    for n in range(5, 11):
        seen, characters, place = set(), 0, 0
        while place < len(words) - n + 1:
            gram = "".join(words[place : place + n])
            if gram in seen:
                characters += len(gram)
                place += n
            else:
                seen.add(gram)
                place += 1
        shares[n] = characters / len(text)
    return shares


@pytest.mark.parametrize(("text", "language"), [(PROSE, "en"), (CHINESE, "zh")])
def test_ordinary_prose_passes_repetition_and_quality(text: str, language: str) -> None:
    assert repetition(text, language) is None
    assert quality(text, language) is None


@pytest.mark.parametrize("n", range(2, 11))
@pytest.mark.parametrize("seed", range(6))
def test_n_gram_shares_are_those_of_the_definition(n: int, seed: int) -> None:
    drawn = random.Random(seed)
    vocabulary = ["a", "bb", "ccc", "dddd", "e.g.", "word;", "(x)"]
    phrases = [[drawn.choice(vocabulary) for _ in range(drawn.randint(3, 14))] for _ in range(9)]
    text = " ".join(word for _ in range(40) for word in drawn.choice(phrases))
    expected = reference_repetition(text)[n]
    nothing: dict[str, Any] = {"top_n_grams": {}, "duplicate_n_grams": {}, "duplicate_paragraphs": 1}
    judged = "top_n_grams" if n < 5 else "duplicate_n_grams"

    found = repetition(text, **nothing | {judged: {n: max(0.0, expected - 1e-9)}})

    assert found is not None
    assert found.measured == pytest.approx(expected)
    assert repetition(text, **nothing | {judged: {n: min(1.0, expected)}}) is None


@pytest.mark.parametrize(
    ("text", "reason", "measured"),
    [
        ("\n\n".join(["Same."] * 2 + [PROSE, "Same.", "Same."]), Reason.GOPHER_DUPLICATE_PARAGRAPHS, 3 / 5),
        ("\n\n".join([PROSE, PROSE, *PROSE.split("\n")]), Reason.GOPHER_DUPLICATE_PARAGRAPH_CHARACTERS, None),
        ("\n".join(["x y z"] * 8 + PROSE.split("\n")), Reason.GOPHER_DUPLICATE_LINES, 7 / 13),
        (
            "\n".join([PROSE, PROSE.split("\n")[0] * 3, PROSE.split("\n")[0] * 3]),
            Reason.GOPHER_DUPLICATE_LINE_CHARACTERS,
            None,
        ),
        ("go on " * 40 + PROSE, Reason.GOPHER_TOP_2_GRAM, None),
        (" ".join(PROSE.split()[:30]) + ". " + " ".join(PROSE.split()[:30]), Reason.GOPHER_DUPLICATE_5_GRAMS, None),
    ],
)
def test_repeated_text_breaks_its_rule(text: str, reason: Reason, measured: float | None) -> None:
    found = repetition(text)

    assert found is not None
    assert found.reason is reason
    assert found.reason.outcome is Outcome.FILTERED
    assert measured is None or found.measured == pytest.approx(measured)


def test_n_grams_of_a_very_long_document_are_those_of_its_first_200_000_words() -> None:
    # Every pair of words as often as every other, and after 200,000 words one that repeats itself.
    several = " ".join("abcd"[number * 7919 // 5 % 4] for number in range(200_000))

    shares = [judge("gopher_repetition", text).measured for text in (several, several + " z" * 150_000)]

    assert shares[1]["words"] == 350_000
    for n in (2, 3, 4):
        assert shares[1][f"gopher_top_{n}_gram"] == pytest.approx(shares[0][f"gopher_top_{n}_gram"], rel=1e-4)


def test_very_long_document_is_judged_by_its_first_786_432_characters() -> None:
    line = "The quick brown fox jumps over the lazy dog, and that is all of it.\n"
    first = line * (3 * 2**18 // len(line))

    measured = judge("gopher_quality", first + "#" * len(first)).measured

    assert measured["gopher_words"] == pytest.approx(2 * judge("gopher_quality", first).measured["gopher_words"])
    assert measured["gopher_hashes_per_word"] == 0


def test_very_long_line_below_a_title_is_judged_by_its_own_words() -> None:
    line = "The quick brown fox jumps over the lazy dog, and that is all of it. " * (2**21 // 68)

    titled, alone = (judge("gopher_quality", text).measured for text in ("Foxes\n" + line, line))

    assert titled["gopher_mean_word_length"] == pytest.approx(alone["gopher_mean_word_length"], rel=1e-3)
    assert titled["gopher_words"] == pytest.approx(alone["gopher_words"], rel=1e-3)


def test_short_documents_are_judged_for_repetition_only_when_asked() -> None:
    assert repetition("Hello there", min_words=50) is None
    assert repetition("Hello there", min_words=0) is not None


@pytest.mark.parametrize(
    ("text", "reason", "measured"),
    [
        ("Too short to say much.", Reason.GOPHER_TOO_FEW_WORDS, 5),
        ("a b c d " * 20, Reason.GOPHER_WORDS_TOO_SHORT, 1),
        ("incomprehensibilities " * 60, Reason.GOPHER_WORDS_TOO_LONG, 21),
        (PROSE + " #" * 20, Reason.GOPHER_TOO_MANY_HASHES, None),
        (
            PROSE.replace(" the", "... the").replace(" a", "... a").replace(" t", "... t"),
            Reason.GOPHER_TOO_MANY_ELLIPSES,
            None,
        ),
        ("\n".join(f"- {line}" for line in PROSE.split("\n")), Reason.GOPHER_TOO_MANY_BULLET_LINES, 1),
        ("\n".join(f"{line} …" for line in PROSE.split("\n")), Reason.GOPHER_TOO_MANY_ELLIPSIS_LINES, 1),
        (PROSE + " 12345" * 60, Reason.GOPHER_TOO_FEW_WORDS_WITH_LETTERS, None),
        ("lumber granite harbour vessels winter " * 12, Reason.GOPHER_TOO_FEW_STOP_WORDS, 0),
    ],
)
def test_poor_text_breaks_its_rule_of_quality(text: str, reason: Reason, measured: float | None) -> None:
    found = quality(text)

    assert found is not None
    assert found.reason is reason
    assert measured is None or found.measured == measured


def test_too_many_words_are_filtered() -> None:
    found = quality(PROSE, max_words=60)

    assert found is not None
    assert found.reason is Reason.GOPHER_TOO_MANY_WORDS


def test_stop_words_are_not_asked_of_a_language_without_a_list() -> None:
    assert quality("lumber granite harbour vessels winter " * 12, "xx") is None


def c4(text: str, language: str = "en", **settings: object) -> str | Refusal:
    judged = judge("c4", text, language, settings)
    return judged.refusal or judged.text


def test_c4_keeps_lines_that_end_sentences() -> None:
    dropped = ["Home | About | Contact", "Two words.", "We use cookies on this page.", "Enable JavaScript to go on."]

    kept = c4("\n".join([PROSE, *dropped, "Cited.[3] And so on.[citation needed]"]))

    assert kept == PROSE + "\nCited. And so on."


@pytest.mark.parametrize(
    ("text", "reason", "measured"),
    [
        (PROSE + "\nLorem ipsum dolor sit amet.", Reason.C4_LOREM_IPSUM, None),
        (PROSE + "\nfunction f() { return 1; } is code.", Reason.C4_CURLY_BRACKET, 1),
        ("One is here. Two are there.\nThree of them stay.", Reason.C4_TOO_FEW_SENTENCES, 3),
        ("No mark at the end\n" * 9, Reason.C4_TOO_FEW_SENTENCES, 0),
    ],
)
def test_c4_filters_pages(text: str, reason: Reason, measured: float | None) -> None:
    found = c4(text)

    assert isinstance(found, Refusal)
    assert (found.reason, found.measured) == (reason, measured)


@pytest.mark.parametrize(("letters", "is_kept"), [(1_000, True), (1_001, False)])
def test_c4_drops_a_line_of_characters_with_a_word_of_over_a_thousand(letters: int, is_kept: bool) -> None:
    line = "中" * 1_234 + "a" * letters + "文" * 777 + "。"

    assert judge("c4", line, "zh", {"min_sentences": 0}).text == (line if is_kept else "")


def test_c4_counts_sentences_within_few_lines() -> None:
    line = "One is here. Two are there! Are three too? Four of them. Five in all."

    assert c4(line) == line


def test_c4_drops_a_line_with_an_endless_word() -> None:
    assert c4(PROSE + "\nSee " + "x" * 1_001 + " for more of it.") == PROSE


def test_c4_reads_chinese_marks_and_characters() -> None:
    assert c4(CHINESE, "zh") == CHINESE
    assert c4(CHINESE + "\n首页", "zh") == CHINESE


SHORT_LINES = [FIRST, *(f"Item {number}." for number in range(9))]
ONE_WORD_LINES = [f"Extraordinarily_long_composite_words_{number}." for number in range(8)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE.replace(".\n", " and\n").rstrip("."), Reason.FINEWEB_TOO_FEW_PUNCTUATED_LINES),
        ("\n".join(SHORT_LINES), Reason.FINEWEB_TOO_MANY_SHORT_LINES),
        (PROSE + "\n" + FIRST, Reason.FINEWEB_DUPLICATE_LINE_CHARACTERS),
        ("\n".join(ONE_WORD_LINES), Reason.FINEWEB_TOO_MANY_LINE_BREAKS),
    ],
)
def test_fineweb_filters_by_lines(text: str, reason: Reason) -> None:
    found = fineweb(text)

    assert found is not None
    assert found.reason is reason


def test_fineweb_keeps_prose() -> None:
    assert fineweb(PROSE) is None


def test_rules_run_in_the_order_set_and_c4_hands_on_its_lines() -> None:
    page = PROSE + "\nHome | About"

    assert judge_document(page, "en", TextSettings()).text == page
    assert judge_document(page, "en", TextSettings(quality_rules=("c4", "fineweb", "gopher_quality"))).text == PROSE
    short = judge_document("Few words.", "en", TextSettings(quality_rules=("gopher_quality", "c4"))).refusal
    assert short is not None
    assert short.reason is Reason.GOPHER_TOO_FEW_WORDS


@pytest.mark.parametrize("applied", [(), ("gopher_repetition", "gopher_quality", "fineweb")])
def test_everything_is_measured_of_kept_and_refused_documents(applied: tuple[QualityRule, ...]) -> None:
    for text in (PROSE, "go on " * 40, CHINESE, "x", ""):
        judged = judge_document(text, "en", TextSettings(quality_rules=applied))

        assert set(judged.measured) == (set(TEXT_MEASUREMENTS) if text else {"characters"})
        assert judged.measured["characters"] == len(text)
        alone = judge_document(text, "en", TextSettings(quality_rules=("fineweb",), measured_rules=()))
        for name, value in alone.measured.items():
            assert judged.measured[name] == value


def test_rules_that_only_measure_see_the_document_as_it_came() -> None:
    page = PROSE + "\nHome | About"
    measured = judge_document(page, "en", TextSettings(quality_rules=("c4",))).measured
    assert measured["fineweb_punctuated_lines"] == 5 / 6
    after_c4 = judge_document(page, "en", TextSettings(quality_rules=("c4", "fineweb"))).measured
    assert after_c4["fineweb_punctuated_lines"] == 1
