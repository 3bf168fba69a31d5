"""The split rule: a stable hash of the content decides, so that a twin never crosses from train to test."""

import hashlib

from ummp_assets.settings import DatasetSettings

__all__ = ["SPLITS", "split_of", "split_rule"]

SPLITS = ("train", "validation", "test")


def split_of(content_sha256: str, settings: DatasetSettings) -> str:
    """Return the split of a content: `train`, `validation` or `test`.

    Test takes the low end of the unit interval and validation the high end: raising one fraction never moves a
    content between the other two splits.
    """
    digest = hashlib.sha256(f"{settings.split_seed}:{content_sha256}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < settings.test_fraction:
        return "test"
    return "validation" if position >= 1 - settings.validation_fraction else "train"


def split_rule(settings: DatasetSettings) -> str:
    """Return the rule with its parameters, for manifests."""
    return f"1 seed={settings.split_seed} validation={settings.validation_fraction} test={settings.test_fraction}"
