"""Files that end too early are refused, those whose length was never announced are not."""

import io
import struct

import numpy as np
import pytest
import soundfile

from ummp_assets.clean.audio_decode import DecodedAudio, decode_audio
from ummp_assets.clean.refusals import Refusal
from ummp_assets.reasons import Reason
from ummp_assets_tests.clean.recordings import RULES, decoded, m4a, refused, tone, written, written_by_ffmpeg
from ummp_assets_tests.clean.samples import sound


@pytest.mark.parametrize("file_format", ["WAV", "AIFF", "FLAC", "OGG", "MP3", "M4A"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(file_format: str, share: float) -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(sound("house_lo.wav")), dtype="float32")
    data = m4a(samples, rate_hz) if file_format == "M4A" else written(samples, rate_hz, file_format)
    decoded(data)
    assert refused(data[: int(len(data) * share)]).reason is Reason.CORRUPT_AUDIO


# 0, SoX's number, arecord's, FFmpeg's, and the largest less a header.
@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0x7FFF_FF00, 0xFFFF_FFFF, 0xFFFF_FFFF - 36])
def test_a_stream_of_open_length_is_no_truncated_file(size: int) -> None:
    data = bytearray(written(tone(1.0), subtype="PCM_16"))
    position = data.index(b"data")
    struct.pack_into("<I", data, position + 4, size)
    struct.pack_into("<I", data, 4, size)
    result = decode_audio(bytes(data), RULES)
    if size:
        assert isinstance(result, DecodedAudio)
    else:
        # libsndfile takes a size of zero at its word.
        assert isinstance(result, Refusal)
        assert result.reason is Reason.AUDIO_TOO_SHORT


def rf64(samples: bytes) -> bytes:
    """Return a WAV of 16 bits and 16 kHz with its sizes in 64 bits (EBU Tech 3306)."""
    sizes = b"ds64" + struct.pack("<IQQQI", 28, len(samples) + 72, len(samples), len(samples) // 2, 0)
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + form + b"data\xff\xff\xff\xff" + samples


def test_a_wav_with_sizes_of_64_bits_is_read_and_its_truncation_found() -> None:
    samples = (tone(1.0) * 32_767).astype("<i2").tobytes()
    assert np.abs(decoded(rf64(samples)).waveform - tone(1.0)).max() < 1e-3
    refusal = refused(rf64(samples)[:-10_000])
    assert refusal.reason is Reason.CORRUPT_AUDIO
    assert "22,000 of 32,000 bytes" in refusal.detail


def test_mp3_in_a_wav_is_whole_without_the_padding_of_its_encoder() -> None:
    # FFmpeg counts the padding in the chunk `fact`, libsndfile leaves it out.
    data = written_by_ffmpeg(tone(2.0), 16_000, "mono", "wav", "mp3")
    assert abs(len(decoded(data).waveform) - 32_000) < 2 * 1_152
    assert refused(data[:-2_000]).reason is Reason.CORRUPT_AUDIO


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("tag", [b"TAG".ljust(128, b"\0"), b"APETAGEX" + bytes(500)])
def test_a_tag_behind_a_flac_is_no_damage(subtype: str, tag: bytes) -> None:
    # Of 70 s: more than one block.
    data = written(tone(70.0), file_format="FLAC", subtype=subtype)
    np.testing.assert_array_equal(decoded(data + tag).waveform, decoded(data).waveform)


def test_a_flac_of_open_length_is_read_to_its_end() -> None:
    # What `flac` and FFmpeg write into a pipe.
    data = bytearray(written(tone(40.0), file_format="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    np.testing.assert_allclose(decoded(bytes(data)).waveform, tone(40.0), atol=1e-4)
    assert refused(bytes(data[: len(data) // 2])).reason is Reason.CORRUPT_AUDIO


def ogg_pages(data: bytes) -> list[bytes]:
    pages = []
    while data:
        segments = data[26]
        size = 27 + segments + sum(data[27 : 27 + segments])
        pages.append(data[:size])
        data = data[size:]
    return pages


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_cut_between_two_pages_is_refused(subtype: str) -> None:
    pages = ogg_pages(written(tone(12.0), file_format="OGG", subtype=subtype))
    assert len(pages) > 3
    for count in range(1, len(pages)):
        refusal = refused(b"".join(pages[:count]))
        assert refusal.reason is Reason.CORRUPT_AUDIO
        assert "the last page does not end the stream" in refusal.detail


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chain_of_ogg_streams_is_read_to_the_end_of_its_last_link(subtype: str) -> None:
    first, second = (written(tone(2.0, level=level), file_format="OGG", subtype=subtype) for level in (0.5, 0.25))
    waveform = decoded(first + second).waveform
    expected = np.concatenate([decoded(first).waveform, decoded(second).waveform])
    np.testing.assert_allclose(waveform, expected, atol=1e-6)
    assert refused(first + b"".join(ogg_pages(second)[:-1])).reason is Reason.CORRUPT_AUDIO


def test_a_chain_of_streams_that_differ_is_corrupt() -> None:
    first, second = (written(tone(1.0, rate_hz), rate_hz, "OGG") for rate_hz in (16_000, 22_050))
    refusal = refused(first + second)
    assert refusal.reason is Reason.CORRUPT_AUDIO
    assert "different rates" in refusal.detail


def test_a_chain_of_very_many_streams_is_corrupt() -> None:
    link = written(tone(0.1), file_format="OGG", subtype="OPUS")
    refusal = refused(link * 201)
    assert refusal.reason is Reason.CORRUPT_AUDIO
    assert "more than 200 streams" in refusal.detail
