"""Workers' parameters on their way to an average: pieces on the local disk, put together one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pyarrow as pa

from ummp_assets.messages.schemas import ParametersHeader
from ummp_assets.training.packing import Arrays, unpack

__all__ = ["PENDING_SCHEMA", "Piece", "Update", "UpdateSpool"]

PENDING_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("header", pa.string(), nullable=False),
        pa.field("piece", pa.large_binary(), nullable=False),
    ]
)
"""Table `pending`: messages of rounds that are still open; `header` is the JSON of `ParametersHeader`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of an update; `sample_id` are its coordinates."""

    sample_id: str
    timestamp_ms: int
    header: ParametersHeader
    data: bytes


@dataclass
class Update:
    """One worker's parameters for one round, as far as their messages have come."""

    header: ParametersHeader
    sample_id: str
    file: Path
    timestamp_ms: int
    places: dict[int, tuple[Piece, int, int]] = field(default_factory=dict)
    completed: int | None = None
    """Number in the order of completion, None while messages are missing."""

    def pieces(self) -> Iterator[Piece]:
        """Yield the messages again, in order of their chunks."""
        with self.file.open("rb") as opened:
            for chunk in sorted(self.places):
                piece, position, length = self.places[chunk]
                opened.seek(position)
                yield Piece(piece.sample_id, piece.timestamp_ms, piece.header, opened.read(length))

    def arrays(self, max_bytes: int) -> Arrays:
        """Return the parameters of a complete update; raises `Undecodable`."""
        packed = b"".join(piece.data for piece in self.pieces())
        return unpack(packed, self.header.codec, self.header.checksum, max_bytes)


class UpdateSpool:
    """Gathers pieces into updates; their bytes stand in files of a local folder.

    A batch may hold 5,000 pieces of 900 kB, which is more than memory should hold at once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._updates: dict[tuple[object, ...], Update] = {}
        self._completed = 0
        self._numbers = count()

    def add(self, piece: Piece) -> None:
        """Keep a piece; one that is there already is passed over."""
        update = self._update(piece)
        chunk = piece.header.chunk
        if chunk in update.places:
            return
        with update.file.open("ab") as opened:
            position = opened.tell()
            opened.write(piece.data)
        update.places[chunk] = (_without_data(piece), position, len(piece.data))
        update.timestamp_ms = min(update.timestamp_ms, piece.timestamp_ms)
        if len(update.places) == update.header.chunks:
            self._completed += 1
            update.completed = self._completed

    def rounds(self) -> list[tuple[str, int]]:
        """Return model and round of every update, in order."""
        return sorted({(update.header.model, update.header.round) for update in self._updates.values()})

    def updates(self, model: str, number: int) -> list[Update]:
        """Return the updates of a round, in order of their workers and of completion, incomplete ones first."""
        found = [
            update for update in self._updates.values() if (update.header.model, update.header.round) == (model, number)
        ]
        return sorted(found, key=lambda update: (update.header.worker, update.completed or 0, update.sample_id))

    def remove(self, update: Update) -> None:
        """Forget an update and its bytes."""
        del self._updates[_key(update.header)]
        update.file.unlink()

    def __iter__(self) -> Iterator[Update]:
        for model, number in self.rounds():
            yield from self.updates(model, number)

    def _update(self, piece: Piece) -> Update:
        key = _key(piece.header)
        if key not in self._updates:
            file = self._folder / f"update-{next(self._numbers)}"
            self._updates[key] = Update(piece.header, piece.sample_id, file, piece.timestamp_ms)
        return self._updates[key]


def _key(header: ParametersHeader) -> tuple[object, ...]:
    """What the messages of one publication share; anything else makes another publication of them."""
    return (
        header.model,
        header.round,
        header.worker,
        header.checksum,
        header.codec,
        header.chunks,
        header.samples,
        header.workers,
    )


def _without_data(piece: Piece) -> Piece:
    return Piece(piece.sample_id, piece.timestamp_ms, piece.header, b"")
