"""What kind of content bytes are."""

import pytest

from ummp_assets.fetch.modality import declared_or_guessed, resolve_modality

JPEG, PNG, WEBP = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8 "
WAVE, MP3, OGG = b"RIFF\x10\0\0\0WAVEfmt ", b"\xff\xfb\x90\x64", b"OggS\0"


@pytest.mark.parametrize(
    ("head", "media_type", "uri", "kind"),
    [
        (JPEG, None, "http://a/x", "image"),
        (PNG, "text/html", "http://a/x.txt", "image"),
        (WEBP, None, "http://a/x", "image"),
        (WAVE, None, "http://a/x", "audio"),
        (MP3, None, "http://a/x", "audio"),
        (b"MM\0+\0\x08", None, "http://a/x", "image"),
        (b"\0\0\0\x20ftypavis", None, "http://a/x", "image"),
        (b"\0\0\0\x20ftypmif1", None, "http://a/x", "image"),
        (b"FORM\0\0\1\0AIFCFVER", None, "http://a/x", "audio"),
        (OGG, "application/octet-stream", "http://a/x", "audio"),
        (b"<!DOCTYPE html>", None, "http://a/x", "text"),
        (b"plain words", "text/plain", "http://a/x", "text"),
        (b"plain words", "text/plain", "http://a/x.csv", "table"),
        (b"plain words", None, "http://a/x", "text"),
        (b"\xff\xfeh\0i\0", None, "http://a/x", "text"),
        (b"a,b\n", "text/csv; charset=utf-8", "http://a/x", "table"),
        (b"BMW and other cars", None, "http://a/x", "text"),
        (b"BM\x36\0\x0c\0\0\0\0\0\x36\0", None, "http://a/x", "image"),
        (b"{}", "application/json", "http://a/x", "text"),
        (b"{}", "application/x-ndjson", "http://a/x", "table"),
        (b"PAR1", None, "http://a/x", "table"),
        (b"PK\x03\x04", None, "http://a/x", "archive"),
        (b"PK\x03\x04", None, "http://a/x.docx", None),
        (b"\x1f\x8b\x08", None, "http://a/x.jsonl.gz?v=1", "table"),
        (b"\x1f\x8b\x08", None, "http://a/x.tar.gz", "archive"),
        (b"%PDF-1.7", "text/plain", "http://a/x.txt", None),
        (b"\0\0\0\x18ftypmp42", "video/mp4", "http://a/x", None),
        (b"\0\0\0\x18ftypmp42", None, "http://a/x.m4a", "audio"),
        (b"\0\0\0\x18ftypisom", "audio/mp4", "http://a/x", "audio"),
        (b"\0\0\0\x18ftypisom", None, "http://a/x.mp4", None),
        (b"\0\0\0\x1cftypM4A ", None, "http://a/x", "audio"),
        (b"\0\1\2", "video/unknown", "http://a/x", None),
        (b"\0\1\2", "application/octet-stream", "http://a/x", None),
        (b"\0\1\2", "image/x-rare", "http://a/x", "image"),
    ],
)
def test_bytes_decide_before_media_type_and_extension(
    head: bytes, media_type: str | None, uri: str, kind: str | None
) -> None:
    assert resolve_modality("auto", head, media_type, uri) == kind


def test_declared_modality_is_taken_at_its_word() -> None:
    assert resolve_modality("text", JPEG, "image/jpeg", "http://a/x.jpg") == "text"


@pytest.mark.parametrize(
    ("declared", "uri", "kind"),
    [
        ("auto", "http://a/x.JPG?y=1", "image"),
        ("auto", "http://a/x", "text"),
        ("audio", "http://a/x.jpg", "audio"),
        ("auto", "http://[", "text"),
        ("auto", "s3://b/x.tar.gz", "archive"),
    ],
)
def test_sample_without_bytes_is_counted_under_its_extension(declared: str, uri: str, kind: str) -> None:
    assert declared_or_guessed(declared, uri) == kind
