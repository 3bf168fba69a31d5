"""Code versions of the assets: of the code, its rules and the settings that decide what comes out.

Dagster marks a partition as stale when its asset's code version is another than the one that it was made with, and
what follows from it as soon as it is made anew with another content. So a changed threshold shows as stale partitions.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import BaseModel

from ummp_assets.clean import audio_stage as clean_audio
from ummp_assets.clean import image_stage as clean_images
from ummp_assets.clean.text import stage as clean_text
from ummp_assets.datasets import shards
from ummp_assets.features import audio_stage as audio_features
from ummp_assets.features import image_stage as image_features
from ummp_assets.features.text import stage as text_features
from ummp_assets.fetch import stage as downloads
from ummp_assets.messages import intake
from ummp_assets.messages.topics import Role
from ummp_assets.settings import Settings
from ummp_assets.training import log_stage as training_logs

__all__ = ["asset_code_versions", "code_version", "with_code_version"]

_DIGITS = 8
_TEXT_FEATURES = {"tokenizer", "sequence_tokens"}
_IMAGE_FEATURES = {"store_normalised"}
_AUDIO_FEATURES = {"mel_bins"}
_RESPECT = {"respect_robots", "respect_noai", "respect_tdm_reservation"}
# Of the hosts only what decides: their headers and passwords stay out.
_FETCH: dict[str, Any] = {
    **dict.fromkeys(("max_object_bytes", "max_redirects", "unpack", *sorted(_RESPECT)), True),
    **dict.fromkeys(("allowed_addresses", "allowed_roots", "user_agent"), True),
    "hosts": {"__all__": _RESPECT},
}
_READ = (Role.REQUESTS, Role.LABELS, Role.TAKEDOWNS)
_SHARDS = {"target_shard_bytes", "split_seed", "validation_fraction", "test_fraction"}


def code_version(version: str, rules: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Return a version that is another as soon as the code's version, a rule's or a setting is.

    >>> code_version("2", {"decode": "1"}, {"max_bytes": 10})
    '2-f86b92a2'
    """
    document = json.dumps([dict(rules), dict(settings)], sort_keys=True, default=str)
    return f"{version}-{hashlib.sha256(document.encode()).hexdigest()[:_DIGITS]}"


def asset_code_versions(settings: Settings) -> dict[str, str]:
    """Return by asset the code version of those that rules or settings decide about; how fast or how often something
    is tried decides nothing."""
    clean = settings.clean
    text, image, audio = clean.text, clean.image, clean.audio
    # A message above the limit is a dead letter; how many make a batch decides nothing.
    limit = _only(settings.intake, {"max_message_bytes"})
    return {
        **{role.value: code_version(intake.CODE_VERSION, {}, limit) for role in _READ},
        "training_logs": code_version(training_logs.CODE_VERSION, {}, limit),
        "downloads": code_version(downloads.CODE_VERSION, {}, settings.fetch.model_dump(mode="json", include=_FETCH)),
        "clean_text": code_version(clean_text.CODE_VERSION, clean_text.RULES, _without(text, _TEXT_FEATURES)),
        "clean_images": code_version(clean_images.CODE_VERSION, clean_images.RULES, _without(image, _IMAGE_FEATURES)),
        "clean_audio": code_version(clean_audio.CODE_VERSION, clean_audio.RULES, _without(audio, _AUDIO_FEATURES)),
        "text_features": code_version(text_features.CODE_VERSION, {}, _only(text, _TEXT_FEATURES)),
        "image_features": code_version(
            image_features.CODE_VERSION, image_features.RULES, _only(image, _IMAGE_FEATURES)
        ),
        "audio_features": code_version(
            audio_features.CODE_VERSION, audio_features.RULES, _only(audio, _AUDIO_FEATURES)
        ),
        "training_shards": code_version(shards.CODE_VERSION, {}, _only(settings.datasets, _SHARDS)),
    }


def with_code_version(spec: dg.AssetSpec, versions: Mapping[str, str]) -> dg.AssetSpec:
    """Return an asset's specification with its code version, if there is one for it."""
    version = versions.get(spec.key.to_user_string())
    return spec.replace_attributes(code_version=version) if version else spec


def _only(settings: BaseModel, names: set[str]) -> dict[str, Any]:
    return settings.model_dump(mode="json", include=names)


def _without(settings: BaseModel, names: set[str]) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude=names)
