"""Raw bytes to clean text: decode, extract, normalise, name the language, judge, drop duplicates.

`stage.py` runs it over a batch, `document.py` over one document; each other file holds one kind of rule.
"""

from ummp_assets.clean.text.stage import CODE_VERSION, STAGE, clean_text

__all__ = ["CODE_VERSION", "STAGE", "clean_text"]
