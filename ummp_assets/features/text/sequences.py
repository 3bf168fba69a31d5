"""Token ids of many documents to sequences of one length, with the boundaries of the documents in them.

Documents are laid end to end and cut every `length` tokens, as GPT-3 was trained (Brown et al. 2020,
appendix B); the boundaries let attention and positions stay inside a document.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ummp_assets.errors import InvalidInput

__all__ = ["SequencePacker", "TokenSequence", "pack_sequences"]


@dataclass(frozen=True, slots=True, eq=False)
class TokenSequence:
    """One sequence of fixed length.

    Parameters
    ----------
    token_ids:
        Shape (length,), int32.
    document_starts:
        Shape (documents,), int32, ascending: where each document or piece of one begins; the first is 0.
    sample_ids:
        The sample of each of them.
    tokens:
        Tokens before the padding; less than the length in the last sequence only.
    """

    token_ids: npt.NDArray[np.int32]
    document_starts: npt.NDArray[np.int32]
    sample_ids: tuple[str, ...]
    tokens: int


class SequencePacker:
    """Takes documents one by one and gives sequences as they fill up; each document is followed by the separator.

    Parameters
    ----------
    length:
        Tokens of a sequence, at least 2.
    end_of_text:
        The separator's id; it also pads the last sequence.

    Raises
    ------
    InvalidInput
        The length is too small.
    """

    def __init__(self, length: int, end_of_text: int) -> None:
        if length < 2:
            raise InvalidInput(f"a sequence of {length} tokens is too short: at least 2")
        self._length, self._end_of_text = length, end_of_text
        self._begin()

    def add(self, sample_id: str, token_ids: Sequence[int] | npt.NDArray[np.int32]) -> Iterator[TokenSequence]:
        """Yield the sequences that the document fills."""
        rest = np.append(np.asarray(token_ids, np.int32), np.int32(self._end_of_text))
        while len(rest):
            piece = rest[: self._length - self._filled]
            self._starts.append(self._filled)
            self._sample_ids.append(sample_id)
            self._ids[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            rest = rest[len(piece) :]
            if self._filled == self._length:
                yield self._take()

    def finish(self) -> Iterator[TokenSequence]:
        """Yield the last sequence, padded, if there is one."""
        if self._filled:
            yield self._take()

    def _begin(self) -> None:
        self._ids = np.full(self._length, self._end_of_text, np.int32)
        self._starts: list[int] = []
        self._sample_ids: list[str] = []
        self._filled = 0

    def _take(self) -> TokenSequence:
        starts = np.array(self._starts, np.int32)
        sequence = TokenSequence(self._ids, starts, tuple(self._sample_ids), self._filled)
        self._begin()
        return sequence


def pack_sequences(
    documents: Iterable[tuple[str, Sequence[int] | npt.NDArray[np.int32]]], length: int, end_of_text: int
) -> Iterator[TokenSequence]:
    """Yield pairs of sample id and token ids, in order, as sequences of one length; see `SequencePacker`.

    >>> [first, last] = pack_sequences([("a", [1, 2, 3]), ("b", [4])], 4, 0)
    >>> first.token_ids.tolist(), last.token_ids.tolist(), last.sample_ids, last.tokens
    ([1, 2, 3, 0], [4, 0, 0, 0], ('b',), 2)
    """
    packer = SequencePacker(length, end_of_text)
    for sample_id, token_ids in documents:
        yield from packer.add(sample_id, token_ids)
    yield from packer.finish()
