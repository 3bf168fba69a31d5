"""One document: main text, normal form, language."""

import unicodedata

import pytest

from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.text.document import CleanDocument, clean_document
from ummp_assets.clean.text.language import detect_language
from ummp_assets.clean.text.main_text import _accompany_letters, extract_main_text, is_html
from ummp_assets.clean.text.normalise import normalise_text
from ummp_assets.reasons import Reason
from ummp_assets.settings import TextSettings

ARTICLE_1 = {
    "ar": "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميراً.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "en": "All human beings are born free and equal in dignity and rights.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
}

PAGE = """<!doctype html><html><head><title>T</title><style>p {}</style><script>var x = 1;</script></head>
<body><nav><a href="/">Home</a> <a href="/about">About</a></nav>
<main><article><h1>Heading</h1><p>The first paragraph of the page says something.</p>
<p>The second &amp; last one&nbsp;too.</p></article></main>
<footer>Copyright</footer></body></html>"""


def clean(data: bytes, media_type: str | None = None, **settings: int) -> CleanDocument:
    document = clean_document(data, media_type, TextSettings.model_validate(settings))
    assert isinstance(document, CleanDocument)
    return document


@pytest.mark.parametrize("language", sorted(ARTICLE_1))
def test_language_is_named(language: str) -> None:
    found, score = detect_language(ARTICLE_1[language])

    assert found == language
    assert 0.5 < score <= 1


def test_language_of_text_without_words_is_undetermined() -> None:
    assert detect_language("1234 ---\n== 5") == ("und", 0.0)


def test_html_gives_its_main_text_only() -> None:
    text = clean(PAGE.encode(), "text/html").text

    assert text == "Heading\n\nThe first paragraph of the page says something.\n\nThe second & last one too."


def test_page_without_a_main_part_gives_its_visible_text() -> None:
    assert extract_main_text("<body><nav>Only a menu</nav></body>").strip() == "Only a menu"


@pytest.mark.parametrize(
    ("text", "media_type", "expected"),
    [
        ("plain", "text/html; charset=utf-8", True),
        (PAGE, "text/plain", True),
        ("\n <?xml version='1.0'?>\n<!-- made by -->\n<html lang='en'>", None, True),
        ("a < b and <html> in prose", "text/plain", False),
        ("# Heading\n<p>Markdown</p>", None, False),
    ],
)
def test_html_is_recognised_by_type_or_start(text: str, media_type: str | None, expected: bool) -> None:
    assert is_html(text, media_type) is expected


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("cafe\u0301", "café"),
        ("a\r\nb\rc\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("zero\u200bwidth\ufeff \x00and\x07 control\x9f", "zerowidth and control"),
        ("so\xadft \u202eoverride\u202c", "soft override"),
        ("one\xa0two\u3000three  four\t five", "one two three four five"),
        ("    indented  code\n\n\n\n\nend   \n", "    indented code\n\nend"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("plain\u200djoiner", "plainjoiner"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("The cafÃ© costs 5 â‚¬", "The café costs 5 €"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("", ""),
    ],
)
def test_text_is_brought_to_normal_form(raw: str, normal: str) -> None:
    assert normalise_text(raw) == normal
    assert normalise_text(normal) == normal


@pytest.mark.parametrize("text", ARTICLE_1.values())
def test_ordinary_text_in_any_script_is_left_alone(text: str) -> None:
    assert normalise_text(text) == unicodedata.normalize("NFC", text)


def test_page_nested_too_deep_gives_the_text_between_its_tags() -> None:
    page = f"<html><style>a</style>{'<b><i>' * 9_000}<p>Fish &amp; chips<br>for two</p><!-- no -->{'</i></b>' * 9_000}"

    assert extract_main_text(page) == "Fish & chips\nfor two"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("9<b>月</b>1<b>日</b>", "9月1日"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>", "漢(かん)"),
        ("10<span>년</span>", "10년"),
        ("<i> là </i>-haut", "là -haut"),
        ("<b>s&oacute;</b> <b>&#28450;</b> <b>&#x6f22;</b> 5 <b>&euro;</b>", "só 漢 漢 5 €"),
        ("icon<i>\ue001</i><i>&#xe001;</i> <a>›</a>", "icon"),
    ],
)
def test_letter_that_stands_alone_between_tags_is_kept(markup: str, text: str) -> None:
    page = PAGE.replace("<p>The second", f"<p>{markup}</p><p>The second")
    assert extract_main_text(page).split("\n\n")[2].strip() == text


def test_only_references_to_letters_are_accompanied() -> None:
    # How long a text is decides, too, whether it belongs to the main part.
    page = "<p><b>T&gt;</b>,&nbsp;<i>a&amp;</i></p>"
    assert _accompany_letters(page) == page
    assert _accompany_letters("<b>l&agrave;</b>") == "<b>l&agrave;\u2060</b>"


def test_page_of_megabytes_gives_its_main_text_only() -> None:
    page = PAGE.replace("<p>The second", ("<p>" + "One of many sentences. " * 4 + "</p>\n") * 25_000 + "<p>The second")

    text = extract_main_text(page)
    assert len(page) > 2**21
    assert text.count("One of many") == 100_000
    assert not {"Home", "Copyright"} & set(text.split())


def test_megabytes_inside_hundreds_of_elements_give_all_visible_text() -> None:
    # Finding the main part looks through the text once for each element around it, which takes 3 s.
    text = extract_main_text(PAGE.replace("<article>", "<div>" * 500 + "many words " * 180_000))

    assert text.count("many words") == 180_000
    assert {"Home", "Copyright"} < set(text.split())


def test_items_whose_indentation_outgrows_the_page_lose_it() -> None:
    page = f"<html><body>{'<ul><li>' * 200}{'<li>x' * 9_000}"

    assert extract_main_text(page).split() == ["x"] * 9_000


def test_large_page_keeps_readings_and_formulas_but_no_drawing() -> None:
    lines = "<p>One plain line of words that fill the page.</p>" * 1_000
    page = f"<html><body><p><ruby>漢<rt>かん</ruby> <math><mi>x</mi></math></p><svg><text>label</text></svg>{lines}"

    text = extract_main_text(page)

    assert "漢かん" in text
    assert "x" in text.split()
    assert "label" not in text


def test_comparisons_in_the_scripts_of_a_large_page_are_no_tags() -> None:
    script = "for (i = 0; i<n; i++) if (a<b) f(i);\n" * 8_000
    body = "<p>One plain line of words that fill the page.</p>" * 100
    page = f"<html><script>{script}</script><body><nav><a href=/>Home</a></nav><main>{body}</main></body></html>"

    assert set(filter(None, extract_main_text(page).split("\n"))) == {"One plain line of words that fill the page."}


def test_mojibake_is_repaired_in_its_line_whatever_other_lines_hold() -> None:
    assert normalise_text("Ã‰cole å­¦\n学校 Ã‰\nvoilÃ le cafÃ©") == "École 学\n学校 É\nvoilà le café"


def test_mojibake_is_repaired_throughout_an_endless_line() -> None:
    text = ARTICLE_1["fr"].replace("\n", " ") + " "

    repaired = normalise_text((text * 200).encode().decode("cp1252"))

    assert repaired == normalise_text(text * 200)


@pytest.mark.parametrize("line", ["中Ã©\n", "中Ã© "])
def test_mojibake_of_a_document_is_repaired_up_to_a_limit_of_work(line: str) -> None:
    repaired = normalise_text(line * 150_000).count("é")

    assert 5_000 < repaired < 150_000


def test_rest_of_a_long_document_is_repaired_at_once_where_all_of_it_is_mojibake() -> None:
    text = (ARTICLE_1["fr"] + "\n") * 25_000

    assert normalise_text(text.encode().decode("latin-1")) == text.strip()


def test_endless_marks_on_one_letter_are_cut_to_thirty() -> None:
    marks = "\u0301\u0323" * 200_000

    # Left whole they would take minutes to be brought to their order.
    assert unicodedata.normalize("NFD", normalise_text(f"a{marks}b")) == "a" + "\u0323" * 15 + "\u0301" * 15 + "b"
    assert normalise_text("e\u0323\u0301" * 90) == "ẹ\u0301" * 90


@pytest.mark.parametrize("text", ["a" + "\u0344" * 30, "\u0958" + "\u0301" * 30, "a" + "\u0f73" * 31])
def test_marks_that_come_apart_are_cut_once(text: str) -> None:
    normal = normalise_text(text)
    assert len(normal) in (31, 32)
    assert normalise_text(normal) == normal


def test_marks_beyond_the_basic_plane_are_cut_and_letters_beside_them_stay() -> None:
    assert normalise_text("x" + "\U0001d165\U0001d16d" * 40) == "x" + "\U0001d165" * 15 + "\U0001d16d" * 15
    assert normalise_text("\U00010000" * 90) == "\U00010000" * 90


def test_mojibake_is_left_when_repair_is_off() -> None:
    assert clean("The cafÃ© is open".encode(), repair_mojibake=0).text == "The cafÃ© is open"


def test_same_text_in_other_bytes_has_the_same_content_hash() -> None:
    first = clean("Ein größerer Text für alle Menschen, die ihn hören.\r\n".encode("cp1252"))
    second = clean("\ufeffEin gro\u0308ßerer  Text für alle Menschen, die ihn hören. ".replace("o\u0308", "ö").encode())

    assert first.content_sha256 == second.content_sha256
    assert (first.encoding, second.encoding) == ("cp1252", "utf-8")


@pytest.mark.parametrize(
    ("data", "media_type", "reason", "measured"),
    [
        (b"", None, Reason.TEXT_TOO_SHORT, 0),
        (b" \n\t\n", None, Reason.TEXT_TOO_SHORT, 0),
        (b"<html><body><script>x()</script></body></html>", "text/html", Reason.TEXT_TOO_SHORT, 0),
        (b"%PDF-1.4 ...", "text/plain", Reason.CORRUPT_TEXT, None),
        (b"ab\x00\x00", None, Reason.CORRUPT_TEXT, 0.5),
    ],
)
def test_unusable_document_is_rejected_with_what_was_measured(
    data: bytes, media_type: str | None, reason: Reason, measured: float | None
) -> None:
    refusal = clean_document(data, media_type, TextSettings())

    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.measured) == (reason, measured)
