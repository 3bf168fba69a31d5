"""What a stage committed for one batch: the record, and its JSON."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ummp_assets.errors import ManifestCorrupt, UnsupportedFormat
from ummp_assets.reasons import Outcome

__all__ = ["FileEntry", "Manifest", "OutcomeCount"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One Parquet file of a table; `path` is relative to the store's root.

    `sha256` is of the whole file, `footer_sha256` of Parquet's metadata at its end, which unlike its pages carries no
    checksum of its own.
    """

    path: str
    rows: int
    byte_count: int
    sha256: str
    footer_sha256: str


@dataclass(frozen=True, slots=True, order=True)
class OutcomeCount:
    """How many samples of a dataset and modality ended in a stage with one outcome and reason."""

    dataset: str
    modality: str
    outcome: str
    reason: str
    count: int


@dataclass(frozen=True)
class Manifest:
    """What a stage committed for one batch.

    Parameters
    ----------
    code_version, rules:
        Version of the stage's code, and of each rule by name.
    inputs:
        sha256 of the manifest of each upstream stage that was read.
    tables:
        Files of each table, in reading order.
    outcomes:
        Samples that ended in this stage, counted.
    numbers:
        Whatever else was counted, by name with its unit; the same inputs give the same numbers.
    """

    stage: str
    batch: str
    code_version: str
    rules: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Sequence[FileEntry]] = field(default_factory=dict)
    outcomes: Sequence[OutcomeCount] = ()
    numbers: Mapping[str, int | float] = field(default_factory=dict)
    format: int = FORMAT

    def rows(self, table: str) -> int:
        return sum(entry.rows for entry in self.tables.get(table, ()))

    def count(self, outcome: Outcome) -> int:
        return sum(entry.count for entry in self.outcomes if entry.outcome == outcome)

    @property
    def rejected(self) -> int:
        return sum(entry.count for entry in self.outcomes)

    def to_json(self) -> bytes:
        """Return the canonical bytes: the same manifest gives the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json()).hexdigest()

    @classmethod
    def from_json(cls, data: bytes, path: str) -> Self:
        """Parse a manifest; raises `UnsupportedFormat` for a newer one and `ManifestCorrupt` for anything else."""
        try:
            fields: dict[str, Any] = json.loads(data)
            if fields["format"] > FORMAT:
                raise UnsupportedFormat(
                    f"{path} has format {fields['format']}, this UMMP reads up to {FORMAT}: upgrade it"
                )
            fields["tables"] = {
                name: tuple(FileEntry(**entry) for entry in entries) for name, entries in fields["tables"].items()
            }
            fields["outcomes"] = tuple(OutcomeCount(**entry) for entry in fields["outcomes"])
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestCorrupt(f"{path} is no manifest of a stage: {error}") from error
