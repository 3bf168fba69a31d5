"""The note that spares a start reading the whole log: how far the log was sound, and what its producers had done.

A checkpoint is believed where the data before it must still be there: after a process was killed, because the
operating system keeps what was written; after a loss of power only if the log had been forced to the disk.
"""

import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_FILE = "checkpoint.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Checkpoint:
    """The end of a log at one instant.

    Attributes
    ----------
    segment, size, next_offset, max_timestamp:
        The active segment's base offset and state.
    compacted_before:
        `PartitionLog.compacted_before`.
    aborted_transactions:
        How many of them were known.
    producers:
        `ProducerStates.to_json()`.
    is_flushed:
        Whether all of it had been forced to the disk before.
    """

    segment: int
    size: int
    next_offset: int
    max_timestamp: int
    compacted_before: int
    aborted_transactions: int
    producers: list[Any]
    is_flushed: bool


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint in one step."""
    draft = folder / f"{_FILE}.draft"
    with draft.open("w") as file:
        json.dump({"boot": _boot_id(), **asdict(checkpoint)}, file)
        if checkpoint.is_flushed:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(folder / _FILE)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The folder's checkpoint; None where there is none, or none to be believed."""
    try:
        content = json.loads((folder / _FILE).read_text())
        boot = content.pop("boot")
        checkpoint = Checkpoint(**content)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None
    is_same_boot = boot is not None and boot == _boot_id()
    return checkpoint if checkpoint.is_flushed or is_same_boot else None


@cache
def _boot_id() -> str | None:
    """What changes with each start of the machine; None where the platform does not say, as on macOS."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else None
