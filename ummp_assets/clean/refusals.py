"""What a decoder or a rule answers instead of content: a reason, a sentence and the number that decided."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection

__all__ = ["Refusal", "describe_error"]

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why some bytes do not become a clean record.

    Parameters
    ----------
    detail:
        One sentence for a person with the values that decided.
    measured:
        The number that a rule compared with its threshold.
    measurements:
        Whatever else was measured, by name.
    """

    reason: Reason
    detail: str
    measured: float | None = None
    measurements: Mapping[str, float] = field(default_factory=dict)

    def of(self, row: Mapping[str, Any]) -> Rejection:
        """Return the rejection of the sample in a row of `RAW_SCHEMA`."""
        return Rejection(
            sample_id=row["sample_id"],
            dataset=row["dataset"],
            modality=row["modality"],
            uri=row["uri"],
            reason=self.reason,
            detail=self.detail,
            measured=self.measured,
        )


def describe_error(error: Exception) -> str:
    """Return what a decoder said, without memory addresses: the same bytes give the same rejection."""
    return f"{type(error).__name__}: {_ADDRESS.sub('', str(error))}"
