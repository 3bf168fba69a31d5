"""What kind of content bytes are: by their first bytes, then by media type, then by the name's extension.

Signatures are those of the WHATWG "MIME Sniffing" standard and of the formats' own specifications. The first bytes
decide before the media type, because servers mislabel far more often than files carry a wrong signature.
"""

import codecs
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from ummp_assets.records import Modality

__all__ = ["ARCHIVE", "AUTO", "HEAD_BYTES", "TABLE", "declared_or_guessed", "extension_of", "resolve_modality"]

AUTO, ARCHIVE, TABLE = "auto", "archive", "table"
HEAD_BYTES = 512

_OTHER = "other"
_MODALITIES = frozenset(Modality)

# UTF-16; the little-endian one looks like the beginning of an MPEG audio frame, of a layer that nobody uses.
_BYTE_ORDER_MARKS = (b"\xfe\xff", b"\xff\xfe")

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", Modality.IMAGE),
    (0, b"\x89PNG\r\n\x1a\n", Modality.IMAGE),
    (0, b"GIF87a", Modality.IMAGE),
    (0, b"GIF89a", Modality.IMAGE),
    (0, b"II*\0", Modality.IMAGE),
    (0, b"MM\0*", Modality.IMAGE),
    (0, b"II+\0", Modality.IMAGE),
    (0, b"MM\0+", Modality.IMAGE),
    (8, b"WEBP", Modality.IMAGE),
    (4, b"ftypavi", Modality.IMAGE),
    (4, b"ftypmif1", Modality.IMAGE),
    (4, b"ftyphei", Modality.IMAGE),
    (0, b"\0\0\0\x0cjP  ", Modality.IMAGE),
    (8, b"WAVE", Modality.AUDIO),
    (8, b"AIFF", Modality.AUDIO),
    (8, b"AIFC", Modality.AUDIO),
    (0, b"fLaC", Modality.AUDIO),
    (0, b"OggS", Modality.AUDIO),
    (0, b"ID3", Modality.AUDIO),
    (0, b".snd", Modality.AUDIO),
    (4, b"ftypM4A", Modality.AUDIO),
    (4, b"ftyp", _OTHER),
    (0, b"PAR1", TABLE),
    (0, b"PK\x03\x04", ARCHIVE),
    (0, b"PK\x05\x06", ARCHIVE),
    (0, b"\x1f\x8b", ARCHIVE),
    (0, b"\x28\xb5\x2f\xfd", ARCHIVE),
    (257, b"ustar", ARCHIVE),
    (0, b"WARC/", ARCHIVE),
    (0, b"%PDF-", _OTHER),
    (0, b"\x7fELF", _OTHER),
    (0, b"\x1a\x45\xdf\xa3", _OTHER),
    (0, b"<?xml", Modality.TEXT),
    (0, b"<!DOCTYPE", Modality.TEXT),
)

_MEDIA_TYPES = {
    "application/json": Modality.TEXT,
    "application/xml": Modality.TEXT,
    "application/xhtml+xml": Modality.TEXT,
    "application/ogg": Modality.AUDIO,
    "application/zip": ARCHIVE,
    "application/x-tar": ARCHIVE,
    "application/gzip": ARCHIVE,
    "application/x-gzip": ARCHIVE,
    "application/zstd": ARCHIVE,
    "application/warc": ARCHIVE,
    "application/vnd.apache.parquet": TABLE,
    "application/x-ndjson": TABLE,
    "application/jsonl": TABLE,
    "text/csv": TABLE,
    "text/tab-separated-values": TABLE,
}

_EXTENSIONS = {
    **dict.fromkeys(("txt", "md", "rst", "html", "htm", "xhtml", "xml", "json", "tex"), Modality.TEXT),
    **dict.fromkeys(("jpg", "jpeg", "png", "gif", "bmp", "webp", "tif", "tiff", "avif", "heic", "jp2"), Modality.IMAGE),
    **dict.fromkeys(("wav", "mp3", "flac", "ogg", "oga", "opus", "aiff", "aif", "m4a", "au"), Modality.AUDIO),
    **dict.fromkeys(("zip", "tar", "tgz", "gz", "zst", "warc"), ARCHIVE),
    **dict.fromkeys(("jsonl", "ndjson", "csv", "tsv", "parquet"), TABLE),
}
# Zip files that are documents or programs, not collections of samples.
_DOCUMENTS = frozenset({"docx", "xlsx", "pptx", "odt", "ods", "odp", "epub", "jar", "apk", "whl"})
_COMPRESSED_TABLES = ("jsonl.gz", "ndjson.gz", "jsonl.zst", "csv.gz")


def extension_of(uri: str) -> str:
    """Return the extension of a URI's or member's last path segment, lower case, without the dot; "" if it has none.

    >>> extension_of("https://example.org/a/B.TAR.GZ?x=1")
    'gz'
    """
    return PurePosixPath(_path_of(uri)).suffix[1:].lower()


def declared_or_guessed(declared: str, uri: str) -> str:
    """Return the modality that a sample without bytes is counted under: what its request declared, for `auto` what the
    extension says, else text."""
    if declared != AUTO:
        return declared
    return str(_by_extension(uri) or Modality.TEXT)


def resolve_modality(declared: str, head: bytes, media_type: str | None, uri: str) -> str | None:
    """Return text, image, audio, archive or table; None when the bytes are none of these.

    Parameters
    ----------
    declared:
        What the request says; anything but `auto` is taken at its word.
    head:
        The first `HEAD_BYTES` bytes.
    media_type:
        The `Content-Type` header as it came.
    """
    if declared != AUTO:
        return declared
    kind = _by_signature(head)
    if kind == ARCHIVE:
        kind = _kind_of_archive(uri)
    plain = (media_type or "").partition(";")[0].strip().lower()
    if kind == _OTHER and head.startswith(b"ftyp", 4) and Modality.AUDIO in (_by_media_type(plain), _by_extension(uri)):
        # Recordings often come under a brand of films.
        return Modality.AUDIO.value
    if kind is None:
        # "text/plain" and "application/octet-stream" are what servers say when they know nothing.
        kind = _by_media_type(plain) if plain != "text/plain" else None
        kind = kind or _by_extension(uri) or (Modality.TEXT if _looks_like_text(head) else None)
        if head.startswith(codecs.BOM_UTF8) and kind != TABLE:
            kind = Modality.TEXT
    return None if kind is None or kind == _OTHER else str(kind)


def _path_of(uri: str) -> str:
    try:
        return unquote(urlsplit(uri).path) or uri
    except ValueError:
        return uri


def _by_signature(head: bytes) -> str | None:
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    # A bitmap has four zeros where a text that begins with BM has letters.
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return Modality.IMAGE
    if head.startswith(_BYTE_ORDER_MARKS):
        return Modality.TEXT
    # MPEG audio frames: eleven set bits, then a version and layer that are not reserved.
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08 and head[1] & 0x06:
        return Modality.AUDIO
    return None


def _kind_of_archive(uri: str) -> str:
    if extension_of(uri) in _DOCUMENTS:
        return _OTHER
    return TABLE if _path_of(uri).lower().endswith(_COMPRESSED_TABLES) else ARCHIVE


def _by_media_type(media_type: str) -> str | None:
    if media_type in _MEDIA_TYPES:
        return _MEDIA_TYPES[media_type]
    family = media_type.partition("/")[0]
    if family == "video":
        return _OTHER
    return family if family in _MODALITIES else None


def _by_extension(uri: str) -> str | None:
    if _path_of(uri).lower().endswith(_COMPRESSED_TABLES):
        return TABLE
    return _EXTENSIONS.get(extension_of(uri))


def _looks_like_text(head: bytes) -> bool:
    """Return whether there is no byte that text does not hold ("binary data byte", WHATWG MIME Sniffing, 3)."""
    return not any(byte < 9 or byte == 11 or 14 <= byte < 27 or 28 <= byte < 32 for byte in head)
