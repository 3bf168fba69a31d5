"""Channels are averaged and rates changed without loss of what the stored rate can hold."""

import io
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from ummp_assets.reasons import Reason
from ummp_assets.settings import AudioSettings
from ummp_assets_tests.clean.recordings import decoded, refused, tone, written


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_channels_are_averaged_over_all_blocks(channels: int, subtype: str) -> None:
    # More than one block, and no whole number of the mixer's rows.
    noise = np.random.default_rng(channels).uniform(-0.5, 0.5, (300_001, channels)).astype(np.float32)
    audio = decoded(written(noise, subtype=subtype))
    assert audio.source_channels == channels
    np.testing.assert_allclose(audio.waveform, noise.mean(axis=1), atol=7e-5)


def test_more_channels_than_eight_are_averaged() -> None:
    # PyAV's planes of such frames end nowhere; before, this read memory that was not the frame's, and crashed.
    loudness = np.arange(1, 17, dtype=np.float32) / 16
    samples = tone(1.0)[:, None] * loudness
    file = io.BytesIO()
    with av.open(file, mode="w", format="mov") as container:
        stream = container.add_stream("pcm_f32le", rate=16_000, layout="hexadecagonal")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="hexadecagonal")
        frame.rate, frame.pts = 16_000, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    audio = decoded(file.getvalue())
    assert audio.source_channels == 16
    np.testing.assert_allclose(audio.waveform, tone(1.0) * loudness.mean(), atol=1e-4)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_every_rate_becomes_the_stored_one(rate_hz: int) -> None:
    audio = decoded(written(tone(1.0, rate_hz), rate_hz, subtype="FLOAT"))
    assert len(audio.waveform) == 16_000
    assert np.abs(audio.waveform[500:-500] - tone(1.0)[500:-500]).max() < 1e-3


def test_frequencies_above_half_the_rate_do_not_fold_back() -> None:
    high = tone(1.0, 48_000, 12_000.0) + tone(1.0, 48_000, 440.0)
    audio = decoded(written(high * np.float32(0.5), 48_000, subtype="FLOAT"))
    assert np.abs(audio.waveform[500:-500] - tone(1.0, level=0.25)[500:-500]).max() < 1e-3


def test_samples_beyond_full_scale_are_limited() -> None:
    audio = decoded(written(tone(1.0, level=1.5), subtype="FLOAT"), AudioSettings(max_clipped_fraction=1))
    assert audio.waveform.max() == 1.0
    assert audio.waveform.min() == -1.0


def test_a_recording_that_was_given_up_leaves_nothing_to_the_next() -> None:
    data = written(tone(1.0, 44_100), 44_100)
    with ThreadPoolExecutor(1) as thread_without_memory:
        expected = thread_without_memory.submit(decoded, data).result()
    poisoned = np.ones((900_000, 2), np.float32)
    poisoned[-1] = np.nan
    assert refused(written(poisoned, 44_100, subtype="FLOAT")).reason is Reason.CORRUPT_AUDIO
    np.testing.assert_array_equal(decoded(data).waveform, expected.waveform)
