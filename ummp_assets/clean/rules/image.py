"""The rules that judge images by their size and header."""

from ummp_assets.clean.rules.rule import Rule
from ummp_assets.reasons import Reason

__all__ = ["IMAGE_MEASUREMENTS", "LIMITS", "MAX_BYTES"]

MAX_BYTES = Rule(
    Reason.IMAGE_BYTES_OVER_LIMIT, "byte_count", "max_bytes", "at most", "{value:,.0f} bytes, more than {limit:,.0f}"
)

LIMITS = (
    Rule(
        Reason.TOO_MANY_PIXELS,
        "pixels",
        "max_pixels",
        "at most",
        "room for {value:,.0f} pixels is needed, more than {limit:,.0f}",
    ),
    Rule(
        Reason.IMAGE_TOO_SMALL,
        "short_side_pixels",
        "min_side_pixels",
        "at least",
        "a side of {value:.0f} pixels, below {limit:.0f}",
    ),
    Rule(
        Reason.IMAGE_TOO_ELONGATED,
        "aspect_ratio",
        "max_aspect_ratio",
        "at most",
        "a ratio of {value:.2f} above {limit:g}",
    ),
    Rule(
        Reason.TOO_MANY_SCANS,
        "scanned_pixels",
        "max_pixels",
        "at most",
        "sixteen scans of {value:,.0f} pixels, more than of {limit:,.0f}",
    ),
)
"""In the order in which they judge."""

IMAGE_MEASUREMENTS = tuple(rule.measurement for rule in LIMITS)
"""Names of all that is measured of an image besides its bytes."""
