"""Every limit of images and sounds keeps the value that stands on it, and refuses the next with its number."""

import io
import math

import numpy as np
import pytest
import soundfile
from PIL import Image

from ummp_assets.clean.audio_decode import DecodedAudio, decode_audio
from ummp_assets.clean.image_decode import DecodedImage, decode_image, inspect_image
from ummp_assets.clean.refusals import Refusal
from ummp_assets.clean.rules import audio, image
from ummp_assets.clean.rules.rule import Rule
from ummp_assets.settings import AudioSettings, ImageSettings


def picture() -> bytes:
    file = io.BytesIO()
    # Progressive, for there to be scans.
    Image.fromarray(np.full((40, 100, 3), 90, np.uint8)).save(file, "JPEG", progressive=True)
    return file.getvalue()


def recording() -> bytes:
    """One second, a quarter of it silent and a quarter clipped."""
    tone = np.sin(np.arange(8_000, dtype=np.float32) / 9) * np.float32(0.3)
    file = io.BytesIO()
    soundfile.write(file, np.concatenate([tone, np.zeros(4_000), np.ones(4_000)]), 16_000, "FLOAT", format="WAV")
    return file.getvalue()


def next_beyond(rule: Rule, value: float) -> float:
    """Return the limit next to a value that refuses it; settings of whole numbers take whole ones."""
    if value == int(value) and rule.setting.endswith("pixels"):
        return value + 1 if rule.keeps == "at least" else value - 1
    return math.nextafter(value, math.inf if rule.keeps == "at least" else -math.inf)


# Scans are held against the limit of pixels, which comes first.
@pytest.mark.parametrize("rule", image.LIMITS[:3], ids=lambda rule: rule.reason.value)
def test_an_image_on_its_limit_is_kept_and_beyond_refused(rule: Rule) -> None:
    header = inspect_image(picture(), ImageSettings())
    assert not isinstance(header, Refusal)
    value = header.measurements[rule.measurement]
    assert isinstance(decode_image(picture(), ImageSettings.model_validate({rule.setting: value})), DecodedImage)
    refusal = decode_image(picture(), ImageSettings.model_validate({rule.setting: next_beyond(rule, value)}))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.measured) == (rule.reason, value)
    assert refusal.measurements == header.measurements


@pytest.mark.parametrize("rule", [audio.MAX_SECONDS, *audio.LIMITS], ids=lambda rule: rule.reason.value)
def test_a_recording_on_its_limit_is_kept_and_beyond_refused(rule: Rule) -> None:
    lenient = {"max_clipped_fraction": 1}
    whole = decode_audio(recording(), AudioSettings.model_validate(lenient))
    assert isinstance(whole, DecodedAudio)
    value = whole.measurements[rule.measurement]
    assert abs(value) > 0
    at_limit = decode_audio(recording(), AudioSettings.model_validate(lenient | {rule.setting: value}))
    assert isinstance(at_limit, DecodedAudio)
    beyond = decode_audio(recording(), AudioSettings.model_validate(lenient | {rule.setting: next_beyond(rule, value)}))
    assert isinstance(beyond, Refusal)
    assert (beyond.reason, beyond.measured) == (rule.reason, value)
