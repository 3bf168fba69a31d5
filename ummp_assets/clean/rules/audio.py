"""The rules that judge recordings."""

from ummp_assets.clean.rules.rule import Rule
from ummp_assets.reasons import Reason

__all__ = ["AUDIO_MEASUREMENTS", "LIMITS", "MAX_BYTES", "MAX_SECONDS"]

MAX_BYTES = Rule(
    Reason.AUDIO_BYTES_OVER_LIMIT, "byte_count", "max_bytes", "at most", "{value:,.0f} bytes, more than {limit:,.0f}"
)

MAX_SECONDS = Rule(
    Reason.AUDIO_TOO_LONG, "seconds", "max_seconds", "at most", "{value:.1f} s and more, above {limit:g} s"
)

LIMITS = (
    Rule(Reason.AUDIO_TOO_SHORT, "seconds", "min_seconds", "at least", "{value:.4g} s, less than {limit:g} s"),
    Rule(
        Reason.AUDIO_TOO_QUIET,
        "level_dbfs",
        "min_level_dbfs",
        "at least",
        "a level of {value:.1f} dBFS, below {limit:g}",
    ),
    Rule(
        Reason.AUDIO_SILENT,
        "silent_fraction",
        "max_silent_fraction",
        "at most",
        "{value:.1%} of the recording is silent, more than {limit:.1%}",
    ),
    Rule(
        Reason.AUDIO_CLIPPED,
        "clipped_fraction",
        "max_clipped_fraction",
        "at most",
        "{value:.1%} of the samples are clipped, more than {limit:.1%}",
    ),
)
"""What is judged once a recording is decoded, in this order; `MAX_SECONDS` while it is."""

AUDIO_MEASUREMENTS = ("seconds", "level_dbfs", "silent_fraction", "clipped_fraction")
"""Names of all that is measured of a recording besides its bytes."""
