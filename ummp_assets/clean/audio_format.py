"""Which audio format bytes are, and whether they end too early."""

import struct
from enum import StrEnum

from ummp_assets.clean.audio_ogg import missing_page
from ummp_assets.clean.audio_riff import find_chunk

__all__ = ["AudioFormat", "find_foreign_codec", "find_truncation", "sniff_audio_format"]

# What writers put for the size of samples that they have not counted yet: nothing, SoX's number, or the largest there
# is of 31 or 32 bits, less a header or as arecord rounds it.
_OPEN_SIZES = (0, 0x7FFF_F000)
_LARGEST_SIZES = (0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
_BELOW_LARGEST = 256
# The codecs that libsndfile reads in each container.
_WAV_CODECS = frozenset({1, 2, 3, 6, 7, 0x11, 0x31, 0x38, 0x40, 0x55})
_WAV_EXTENSIBLE = 0xFFFE
_PCM, _MAX_PCM_BITS = 1, 32
_AIFF_CODECS = frozenset(
    b"NONE sowt twos raw  fl32 FL32 fl64 FL64 ulaw ULAW alaw ALAW ima4 GSM  in24 in32 ni24 42ni 23ni".split(b" ")
)
_OGG_CODECS = (b"\x01vorbis", b"OpusHead")
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


class AudioFormat(StrEnum):
    """The audio formats that UMMP reads."""

    WAV = "wav"
    AIFF = "aiff"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"
    M4A = "m4a"


def sniff_audio_format(data: bytes | memoryview) -> AudioFormat | None:
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


def find_foreign_codec(data: bytes | memoryview, audio_format: AudioFormat) -> str | None:
    """Return the name of the codec in a container that libsndfile reads with other codecs only."""
    if audio_format is AudioFormat.WAV:
        order = ">" if data[:4] == b"RIFX" else "<"
        start = find_chunk(data, b"fmt ", order)
        if start is None or start + 26 > len(data):
            return None
        (tag,) = struct.unpack_from(f"{order}H", data, start)
        (bits,) = struct.unpack_from(f"{order}H", data, start + 14)
        if tag == _PCM and bits > _MAX_PCM_BITS:
            return f"PCM of {bits} bits"
        if tag == _WAV_EXTENSIBLE:
            (tag,) = struct.unpack_from(f"{order}H", data, start + 24)
        return None if tag in _WAV_CODECS else f"{tag:#06x}"
    if audio_format is AudioFormat.AIFF and data[8:12] == b"AIFC":
        start = find_chunk(data, b"COMM", ">")
        name = bytes(data[start + 18 : start + 22]) if start is not None else b""
        return None if len(name) < 4 or name in _AIFF_CODECS else repr(name)
    if audio_format is AudioFormat.OGG and len(data) > 36:
        # RFC 3533, section 6: the first packet follows the page's segment table.
        start = 27 + data[26]
        name = bytes(data[start : start + 8])
        return None if name.startswith(_OGG_CODECS) else repr(name)
    return None


def find_truncation(data: bytes | memoryview, audio_format: AudioFormat) -> str | None:
    """Return in a sentence what is missing at the end, where the container tells and its decoder would not mind.

    Of the other formats the decoder itself finds fewer samples than announced.
    """
    if audio_format is AudioFormat.WAV:
        return _missing_samples(data, b"data", ">" if data[:4] == b"RIFX" else "<")
    if audio_format is AudioFormat.AIFF:
        return _missing_samples(data, b"SSND", ">")
    if audio_format is AudioFormat.OGG:
        return missing_page(data)
    return None


def _missing_samples(data: bytes | memoryview, name: bytes, byte_order: str) -> str | None:
    """Compare the size of the chunk that holds the samples with what there is; streams may leave the size open."""
    start = find_chunk(data, name, byte_order)
    if start is None:
        return None
    size: int = struct.unpack_from(f"{byte_order}I", data, start - 4)[0]
    sizes = find_chunk(data, b"ds64", byte_order) if data[:4] == b"RF64" else None
    if sizes is not None and sizes + 16 <= len(data):
        # EBU Tech 3306: the sizes of 64 bits stand there, that of the whole file first.
        size = struct.unpack_from("<Q", data, sizes + 8)[0]
    there = len(data) - start
    if size <= there or size in _OPEN_SIZES or any(0 <= most - size <= _BELOW_LARGEST for most in _LARGEST_SIZES):
        return None
    return f"{there:,} of {size:,} bytes of samples are there"
