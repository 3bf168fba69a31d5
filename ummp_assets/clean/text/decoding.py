"""Bytes to text: byte-order mark, UTF-8, what the document declares, then what its bytes look like.

The order follows the WHATWG Encoding and HTML standards (BOM, declaration, detection), but for one thing: valid UTF-8
wins over a declaration, because random text in another encoding is almost never valid UTF-8 while wrong declarations
are common.
"""

import codecs
import re
from dataclasses import dataclass

import chardet

__all__ = ["CorruptText", "DecodedText", "decode"]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Browsers read these labels as supersets of what they name (WHATWG Encoding, section 4.2).
_SUPERSETS = {"iso-8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "euc-kr": "cp949"}
_SUPERSETS |= {"us-ascii": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "shift_jis": "cp932", "utf8": "utf-8"}
_SUPERSETS |= {"iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso-8859-9": "cp1254", "ks_c_5601-1987": "cp949"}

# Codecs of Python that no document is written in; some raise whatever they are given. Found by fuzzing.
_NOT_FOR_DOCUMENTS = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)

_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9._:-]{2,40})""", re.IGNORECASE)
_MEDIA_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9._:-]{2,40})""", re.IGNORECASE)
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_HIGH_BYTES = bytes(range(0x80, 0x100))
_CONTROL_BYTES = bytes({*range(9), *range(14, 27), *range(28, 32)})

# ISO-2022 encodings are made of ASCII bytes, so that they would pass for UTF-8.
_SHIFT_SEQUENCE = b"\x1b$"

_META_BYTES = 1_024
_DETECTED_BYTES = 65_536
_MAX_CONTROL_SHARE = 0.01
_MAX_STRAY_SHARE = 0.25
_MAX_REPLACED_SHARE = 0.02

_SIGNATURES = {
    b"%PDF-": "PDF",
    b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "gzip",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"\x7fELF": "ELF",
    b"\xd0\xcf\x11\xe0": "OLE",
    b"{\\rtf": "RTF",
}


class CorruptText(Exception):
    """The bytes are no text; `measured` is the share of bytes or characters that cannot stand in one.

    Raised and caught within cleaning: it becomes the rejection `corrupt_text`.
    """

    def __init__(self, detail: str, measured: float | None = None) -> None:
        super().__init__(detail)
        self.measured = measured


@dataclass(frozen=True, slots=True)
class DecodedText:
    """Text and the encoding it was read in, under Python's name; `+cp1252` says that stray bytes were read so."""

    text: str
    encoding: str


def decode(data: bytes, media_type: str | None = None) -> DecodedText:
    """Decode a document of unknown encoding.

    Bytes that were cut off in the middle of a character at the end are dropped. Valid UTF-8 with a minority of stray
    bytes is read as UTF-8 with those bytes as Windows-1252, which is how such mixtures come about.

    Parameters
    ----------
    data:
        The whole document.
    media_type:
        Its Content-Type, with the `charset` parameter if it had one.

    Raises
    ------
    CorruptText
        The bytes are of a binary format, hold too many control bytes, or fit no encoding.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _decode_lossy(data[len(bom) :], encoding)
    _refuse_binary(data)
    try:
        if _SHIFT_SEQUENCE not in data:
            return DecodedText(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError as error:
        if error.end >= len(data) - 3 and error.reason == "unexpected end of data":
            return DecodedText(data[: error.start].decode("utf-8"), "utf-8")
    if _mostly_utf8(data):
        return DecodedText(_decode_stray(data), "utf-8+cp1252")
    candidates = [*_declared(data, media_type), *_detected(data)]
    for encoding in candidates:
        try:
            return DecodedText(data.decode(encoding), encoding)
        except UnicodeDecodeError:
            continue
    if not candidates:
        raise CorruptText("the bytes fit no known encoding")
    return _decode_lossy(data, candidates[-1])


def _decode_lossy(data: bytes, encoding: str) -> DecodedText:
    text = data.decode(encoding, "replace").removesuffix("\ufffd")
    share = text.count("\ufffd") / max(len(text), 1)
    if share > _MAX_REPLACED_SHARE:
        raise CorruptText(f"{share:.1%} of the characters are invalid in {encoding}", share)
    return DecodedText(text, encoding)


def _refuse_binary(data: bytes) -> None:
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            raise CorruptText(f"the bytes are {name}, not text")
    head = data[:_DETECTED_BYTES]
    share = (len(head) - len(head.translate(None, _CONTROL_BYTES))) / max(len(head), 1)
    if share > _MAX_CONTROL_SHARE and not _is_wide_text(head):
        raise CorruptText(f"{share:.1%} of the bytes are control bytes", share)


def _is_wide_text(head: bytes) -> bool:
    """UTF-16 or UTF-32 without a mark, whose zeros and high bytes look like control bytes."""
    for encoding in _detected(head):
        if encoding.startswith(("utf-16", "utf-32")):
            text = head[: len(head) // 4 * 4].decode(encoding, "replace")
            printable = sum(character.isprintable() or character.isspace() for character in text)
            return printable - text.count("\ufffd") > (1 - _MAX_CONTROL_SHARE) * len(text)
    return False


def _declared(data: bytes, media_type: str | None) -> list[str]:
    labels = [match.group(1) for match in [_MEDIA_CHARSET.search(media_type or "")] if match]
    if match := _META_CHARSET.search(data[:_META_BYTES]):
        labels.append(match.group(1).decode("ascii"))
    return [encoding for label in labels if (encoding := _python_name(label))]


def _detected(data: bytes) -> list[str]:
    label = chardet.detect(data[:_DETECTED_BYTES])["encoding"]
    encoding = _python_name(label) if label else None
    return [encoding] if encoding else []


def _python_name(label: str) -> str | None:
    name = _SUPERSETS.get(label.lower(), label.lower())
    try:
        info = codecs.lookup(name)
    except LookupError:
        return None
    return info.name if info._is_text_encoding and info.name not in _NOT_FOR_DOCUMENTS else None


def _mostly_utf8(data: bytes) -> bool:
    # By decoding, for finding characters with an expression takes 0.8 s in 8 MB.
    valid = data.decode("utf-8", "ignore")
    surrogates = len(_SURROGATE.findall(data)) if b"\xed" in data else 0
    high = len(data) - len(data.translate(None, _HIGH_BYTES))
    sequences = len(valid) - (len(data) - high) + surrogates
    stray = len(data) - len(valid.encode()) - 3 * surrogates
    return sequences > 1 and stray <= _MAX_STRAY_SHARE * high


def _decode_stray(data: bytes) -> str:
    """Read what is no UTF-8 as Windows-1252, and encoded surrogates as nothing."""
    return _SURROGATE.sub(b"", data).decode("utf-8", "surrogateescape").translate(_STRAY)


_STRAY = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
