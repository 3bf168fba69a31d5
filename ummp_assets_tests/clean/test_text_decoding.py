"""Encodings: every way a document can say or hide what it is written in."""

import pytest

from ummp_assets.clean.text.decoding import CorruptText, decode

CHINESE = "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。" * 3
TRADITIONAL = "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神相對待。" * 3
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。" * 3
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다." * 3
RUSSIAN = "Все люди рождаются свободными и равными в своем достоинстве и правах." * 3
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Wir müssen größer denken. " * 3


@pytest.mark.parametrize(
    ("text", "written", "read"),
    [
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "gb18030", "gb18030"),
        (CHINESE, "utf-16", "utf-16-le"),
        (CHINESE, "utf-16-le", "utf-16-le"),
        (TRADITIONAL, "big5", "big5"),
        (JAPANESE, "shift_jis", "cp932"),
        (JAPANESE, "euc_jp", "euc_jp"),
        (JAPANESE, "iso2022_jp", "iso2022_jp"),
        ("Title\n" + JAPANESE, "utf-16-be", "utf-16-be"),
        (KOREAN, "euc_kr", "cp949"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (RUSSIAN, "cp1251", "cp1251"),
        (GERMAN, "cp1252", "cp1252"),
        (GERMAN, "utf-8-sig", "utf-8"),
        (GERMAN, "utf-32", "utf-32-le"),
    ],
)
def test_undeclared_encoding_is_found(text: str, written: str, read: str) -> None:
    decoded = decode(text.encode(written))

    assert (decoded.text, decoded.encoding) == (text, read)


def test_declared_encoding_wins_over_detection() -> None:
    short = "größer".encode("cp1252")

    assert decode(short, "text/plain; charset=ISO-8859-2").encoding == "iso8859-2"
    assert decode(short, "text/plain; charset=ISO-8859-1").text == "größer"
    assert decode(b'<meta charset="koi8-r">' + RUSSIAN.encode("koi8-r")).text.endswith(RUSSIAN)


@pytest.mark.parametrize(
    "charset", ["nonsense", "rot13", "undefined", "punycode", "idna", "unicode_escape", "utf-7", ""]
)
def test_unusable_declaration_is_ignored(charset: str) -> None:
    assert decode(RUSSIAN.encode("koi8-r"), f"text/plain; charset={charset}").text == RUSSIAN


def test_valid_utf8_wins_over_a_wrong_declaration() -> None:
    assert decode(GERMAN.encode(), "text/html; charset=iso-8859-1").text == GERMAN


def test_chinese_declared_as_utf8_is_still_read() -> None:
    assert decode(CHINESE.encode("gbk"), "text/html; charset=utf-8").text == CHINESE


def test_stray_windows_bytes_in_utf8_are_read_as_such() -> None:
    decoded = decode(GERMAN.encode() + b"\x93caf\xe9\x94 " + GERMAN.encode())

    assert decoded.text == GERMAN + "“café” " + GERMAN
    assert decoded.encoding == "utf-8+cp1252"


def test_encoded_surrogates_are_dropped() -> None:
    assert decode(GERMAN.encode() + b"a\xed\xa0\x80b").text == GERMAN + "ab"


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
def test_document_cut_inside_a_character_keeps_the_rest(cut: int) -> None:
    assert CHINESE.startswith(decode(CHINESE.encode()[:-cut]).text)
    assert len(decode(CHINESE.encode()[:-cut]).text) == len(CHINESE) - (cut + 2) // 3
    assert CHINESE.startswith(decode(CHINESE.encode("utf-16")[:-cut]).text)


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7 text",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"PK\x03\x04archive",
        bytes(range(256)) * 8,
        b"text\x00\x01\x02\x03" * 50,
        b"\xff\xfe" + b"\x00\xd8" * 100,
    ],
)
def test_binary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptText):
        decode(data)


def test_share_of_control_bytes_is_measured() -> None:
    with pytest.raises(CorruptText) as caught:
        decode(b"abc\x01" * 100)

    assert caught.value.measured == 0.25


def test_empty_document_is_empty_text() -> None:
    assert decode(b"").text == ""
