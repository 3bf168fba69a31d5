"""Signed texts and their verdicts, 64 to a row.

As rows of their own they cost a claim most of its time: 8 us for each text, half of it in the database's two indexes.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

__all__ = [
    "BLOCK_TEXTS",
    "METADATA",
    "NO_OWNER",
    "KnownText",
    "TextBlock",
    "append_blocks",
    "next_number",
    "read_texts",
    "remove_texts",
    "signature_version",
]

BLOCK_TEXTS = 64
"""Texts of a block: the number of a text is its block's times 64, plus its place there."""

NO_OWNER = 0
"""Stands for the owner of a text that is an owner itself; blocks are numbered from 1."""

# SQLite allows 32,766 variables in a statement.
_BLOCKS_PER_STATEMENT = 15_000

METADATA = sa.MetaData()

_BLOCKS = sa.Table(
    "text_blocks",
    METADATA,
    sa.Column("block", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sample_ids", sa.Text, nullable=False),
    sa.Column("signatures", sa.LargeBinary, nullable=False),
    sa.Column("owners", sa.LargeBinary, nullable=False),
    sa.Column("similarities", sa.LargeBinary, nullable=False),
)

_VERSIONS = sa.Table(
    "text_signatures", METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False)
)

# Built once: building them took a claim of a thousand texts as long as the database takes.
_LAST_BLOCK = sa.select(sa.func.max(_BLOCKS.c.block))
_INSERT = sa.insert(_BLOCKS)

_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TextBlock:
    """Up to 64 texts.

    Parameters
    ----------
    sample_ids:
        None where a text was removed.
    signatures:
        Shape (texts, values), uint16; zeros where a text was removed.
    owners:
        Shape (texts,), the number of each text's owner or `NO_OWNER`.
    similarities:
        Shape (texts,), to the owner, 0 to 1.
    """

    sample_ids: Sequence[str | None]
    signatures: npt.NDArray[np.uint16]
    owners: _Integers
    similarities: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class KnownText:
    """A text in the index.

    Parameters
    ----------
    owner:
        The number of its owner or `NO_OWNER`.
    similarity:
        To the owner, 0 to 1.
    """

    number: int
    sample_id: str
    signature: npt.NDArray[np.uint16]
    owner: int
    similarity: float


def next_number(connection: sa.Connection) -> int:
    """Return the number that the next text gets: the first of a new block."""
    last = connection.execute(_LAST_BLOCK).scalar() or 0
    return BLOCK_TEXTS * (int(last) + 1)


def signature_version(connection: sa.Connection, version: int) -> int | None:
    """Return the version of the signatures that the blocks hold, or None for one before they were noted.

    Without blocks that is `version`, which is noted.
    """
    noted = connection.execute(sa.select(_VERSIONS.c.version)).scalar()
    if noted is None and next_number(connection) == BLOCK_TEXTS:
        connection.execute(sa.insert(_VERSIONS), {"version": version})
        return version
    return noted


def append_blocks(connection: sa.Connection, first: int, texts: TextBlock) -> None:
    """Write texts, any number of them, as blocks from `first` on, which is what `next_number` returned."""
    rows = [
        {
            "block": (first + start) // BLOCK_TEXTS,
            "sample_ids": json.dumps(texts.sample_ids[start : start + BLOCK_TEXTS]),
            "signatures": texts.signatures[start : start + BLOCK_TEXTS].tobytes(),
            "owners": texts.owners[start : start + BLOCK_TEXTS].tobytes(),
            "similarities": texts.similarities[start : start + BLOCK_TEXTS].tobytes(),
        }
        for start in range(0, len(texts.sample_ids), BLOCK_TEXTS)
    ]
    connection.execute(_INSERT, rows)


def read_texts(connection: sa.Connection, numbers: Iterable[int]) -> dict[int, KnownText]:
    """Return the texts of the numbers, ascending, those left out that were removed."""
    wanted = sorted(numbers)
    blocks = _read_blocks(connection, wanted) if wanted else {}
    known: dict[int, KnownText] = {}
    for number in wanted:
        block, place = blocks[number // BLOCK_TEXTS], number % BLOCK_TEXTS
        if (sample_id := block.sample_ids[place]) is not None:
            owner, similarity = int(block.owners[place]), float(block.similarities[place])
            known[number] = KnownText(number, sample_id, block.signatures[place], owner, similarity)
    return known


def _read_blocks(connection: sa.Connection, numbers: Iterable[int]) -> dict[int, TextBlock]:
    """Return the blocks that hold the texts with these numbers, by the number of the block."""
    wanted = sorted({number // BLOCK_TEXTS for number in numbers})
    blocks: dict[int, TextBlock] = {}
    for start in range(0, len(wanted), _BLOCKS_PER_STATEMENT):
        chosen = _BLOCKS.c.block.in_(wanted[start : start + _BLOCKS_PER_STATEMENT])
        for row in connection.execute(sa.select(_BLOCKS).where(chosen)):
            sample_ids = json.loads(row.sample_ids)
            blocks[row.block] = TextBlock(
                sample_ids,
                np.frombuffer(row.signatures, np.uint16).reshape(len(sample_ids), -1),
                np.frombuffer(row.owners, np.int64),
                np.frombuffer(row.similarities, np.float64),
            )
    return blocks


def remove_texts(connection: sa.Connection, numbers: Iterable[int]) -> None:
    """Forget the sample ids and signatures of texts, so that nobody finds them any more."""
    gone = set(numbers)
    for number, block in _read_blocks(connection, gone).items():
        places = [place for place in range(len(block.sample_ids)) if number * BLOCK_TEXTS + place in gone]
        left = list(block.sample_ids)
        signatures = block.signatures.copy()
        for place in places:
            left[place] = None
        signatures[places] = 0
        changed = {"sample_ids": json.dumps(left), "signatures": signatures.tobytes()}
        connection.execute(sa.update(_BLOCKS).where(_BLOCKS.c.block == number).values(**changed))
