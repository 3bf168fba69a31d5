"""What is silent, clipped, too short, too long or no sound at all is refused with its measure."""

import numpy as np
import pytest

from ummp_assets.reasons import Reason
from ummp_assets.settings import AudioSettings
from ummp_assets_tests.clean.recordings import decoded, refused, tone, written


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [("WAV", "PCM_U8"), ("WAV", "ULAW"), ("WAV", "ALAW"), ("FLAC", "PCM_S8"), ("WAV", "FLOAT")],
)
def test_a_flat_wave_is_clipped_whatever_its_codes(file_format: str, subtype: str) -> None:
    flat = np.clip(tone(1.0, level=1.5), -1, 1)
    refusal = refused(written(flat, file_format=file_format, subtype=subtype))
    assert refusal.reason is Reason.AUDIO_CLIPPED
    # Half of the wave is flat; the first sample of each of the 880 runs has no clipped one before it.
    assert refusal.measured == pytest.approx(np.arccos(1 / 1.5) / (np.pi / 2) - 880 / 16_000, abs=0.03)


def test_an_offset_is_no_sound() -> None:
    nothing = refused(written(np.full(16_000, 0.5, np.float32), subtype="FLOAT"))
    assert (nothing.reason, nothing.measured) == (Reason.AUDIO_TOO_QUIET, -200.0)
    shifted, plain = (decoded(written(tone(1.0, level=0.25) + offset, subtype="FLOAT")) for offset in (0.5, 0))
    assert shifted.measurements["level_dbfs"] == pytest.approx(plain.measurements["level_dbfs"], abs=0.01)
    pauses = np.concatenate([tone(0.5), np.zeros(19 * 16_000, np.float32)]) + np.float32(0.01)
    assert refused(written(pauses, subtype="FLOAT")).reason is Reason.AUDIO_SILENT


def test_levels_are_measured_and_kept() -> None:
    quiet = refused(written(tone(1.0, level=0.0005), subtype="FLOAT"))
    assert quiet.reason is Reason.AUDIO_TOO_QUIET
    assert quiet.measured == pytest.approx(20 * np.log10(0.0005 / np.sqrt(2)), abs=0.01)
    nothing = refused(written(np.zeros(16_000, np.float32)))
    assert (nothing.reason, nothing.measured) == (Reason.AUDIO_TOO_QUIET, -200.0)

    mostly_silent = np.concatenate([tone(0.5), np.zeros(16_000 * 19 + 8_000, np.float32)])
    silent = refused(written(mostly_silent, subtype="FLOAT"))
    assert silent.reason is Reason.AUDIO_SILENT
    assert silent.measured == pytest.approx(0.975)
    decoded(written(mostly_silent, subtype="FLOAT"), AudioSettings(max_silent_fraction=0.98))

    flat = np.clip(tone(1.0, level=1.1), -1, 1)
    clipped = refused(written(flat, subtype="FLOAT"))
    assert clipped.reason is Reason.AUDIO_CLIPPED
    # The first sample of each of the 880 flat runs has no clipped one before it.
    assert clipped.measured == pytest.approx(np.arccos(1 / 1.1) / (np.pi / 2) - 880 / 16_000, abs=0.01)
    decoded(written(flat, subtype="FLOAT"), AudioSettings(max_clipped_fraction=0.5))


def test_the_level_is_that_of_what_is_stored() -> None:
    # Above half the stored rate there is nothing left of it.
    refusal = refused(written(tone(1.0, 48_000, 12_000.0), 48_000, subtype="FLOAT"))
    assert refusal.reason is Reason.AUDIO_TOO_QUIET
    assert refusal.measured is not None
    assert refusal.measured < -60


def test_a_single_peak_is_not_clipped() -> None:
    samples = tone(1.0)
    samples[::10] = 1.0
    decoded(written(samples, subtype="FLOAT"), AudioSettings(max_clipped_fraction=0))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_corrupt(poison: float) -> None:
    samples = tone(1.0)
    samples[5_000] = poison
    assert refused(written(samples, subtype="FLOAT")).reason is Reason.CORRUPT_AUDIO


def test_one_sample_is_too_short() -> None:
    refusal = refused(written(np.array([0.5], np.float32)))
    assert (refusal.reason, refusal.measured) == (Reason.AUDIO_TOO_SHORT, 1 / 16_000)


def test_a_long_recording_is_refused_by_its_header() -> None:
    data = written(np.zeros(16_000 * 60, np.float32), subtype="PCM_16")
    refusal = refused(data, AudioSettings(max_seconds=59))
    assert (refusal.reason, refusal.measured) == (Reason.AUDIO_TOO_LONG, 60.0)
