"""Reads sound files as blocks of samples: plain WAV as it stands, dr_flac for FLAC of 16 bits, libsndfile for most
formats, FFmpeg (the extra `av`) for M4A and what else there is in an Ogg than Vorbis and Opus.

Decoders were measured on 20 s of stereo at 44.1 kHz, in ms of CPU for FLAC, Vorbis and MP3: libsndfile 1.2 takes 16, 22
and 11; miniaudio 1.71 (dr_flac, stb_vorbis, dr_mp3) 9, 18 and 11; FFmpeg by PyAV 18, 14 and 11, with its frames made
arrays 20, 25 and 16; sphn 0.2 (Symphonia) 18, 25 and 19; avioflow 0.8 (FFmpeg) 26, 20 and 12. So nothing better than
libsndfile is to be had for MP3, and for Vorbis only stb_vorbis, which gives recordings of any length as a whole.

libmpg123 in libsndfile prints notes on damaged MP3 to the standard error. It has a switch for that, which libsndfile
leaves alone and its wheels hide; to turn the descriptor aside would lose what other threads print meanwhile.
"""

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import soundfile

from ummp_assets.clean.audio_flac import open_plain_flac
from ummp_assets.clean.audio_format import AudioFormat, find_foreign_codec
from ummp_assets.clean.audio_mp3 import frame_count_header
from ummp_assets.clean.audio_ogg import find_links
from ummp_assets.clean.audio_riff import read_plain_wav

__all__ = ["AudioSource", "open_source"]

Samples = npt.NDArray[np.float32] | npt.NDArray[np.int16]
_Number = TypeVar("_Number", np.float32, np.int16)

# Smaller blocks take as long on one core; on two, the threads wait for the interpreter lock more often: a quarter of
# this takes 5.8 instead of 4.9 ms for a recording of 20 s.
_BLOCK_SAMPLES = 1 << 20
# From a descriptor libsndfile reads by itself; from Python's objects, by a call that takes the interpreter lock: 1,500
# for an MP3 of 20 s, 7.6 instead of 6.0 ms to decode it on two cores. But the bytes are copied.
_MAX_DESCRIPTOR_BYTES = 32 * 2**20
_INT16_SUBTYPES = ("PCM_16", "PCM_S8", "PCM_U8")
# Eight bits end one step below full scale, the companded ones (ITU-T G.711) where their largest code stands.
_LARGEST_SAMPLES = {"PCM_S8": 127 / 128, "PCM_U8": 127 / 128, "ULAW": 32_124 / 32_768, "ALAW": 32_256 / 32_768}
_MAX_ANNOUNCED_FRAMES = 1 << 48
# Gapless playback cuts the encoder's delay and padding, of which decoders of MP3 keep one frame more or less.
_MPEG_SLACK_FRAMES = 4 * 1_152
_DEMUXERS = {AudioFormat.M4A: "mp4", AudioFormat.OGG: "ogg"}


@dataclass(frozen=True, slots=True)
class AudioSource:
    """A sound file that is open.

    Parameters
    ----------
    announced_frames:
        Frames that the header announces, if it does.
    largest_sample:
        The largest that the codec has a code for.
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
    largest_sample: float = 1.0


@contextmanager
def open_source(data: bytes | memoryview, audio_format: AudioFormat) -> Iterator[AudioSource]:
    """Open a sound file.

    Raises
    ------
    ImportError
        FFmpeg is needed, and the extra `av` is not installed.
    Exception
        The bytes are damaged: whatever the decoder raises.
    """
    if audio_format in _DEMUXERS and (audio_format is AudioFormat.M4A or find_foreign_codec(data, audio_format)):
        with _open_by_ffmpeg(data, _DEMUXERS[audio_format]) as source:
            yield source
        return
    plain = read_plain_wav(data) if audio_format is AudioFormat.WAV else None
    if plain is not None:
        frames, channels = plain.samples.shape
        yield AudioSource(plain.sample_rate_hz, channels, frames, 0, _cut_blocks(plain.samples))
        return
    if audio_format is AudioFormat.FLAC:
        with open_plain_flac(data) as flac:
            if flac is not None:
                blocks = flac.blocks(_memory.block(flac.channels, np.int16))
                yield AudioSource(flac.sample_rate_hz, flac.channels, flac.frames, 0, blocks)
                return
    links = find_links(data) if audio_format is AudioFormat.OGG else [0]
    header, start = frame_count_header(data) if audio_format is AudioFormat.MP3 else (b"", 0)
    with _open_by_libsndfile(memoryview(data)[start:], header) as file:
        if len(links) > 1:
            # libsndfile reads the first alone.
            chain = _read_chain(data, links, int(file.samplerate), int(file.channels))
            yield AudioSource(int(file.samplerate), int(file.channels), None, 0, chain)
            return
        yield AudioSource(
            sample_rate_hz=int(file.samplerate),
            channels=int(file.channels),
            announced_frames=int(file.frames) if 0 < file.frames < _MAX_ANNOUNCED_FRAMES else None,
            # MP3 may stand in a WAV as well.
            slack_frames=_MPEG_SLACK_FRAMES if file.subtype.startswith("MPEG_LAYER") else 0,
            blocks=_read_blocks(file),
            largest_sample=_LARGEST_SAMPLES.get(file.subtype, 1.0),
        )


class _Memory(threading.local):
    """The block that each thread decodes into, kept from file to file: see `audio_decode.py`."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def block(self, channels: int, number: type[_Number]) -> npt.NDArray[_Number]:
        frames = max(1, _BLOCK_SAMPLES // channels)
        size = frames * channels * np.dtype(number).itemsize
        if size > len(self._bytes):
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size].view(number).reshape(frames, channels)


_memory = _Memory()


class _LenientBytes(io.BytesIO):
    """Bytes that answer a seek to before their beginning, which damaged headers cause, by staying where they are: an
    exception could not pass through libsndfile, and would be printed for each."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is read from beginning to end: soundfile would seek after each block, and fail in a FLAC that
    does not say how long it is."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _open_by_libsndfile(data: bytes | memoryview, header: bytes = b"") -> Iterator[_ForwardFile]:
    if len(data) > _MAX_DESCRIPTOR_BYTES or not hasattr(os, "memfd_create"):
        with _ForwardFile(_LenientBytes(header + bytes(data) if header else data)) as file:
            yield file
        return
    with open(os.memfd_create("sound"), "w+b") as memory:  # noqa: PTH123 - it has no path
        memory.write(header)
        memory.write(data)
        memory.seek(0)
        with _ForwardFile(memory.fileno(), closefd=False) as file:
            yield file


def _cut_blocks(samples: npt.NDArray[np.int16]) -> Iterator[Samples]:
    frames, channels = samples.shape
    step = max(1, _BLOCK_SAMPLES // channels)
    for start in range(0, frames, step):
        yield samples[start : start + step]


def _read_blocks(file: soundfile.SoundFile) -> Iterator[Samples]:
    # libsndfile takes 3.8 ms to make floats of 30 s in stereo, and 0.2 ms to hand out what it read.
    is_int16 = file.subtype in _INT16_SUBTYPES
    buffer: Samples = _memory.block(file.channels, np.int16) if is_int16 else _memory.block(file.channels, np.float32)
    # Of FLAC not more than is announced: what stands behind it, as tags do, would be read as a frame that is damaged.
    left = file.frames if file.format == "FLAC" else _MAX_ANNOUNCED_FRAMES
    while left > 0:
        block = file.read(dtype=buffer.dtype.name, always_2d=True, out=buffer[:left])
        if len(block):
            yield block
        if len(block) < len(buffer):
            return
        left -= len(block)


def _read_chain(data: bytes | memoryview, links: list[int], rate_hz: int, channels: int) -> Iterator[Samples]:
    view = memoryview(data)
    for start, end in zip(links, [*links[1:], len(data)], strict=True):
        with _open_by_libsndfile(view[start:end]) as file:
            if (file.samplerate, file.channels) != (rate_hz, channels):
                raise ValueError("the links of the chain have different rates or channels")
            yield from _read_blocks(file)


@contextmanager
def _open_by_ffmpeg(data: bytes | memoryview, demuxer: str) -> Iterator[AudioSource]:
    import av

    # The demuxer is named: FFmpeg would try every one that it has, playlists that open other files included. Names
    # in other encodings than UTF-8 are no damage.
    with av.open(io.BytesIO(data), mode="r", format=demuxer, metadata_errors="replace") as container:
        if not container.streams.audio:
            raise ValueError("the file has no sound track")
        stream = container.streams.audio[0]
        # Not in planes: of more than eight, PyAV does not find the end, and reads memory that is not the frame's.
        packed = av.AudioResampler(format="flt", layout=stream.layout, rate=stream.rate)
        seconds = stream.duration * stream.time_base if stream.duration and stream.time_base else None
        announced = int(seconds * stream.rate) if seconds is not None else None

        def blocks() -> Iterator[npt.NDArray[np.float32]]:
            frames = 0
            for frame in container.decode(stream):
                for converted in packed.resample(frame):
                    if converted.layout.nb_channels != stream.channels:
                        raise ValueError(f"{stream.channels} channels become {converted.layout.nb_channels}")
                    block = converted.to_ndarray().reshape(-1, stream.channels)
                    # What follows the announced end fills the last packet.
                    block = block if announced is None else block[: max(0, announced - frames)]
                    frames += len(block)
                    if len(block):
                        yield np.asarray(block, np.float32)

        # AAC's delay and padding: two frames of 1,024 samples and the rest of the last one.
        yield AudioSource(stream.rate, stream.channels, announced, 3 * 1_024, blocks())
