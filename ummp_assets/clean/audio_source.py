"""Reads sound files as blocks of samples: libsndfile for most formats, FFmpeg (the extra `av`) for M4A."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile

from ummp_assets.clean.audio_format import AudioFormat

__all__ = ["AudioSource", "open_source"]

Samples = npt.NDArray[np.float32] | npt.NDArray[np.int16]

# Small enough for the second-level cache, large enough for the resampler.
_BLOCK_SAMPLES = 1 << 17
_INT16_SUBTYPES = ("PCM_16", "PCM_S8", "PCM_U8")
_MAX_ANNOUNCED_FRAMES = 1 << 48
# Gapless playback cuts the encoder's delay and padding, of which decoders of MP3 keep one frame more or less.
_MP3_SLACK_FRAMES = 4 * 1_152


@dataclass(frozen=True, slots=True)
class AudioSource:
    """A sound file that is open.

    Parameters
    ----------
    announced_frames:
        Frames that the header announces, if it does.
    slack_frames:
        So many fewer are no sign of truncation.
    blocks:
        Samples as float32, -1 to 1 where the file keeps to it, or as int16 where the file holds no more bits; each
        block is valid until the next. [shape=(frames, channels)]
    """

    sample_rate_hz: int
    channels: int
    announced_frames: int | None
    slack_frames: int
    blocks: Iterator[Samples]


@contextmanager
def open_source(data: bytes, audio_format: AudioFormat) -> Iterator[AudioSource]:
    """Open a sound file.

    Raises
    ------
    ImportError
        M4A, and the extra `av` is not installed.
    Exception
        The bytes are damaged: whatever the decoder raises.
    """
    if audio_format is AudioFormat.M4A:
        with _open_m4a(data) as source:
            yield source
        return
    with soundfile.SoundFile(_LenientBytes(data)) as file:
        yield AudioSource(
            sample_rate_hz=int(file.samplerate),
            channels=int(file.channels),
            announced_frames=int(file.frames) if 0 < file.frames < _MAX_ANNOUNCED_FRAMES else None,
            slack_frames=_MP3_SLACK_FRAMES if audio_format is AudioFormat.MP3 else 0,
            blocks=_read_blocks(file),
        )


class _LenientBytes(io.BytesIO):
    """Bytes that answer a seek to before their beginning, which damaged headers cause, by staying where they are: an
    exception could not pass through libsndfile, and would be printed for each."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _read_blocks(file: soundfile.SoundFile) -> Iterator[Samples]:
    # libsndfile takes 3.8 ms to make floats of 30 s in stereo, and 0.2 ms to hand out what it read.
    dtype = np.dtype(np.int16 if file.subtype in _INT16_SUBTYPES else np.float32)
    buffer = np.empty((max(1, _BLOCK_SAMPLES // file.channels), file.channels), dtype)
    while True:
        block = file.read(len(buffer), dtype=dtype.name, always_2d=True, out=buffer)
        if len(block):
            yield block
        if len(block) < len(buffer):
            return


@contextmanager
def _open_m4a(data: bytes) -> Iterator[AudioSource]:
    import av

    # The demuxer is named: FFmpeg would try every one that it has, playlists that open other files included.
    with av.open(io.BytesIO(data), mode="r", format="mp4") as container:
        if not container.streams.audio:
            raise ValueError("the file has no sound track")
        stream = container.streams.audio[0]
        planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)

        def blocks() -> Iterator[npt.NDArray[np.float32]]:
            for frame in container.decode(stream):
                for converted in planar.resample(frame):
                    yield np.asarray(converted.to_ndarray().T, np.float32)

        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        announced = int(seconds * stream.rate) if seconds is not None else None
        # AAC's delay and padding: two frames of 1,024 samples and the rest of the last one.
        yield AudioSource(stream.rate, stream.channels, announced, 3 * 1_024, blocks())
