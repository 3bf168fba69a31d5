"""Several hundred broken files, made by mutating real ones; the same on every run."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from ummp_assets.reasons import Reason
from ummp_assets_tests.clean.samples import photograph, sound

__all__ = ["BrokenFile", "broken_images", "broken_sounds", "whole_images", "whole_sounds"]

_TRUNCATIONS = (1, 12, 40, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
_FLIPS = 12

_ANY_IMAGE = frozenset(
    {
        Reason.CORRUPT_IMAGE,
        Reason.UNSUPPORTED_IMAGE,
        Reason.TOO_MANY_PIXELS,
        Reason.TOO_MANY_SCANS,
        Reason.IMAGE_TOO_SMALL,
        Reason.IMAGE_TOO_ELONGATED,
    }
)
_ANY_SOUND = frozenset(
    {
        Reason.CORRUPT_AUDIO,
        Reason.UNSUPPORTED_AUDIO,
        Reason.AUDIO_TOO_LONG,
        Reason.AUDIO_TOO_SHORT,
        Reason.AUDIO_TOO_QUIET,
        Reason.AUDIO_SILENT,
        Reason.AUDIO_CLIPPED,
    }
)
_CORRUPT_IMAGE, _CORRUPT_AUDIO = frozenset({Reason.CORRUPT_IMAGE}), frozenset({Reason.CORRUPT_AUDIO})
_UNSUPPORTED_IMAGE, _UNSUPPORTED_AUDIO = frozenset({Reason.UNSUPPORTED_IMAGE}), frozenset({Reason.UNSUPPORTED_AUDIO})


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A file, and what may be said of it.

    Parameters
    ----------
    reasons:
        The one that must be given; several where chance decided what was damaged.
    may_pass:
        Whether the damage may be where it does not matter.
    """

    name: str
    data: bytes
    reasons: frozenset[Reason]
    may_pass: bool = False


@lru_cache(maxsize=1)
def whole_images() -> dict[str, bytes]:
    """Return one photograph in every format."""
    picture = Image.open(io.BytesIO(photograph("coffee.png"))).convert("RGB").resize((300, 200))
    files = {"jpeg": photograph("rocket.jpg")}
    formats: dict[str, dict[str, Any]] = {
        "png": {},
        "webp": {"quality": 80},
        "gif": {},
        "tiff": {"compression": "tiff_lzw"},
        "bmp": {},
        "avif": {"speed": 10},
        "progressive jpeg": {"progressive": True},
        "cmyk jpeg": {},
    }
    for name, options in formats.items():
        file = io.BytesIO()
        coloured = picture.convert("CMYK") if name.startswith("cmyk") else picture
        coloured.save(file, name.rsplit(" ", 1)[-1].upper(), **options)
        files[name] = file.getvalue()
    return files


@lru_cache(maxsize=1)
def whole_sounds() -> dict[str, bytes]:
    """Return one recording in every format."""
    samples, rate_hz = soundfile.read(io.BytesIO(sound("house_lo.wav")), dtype="int16")
    files = {"wav": sound("house_lo.wav"), "ogg": sound("house_lo.ogg"), "mp3": sound("house_lo.mp3")}
    for name in ("flac", "aiff"):
        file = io.BytesIO()
        soundfile.write(file, samples, rate_hz, format=name.upper(), subtype="PCM_16")
        files[name] = file.getvalue()
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return files | {"m4a": file.getvalue()}


def broken_images() -> Iterator[BrokenFile]:
    """Yield damaged, hostile and mistaken images."""
    for name, data in whole_images().items():
        yield from _damaged(name, data, _CORRUPT_IMAGE, _UNSUPPORTED_IMAGE, _ANY_IMAGE)
    for name, data in (("text", b"words " * 100), ("empty", b""), ("wav", sound("boom.wav")), ("pdf", b"%PDF-1.7\n%")):
        yield BrokenFile(f"{name} as image", data, _UNSUPPORTED_IMAGE)
    yield from _bombs()
    yield from _floods()
    yield from _impossible_images()


def broken_sounds() -> Iterator[BrokenFile]:
    """Yield damaged, hostile and mistaken recordings."""
    for name, data in whole_sounds().items():
        # This MP3 has no header that tells its length: what a cut leaves is a shorter MP3.
        yield from _damaged(name, data, _CORRUPT_AUDIO, _UNSUPPORTED_AUDIO, _ANY_SOUND, cut_may_pass=name == "mp3")
    for name, data in (("text", b"words " * 100), ("empty", b""), ("png", photograph("coffee.png"))):
        yield BrokenFile(f"{name} as sound", data, _UNSUPPORTED_AUDIO)
    yield from _odd_sounds()


def _damaged(
    name: str,
    data: bytes,
    corrupt: frozenset[Reason],
    unsupported: frozenset[Reason],
    flip_reasons: frozenset[Reason],
    *,
    cut_may_pass: bool = False,
) -> Iterator[BrokenFile]:
    for cut in _TRUNCATIONS:
        length = cut if isinstance(cut, int) else int(len(data) * cut)
        # One byte is no format's signature.
        reasons = unsupported if length == 1 else corrupt
        yield BrokenFile(f"{name} cut to {length}", data[:length], reasons, cut_may_pass)
    chance = random.Random(name)
    for number in range(_FLIPS):
        flipped = bytearray(data)
        # Half of the damage goes to the header, where it does most.
        end = min(len(data), 400) if number % 2 else len(data)
        for _ in range(1 + number):
            flipped[chance.randrange(end)] ^= 1 << chance.randrange(8)
        yield BrokenFile(f"{name} flipped {number}", bytes(flipped), flip_reasons, may_pass=True)
    middle = len(data) // 2
    yield BrokenFile(f"{name} zeroed", data[:middle] + bytes(200) + data[middle + 200 :], flip_reasons, may_pass=True)
    yield BrokenFile(f"{name} repeated inside", data[:middle] + data, flip_reasons, may_pass=True)
    yield BrokenFile(f"{name} noise", data[:16] + chance.randbytes(5_000), flip_reasons, may_pass=True)


def _bombs() -> Iterator[BrokenFile]:
    too_many = frozenset({Reason.TOO_MANY_PIXELS})
    flat = zlib.compress(bytes(10_000 * 1_251), 9)
    yield BrokenFile("flat png of 100 megapixels", _png(10_000, 10_000, 1, 0, flat), too_many)
    yield BrokenFile("png of 10 gigapixels", _png(100_000, 100_000, 8, 2, flat), too_many)
    yield BrokenFile(
        "gif of 4 gigapixels", _patched(whole_images()["gif"], 6, struct.pack("<HH", 65_535, 65_535)), too_many
    )
    webp = b"RIFF\x1e\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + b"\xfe\x3f\x00" * 2
    yield BrokenFile("webp of 268 megapixels", webp, too_many)
    gif = whole_images()["gif"]
    # A frame may be larger than the screen that the header names; readers then enlarge the screen.
    wide = _patched(gif, gif.index(b"\x2c\0\0\0\0") + 5, struct.pack("<HH", 65_535, 65_535))
    yield BrokenFile("gif with a frame of 4 gigapixels", wide, too_many)
    lossless = b"RIFF\x12\x00\x00\x00WEBPVP8L\x06\x00\x00\x00\x2f\xff\xff\xff\x0f\x00"
    yield BrokenFile("lossless webp of 268 megapixels", lossless, too_many)
    for compression in ("group4", "tiff_adobe_deflate"):
        file = io.BytesIO()
        Image.new("1", (10_000, 10_000)).save(file, "TIFF", compression=compression)
        yield BrokenFile(f"flat {compression} tiff of 100 megapixels", file.getvalue(), too_many)
    bmp = _patched(whole_images()["bmp"], 18, struct.pack("<ii", 60_000, 60_000))
    yield BrokenFile("bmp of 3.6 gigapixels", bmp, too_many)
    yield BrokenFile("tiff of 10 gigapixels", _tiff({256: 100_000, 257: 100_000}), too_many)
    yield BrokenFile("tiff with a tile of 2.5 gigapixels", _tiff({322: 50_000, 323: 50_000}), too_many)
    jpeg = whole_images()["jpeg"]
    start = jpeg.index(b"\xff\xc0")
    huge = _patched(jpeg, start + 5, struct.pack(">HH", 65_500, 65_500))
    yield BrokenFile("jpeg of 4.3 gigapixels", huge, too_many)
    progressive = whole_images()["progressive jpeg"]
    scan = progressive.rindex(b"\xff\xda")
    many = progressive[:scan] + progressive[scan:-2] * 15_000 + progressive[-2:]
    yield BrokenFile("jpeg of 15,000 scans", many, frozenset({Reason.TOO_MANY_SCANS}))
    zeros = zlib.compress(bytes(200_000_000), 9)
    profile = _chunk(b"iCCP", b"x\0\0" + zeros)
    yield BrokenFile("png with a profile of 200 MB", _inserted(profile), _CORRUPT_IMAGE)
    text = _chunk(b"zTXt", b"x\0\0" + zeros)
    yield BrokenFile("png with a text of 200 MB", _inserted(text), _CORRUPT_IMAGE)


def _floods() -> Iterator[BrokenFile]:
    """Yield files of so many pieces that a reader who looks at each takes seconds."""
    jpeg, png, gif = (whole_images()[name] for name in ("jpeg", "png", "gif"))
    yield BrokenFile("jpeg of two million segments", jpeg[:2] + b"\xff\xfe\0\2" * 2_000_000 + jpeg[2:], _CORRUPT_IMAGE)
    yield BrokenFile("jpeg behind 30 MB of fill bytes", jpeg[:2] + b"\xff" * 30_000_000 + jpeg[2:], _CORRUPT_IMAGE)
    chunks = _chunk(b"tEXt", b"") * 2_000_000
    yield BrokenFile("png of two million chunks", png[:33] + chunks + png[33:], _CORRUPT_IMAGE)
    frame = gif.index(b"\x2c\0\0\0\0")
    comments = b"\x21\xfe\1a\0" * 2_000_000
    yield BrokenFile("gif of two million comments", gif[:frame] + comments + gif[frame:], _CORRUPT_IMAGE)


def _impossible_images() -> Iterator[BrokenFile]:
    whole, nothing = whole_images(), _CORRUPT_IMAGE
    yield BrokenFile("png of 0 x 0", _png(0, 0, 8, 2, zlib.compress(b"")), nothing)
    yield BrokenFile("gif of 0 x 0", _patched(whole["gif"], 6, bytes(4)), nothing, may_pass=True)
    yield BrokenFile("bmp of 0 x 0", _patched(whole["bmp"], 18, bytes(8)), nothing)
    start = whole["jpeg"].index(b"\xff\xc0")
    yield BrokenFile("jpeg of 0 x 0", _patched(whole["jpeg"], start + 5, bytes(4)), nothing)
    yield BrokenFile("tiff of 0 x 0", _tiff({256: 0, 257: 0}), nothing)
    thread = _png(1, 100_000, 8, 0, zlib.compress(bytes(200_000)))
    yield BrokenFile("png of 1 x 100000", thread, frozenset({Reason.IMAGE_TOO_SMALL}))
    yield BrokenFile("png without pixels", _png(64, 64, 8, 2, b""), nothing)
    yield BrokenFile("png with too few pixels", _png(64, 64, 8, 2, zlib.compress(bytes(500))), nothing)
    row = b"\0" + bytes([200] * 192)
    yield BrokenFile("png that ends between two rows", _png(64, 64, 8, 2, zlib.compress(row * 32)), nothing)
    yield BrokenFile("png without an end", _png(64, 64, 8, 2, zlib.compress(row * 64))[:-12], nothing)
    fax = io.BytesIO()
    Image.open(io.BytesIO(photograph("coffee.png"))).convert("1").save(fax, "TIFF", compression="group4")
    yield BrokenFile("tiff of a damaged fax", _patched(fax.getvalue(), 9_000, b"\xa5" * 100), nothing)
    yield BrokenFile("png of 17 bits", _png(64, 64, 17, 2, zlib.compress(bytes(20_000))), nothing)
    yield BrokenFile("tiff that ends in itself", b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0", nothing)


def _odd_sounds() -> Iterator[BrokenFile]:
    corrupt, short = _CORRUPT_AUDIO, frozenset({Reason.AUDIO_TOO_SHORT})
    tone = np.sin(np.arange(16_000, dtype=np.float32) / 9) * np.float32(0.5)
    for name, value in (("NaN", np.nan), ("infinite", np.inf), ("huge", 1e30)):
        poisoned = tone.copy()
        poisoned[8_000] = value
        yield BrokenFile(f"wav with a {name} sample", _wav(poisoned), corrupt)
    yield BrokenFile("wav of NaN only", _wav(np.full(16_000, np.nan, np.float32)), corrupt)
    channels = np.stack([tone] * 8, axis=1)
    channels[8_000, 7] = np.nan
    yield BrokenFile("wav of eight channels, one of them with a NaN", _wav(channels), corrupt)
    for audio_format in ("WAV", "FLAC", "AIFF", "OGG"):
        yield BrokenFile(f"{audio_format} of one sample", _written(tone[:1], audio_format), short)
        eight = _written(np.stack([tone] * 8, axis=1), audio_format)
        yield BrokenFile(f"{audio_format} of eight channels, cut in half", eight[: len(eight) // 2], corrupt)
    yield BrokenFile("wav of no sample", _wav(tone[:0]), short)
    yield BrokenFile("wav of silence", _wav(np.zeros(16_000, np.float32)), frozenset({Reason.AUDIO_TOO_QUIET}))
    whole = whole_sounds()["wav"]
    for name, offset, patch in (
        ("no channel", 22, b"\0\0"),
        ("65,535 channels", 22, b"\xff\xff"),
        ("a rate of 0 Hz", 24, bytes(4)),
        ("a rate of 4 GHz", 24, b"\xff\xff\xff\xff"),
        ("no bits", 34, b"\0\0"),
    ):
        yield BrokenFile(f"wav with {name}", _patched(whole, offset, patch), corrupt)
    yield BrokenFile("wav with an unknown codec", _patched(whole, 20, b"\x99\x99"), _UNSUPPORTED_AUDIO)
    hours = io.BytesIO()
    with soundfile.SoundFile(hours, "w", 8_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(80):
            file.write(np.zeros(8_000 * 60, np.int16))
    yield BrokenFile("flac of 80 minutes of silence", hours.getvalue(), frozenset({Reason.AUDIO_TOO_LONG}))


def _png(width: int, height: int, bits: int, colour: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _inserted(chunk: bytes) -> bytes:
    """Return a good PNG with one more chunk after its header."""
    png = whole_images()["png"]
    return png[:33] + chunk + png[33:]


def _tiff(changes: dict[int, int]) -> bytes:
    """Return an uncompressed RGB TIFF of 64 x 64 with other tags."""
    tags = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 64, 279: 4_096} | changes
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return (b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + bytes(4_096)


def _wav(samples: npt.NDArray[np.floating[Any]]) -> bytes:
    return _written(samples, "WAV", "FLOAT")


def _written(samples: npt.NDArray[np.floating[Any]], audio_format: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format=audio_format, subtype=subtype)
    return file.getvalue()


def _patched(data: bytes, offset: int, patch: bytes) -> bytes:
    return data[:offset] + patch + data[offset + len(patch) :]
