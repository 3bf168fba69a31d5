"""Many pictures and recordings for the benchmarks, for `memory` the largest that the settings allow among them."""

import io
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from ummp_assets_tests.clean.samples import photograph, sound

__all__ = ["cut_photographs", "photographs", "recordings"]

_PHOTOGRAPHS = (
    "rocket.jpg coffee.png chelsea.png astronaut.png retina.jpg hubble_deep_field.jpg ihc.png motorcycle_left.png"
)

_RATE_HZ, _SECONDS = 16_000, 30
_LONGEST_SECONDS = 590


def cut_photographs(count: int, width: int, height: int) -> Iterator[bytes]:
    """Yield JPEGs of this size, cut from real photographs at random places."""
    wholes = [_enlarged(photograph(name), 7 * height // 4) for name in _PHOTOGRAPHS.split()]
    chance = np.random.default_rng(0)
    for number in range(count):
        whole = wholes[number % len(wholes)]
        top, left = chance.integers(whole.shape[0] - height), chance.integers(whole.shape[1] - width)
        cut = whole[top : top + height, left : left + width]
        yield cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def _enlarged(data: bytes, min_side: int) -> npt.NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    scale = max(1.0, min_side / min(pixels.shape[:2]))
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)


def photographs(quick: bool) -> Iterator[bytes]:
    """Yield 10,000 JPEGs of 500 x 400 and, one after every thousand, a picture of 49 megapixels."""
    for number, cut in enumerate(cut_photographs(1_000 if quick else 10_000, 500, 400)):
        yield cut
        if number % 1_000 == 999:
            yield _largest_picture(number)


def recordings(quick: bool) -> Iterator[bytes]:
    """Yield 1,000 recordings of 30 s as FLAC and, one after every hundred, one of ten minutes as Vorbis."""
    real, rate_hz = soundfile.read(io.BytesIO(sound("house_lo.wav")), dtype="int16")
    music = np.tile(real, 1 + 2 * _SECONDS * _RATE_HZ // len(real))
    for number in range(100 if quick else 1_000):
        # The same music played a little faster each time: no two recordings are alike.
        file = io.BytesIO()
        soundfile.write(file, music[number : number + _SECONDS * rate_hz], rate_hz + number, format="FLAC")
        yield file.getvalue()
        if number % 100 == 99:
            yield _longest_recording(number)


def _largest_picture(seed: int) -> bytes:
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 255, (70, 70, 4), dtype=np.uint8)
    pixels = cv2.resize(coarse, (7_000, 7_000), interpolation=cv2.INTER_NEAREST)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _longest_recording(seed: int) -> bytes:
    tone = (8_000 * np.sin(2 * np.pi * (100 + seed) * np.arange(_RATE_HZ) / _RATE_HZ)).astype(np.int16)
    file = io.BytesIO()
    # A second at a time: given minutes at once, libsndfile's Vorbis encoder overflows the stack.
    with soundfile.SoundFile(file, "w", _RATE_HZ, 1, "VORBIS", format="OGG") as recording:
        for _ in range(_LONGEST_SECONDS):
            recording.write(tone)
    return file.getvalue()
