"""The log-mel spectrogram is the one that Whisper is trained on."""

from pathlib import Path

import numpy as np
import pytest

from ummp_assets.features.audio_log_mel import log_mel_spectrogram, mel_filters

REFERENCES = np.load(Path(__file__).with_name("log_mel_whiff.npz"))


@pytest.mark.parametrize("mel_bins", [80, 128])
def test_it_equals_librosas_to_a_ten_thousandth(mel_bins: int) -> None:
    expected = REFERENCES[f"bins_{mel_bins}"]
    spectrogram = log_mel_spectrogram(REFERENCES["waveform"], 16_000, mel_bins)
    assert spectrogram.shape == expected.shape == (mel_bins, len(REFERENCES["waveform"]) // 160)
    assert spectrogram.dtype == np.float32
    np.testing.assert_allclose(spectrogram, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("samples", "frames"), [(160, 1), (319, 1), (320, 2), (400, 2), (16_000, 100), (480_000, 3_000)]
)
def test_there_is_a_frame_for_every_whole_hop(samples: int, frames: int) -> None:
    waveform = np.sin(np.arange(samples) / 7).astype(np.float32)
    spectrogram = log_mel_spectrogram(waveform, 16_000)
    assert spectrogram.shape == (80, frames)
    assert np.isfinite(spectrogram).all()


@pytest.mark.parametrize("samples", [160, 199, 200, 201, 400, 561, 160 * 1_024, 160 * 1_024 + 160, 160 * 2_111 + 159])
def test_it_is_that_of_the_definition_for_any_length(samples: int) -> None:
    waveform = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    padded = np.pad(waveform.astype(np.float64), 200, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: samples // 160]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    mel = np.abs(np.fft.rfft(windows * hann)) ** 2 @ mel_filters(16_000, 400, 80).T
    logarithm = np.log10(np.maximum(mel, 1e-10))
    expected = (np.maximum(logarithm, logarithm.max() - 8) + 4) / 4
    np.testing.assert_allclose(log_mel_spectrogram(waveform, 16_000), expected.T, atol=1e-4)


def test_less_than_a_hop_is_refused() -> None:
    with pytest.raises(ValueError, match="159 samples"):
        log_mel_spectrogram(np.zeros(159, np.float32), 16_000)


def test_silence_is_flat_and_finite() -> None:
    spectrogram = log_mel_spectrogram(np.zeros(16_000, np.float32), 16_000)
    np.testing.assert_allclose(spectrogram, (-10 + 4) / 4, atol=1e-6)


def test_a_tone_is_loudest_in_the_bin_of_its_frequency() -> None:
    filters = mel_filters(16_000, 400, 80)
    for frequency_hz in (200, 1_000, 5_000):
        waveform = np.sin(2 * np.pi * frequency_hz * np.arange(16_000) / 16_000).astype(np.float32)
        loudest = log_mel_spectrogram(waveform, 16_000).mean(axis=1).argmax()
        centre_hz = filters[loudest].argmax() * 16_000 / 400
        assert abs(centre_hz - frequency_hz) <= 80


def test_nothing_is_more_than_eight_decades_below_the_maximum() -> None:
    waveform = np.concatenate([np.sin(np.arange(8_000) / 5), np.zeros(8_000)]).astype(np.float32)
    spectrogram = log_mel_spectrogram(waveform, 16_000)
    assert spectrogram.max() - spectrogram.min() == pytest.approx(2.0)


def test_filters_cannot_be_changed_by_their_user() -> None:
    with pytest.raises(ValueError, match="read-only"):
        mel_filters(16_000, 400, 80)[0, 0] = 1


def test_the_window_and_hop_follow_the_rate() -> None:
    assert log_mel_spectrogram(np.ones(24_000, np.float32), 24_000).shape == (80, 100)
