"""Which rules judge a modality, and which settings stored measurements can be held against."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ummp_assets.clean.rules import audio, image, text
from ummp_assets.clean.rules.rule import Rule, value_at
from ummp_assets.records import Modality
from ummp_assets.settings import CleanSettings, TextSettings

__all__ = ["QUALITY_RULES_SETTING", "all_rules", "previewable_settings", "rules_in_force"]

QUALITY_RULES_SETTING = "text.quality_rules"

_ALL: Mapping[Modality, Sequence[Rule]] = {
    Modality.TEXT: (text.MAX_BYTES, text.LENGTH, *(rule for rules in text.QUALITY.values() for rule in rules)),
    Modality.IMAGE: (image.MAX_BYTES, *image.LIMITS),
    Modality.AUDIO: (audio.MAX_BYTES, audio.MAX_SECONDS, *audio.LIMITS),
}


def all_rules(modality: Modality) -> Sequence[Rule]:
    """Return every rule that may judge samples of a modality."""
    return _ALL[modality]


def rules_in_force(modality: Modality, settings: BaseModel) -> Sequence[Rule]:
    """Return the rules that judge, in their order, under the settings of the modality."""
    if not isinstance(settings, TextSettings):
        return _ALL[modality]
    quality = (rule for name in settings.quality_rules for rule in text.QUALITY[name])
    return (text.MAX_BYTES, text.LENGTH, *quality)


def previewable_settings(settings: CleanSettings) -> dict[str, Any]:
    """Return by path below `clean`, e.g. `text.gopher_quality.min_words`, the value of each setting that stored
    measurements can be held against."""
    paths = {QUALITY_RULES_SETTING: None}
    for modality, rules in _ALL.items():
        for rule in rules:
            paths[f"{modality.value}.{rule.setting}"] = None
            if rule.gate:
                paths[f"{modality.value}.{rule.gate.setting}"] = None
    return {path: value_at(settings, path) for path in paths}
