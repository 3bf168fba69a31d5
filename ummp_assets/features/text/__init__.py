"""Clean text to token ids."""

from ummp_assets.features.text.stage import CODE_VERSION, STAGE, text_features

__all__ = ["CODE_VERSION", "STAGE", "text_features"]
