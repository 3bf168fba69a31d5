"""Which audio format bytes are, and whether they end too early."""

import struct
from enum import StrEnum

__all__ = ["AudioFormat", "find_truncation", "sniff_audio_format"]

_MAX_CHUNKS = 1_000
_UNKNOWN_SIZES = (0, 0xFFFF_FFFF)
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


class AudioFormat(StrEnum):
    """The audio formats that UMMP reads."""

    WAV = "wav"
    AIFF = "aiff"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"
    M4A = "m4a"


def sniff_audio_format(data: bytes) -> AudioFormat | None:
    """Return the format that the first bytes announce; names and media types are never believed."""
    if data[:4] in (b"RIFF", b"RIFX", b"RF64") and data[8:12] == b"WAVE":
        return AudioFormat.WAV
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return AudioFormat.AIFF
    if data[:4] == b"fLaC":
        return AudioFormat.FLAC
    if data[:4] == b"OggS":
        return AudioFormat.OGG
    if data[4:8] == b"ftyp" and data[8:12] not in _PICTURE_BRANDS:
        return AudioFormat.M4A
    # MPEG audio: a tag, or a frame's eleven sync bits with a layer that exists.
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06):
        return AudioFormat.MP3
    return None


def find_truncation(data: bytes, audio_format: AudioFormat) -> str | None:
    """Return in a sentence what is missing at the end, where the container tells and its decoder would not mind.

    Of the other formats the decoder itself finds fewer samples than announced.
    """
    if audio_format is AudioFormat.WAV:
        return _missing_samples(data, b"data", ">" if data[:4] == b"RIFX" else "<")
    if audio_format is AudioFormat.AIFF:
        return _missing_samples(data, b"SSND", ">")
    if audio_format is AudioFormat.OGG:
        return _missing_page(data)
    return None


def _missing_samples(data: bytes, name: bytes, byte_order: str) -> str | None:
    """Compare the size of the chunk that holds the samples with what there is; streams may leave the size open."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return None
        size: int = struct.unpack_from(f"{byte_order}I", data, position + 4)[0]
        if data[position : position + 4] == name:
            there = len(data) - position - 8
            is_short = size > there and size not in _UNKNOWN_SIZES
            return f"{there:,} of {size:,} bytes of samples are there" if is_short else None
        position += 8 + size + size % 2
    return None


def _missing_page(data: bytes) -> str | None:
    """Check that the last page is whole: RFC 3533, section 6."""
    page = data.rfind(b"OggS")
    segments = data[page + 26] if page + 26 < len(data) else 255
    sizes = data[page + 27 : page + 27 + segments]
    if len(sizes) < segments or page + 27 + segments + sum(sizes) > len(data):
        return "the last page is incomplete"
    return None
