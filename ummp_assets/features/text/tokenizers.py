"""Text to token ids: a vocabulary that its wheel carries, or the user's `tokenizer.json`.

Nothing is ever downloaded: tiktoken, the usual source of these vocabularies, fetches them at first use.
"""

import hashlib
import re
import warnings
from array import array
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tokenizers

from ummp_assets.errors import InvalidSettings

__all__ = ["Tokenizer", "load_tokenizer"]

# Ids in the vocabulary and the one that ends a text, for a process that leaves tokenising to others.
_CARRIED = {"cl100k_base": (100_277, 100_257), "o200k_base": (200_019, 199_999)}
_END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "[SEP]")

# bpe-openai refuses more than 200,000 tokens at once, and a character has at most four.
_PIECE_CHARACTERS = 25_000
_SHORT_CHARACTERS = 65_536
# Both vocabularies split before tokenising, and never inside these places, behind a line end or before a space, so that
# pieces give the ids of the whole. One of two characters first, which is what `re` finds fastest.
_BOUNDARY = re.compile(r"[\n ](?:(?<=\n)(?=[^\S\r\n]*+\S)|(?<=[^\W\d_] )(?=[^\W\d_]))")


class Tokenizer(Protocol):
    """What turns text into token ids.

    `name` identifies vocabulary and rules: the same name gives the same ids. `end_of_text` is the id that separates
    documents, or None.
    """

    @property
    def name(self) -> str: ...

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def end_of_text(self) -> int | None: ...

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        """Return the ids of a text, shape (tokens,); special tokens that it spells out are encoded as ordinary text."""
        ...

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        ...


@cache
def load_tokenizer(name: str) -> Tokenizer:
    """Return a tokenizer by name.

    Parameters
    ----------
    name:
        `cl100k_base` (100,277 ids), `o200k_base` (200,019 ids), or the path of a Hugging Face `tokenizer.json`.

    Raises
    ------
    InvalidSettings
        The name is neither, or the file is no tokenizer.
    """
    if name in _CARRIED:
        return _CarriedTokenizer(name)
    if not name.endswith(".json"):
        raise InvalidSettings(
            f"UMMP_CLEAN__TEXT__TOKENIZER={name}: expected {' or '.join(_CARRIED)}, or the path of a tokenizer.json"
        )
    return _FileTokenizer(Path(name))


class _CarriedTokenizer:
    def __init__(self, name: str) -> None:
        self.name = name
        self.vocabulary_size: int
        self.end_of_text: int | None
        self.vocabulary_size, self.end_of_text = _CARRIED[name]

    @cached_property
    def _encoding(self) -> Any:
        # It reads every vocabulary that it carries, 0.8 s and 100 MB.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "open_binary is deprecated", DeprecationWarning)
            import bpe_openai
        return bpe_openai.get_encoding(self.name)

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        # Piece by piece, for in a list each id takes 36 bytes.
        ids = array("i")
        for piece in _pieces(text):
            ids.fromlist(self._encoding.encode_ordinary(piece))
        return np.array(ids, np.int32)

    def decode(self, ids: list[int]) -> str:
        return str(self._encoding.decode(ids))


class _FileTokenizer:
    def __init__(self, path: Path) -> None:
        try:
            data = path.read_bytes()
            self._tokenizer = tokenizers.Tokenizer.from_buffer(data)
        # The library raises plain Exception for any file that it can't use.
        except Exception as error:
            raise InvalidSettings(f"UMMP_CLEAN__TEXT__TOKENIZER={path} is no readable tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        self.name = f"{path.name}-{hashlib.sha256(data).hexdigest()[:16]}"
        self.vocabulary_size = self._tokenizer.get_vocab_size()
        self.end_of_text = next(
            (found for token in _END_OF_TEXT if (found := self._tokenizer.token_to_id(token)) is not None), None
        )

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        if len(text) <= _SHORT_CHARACTERS:
            return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        # Without the place of each token in the text: in half to two thirds of the time, and in 440 to 550 MB instead
        # of 490 to 740 for 4 MiB. The library then starts threads, which must not be there before a process forks.
        [encoding] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return np.array(encoding.ids, np.int32)

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids))


def _pieces(text: str) -> Iterator[str]:
    """Yield the text in pieces that the library accepts, cut where the vocabulary's own rule cuts."""
    start = 0
    while len(text) - start > 2 * _PIECE_CHARACTERS:
        end, last = start + _PIECE_CHARACTERS, start + 2 * _PIECE_CHARACTERS
        # From one before, for the place may be behind a line end.
        for boundary in _BOUNDARY.finditer(text, end - 1, last):
            place = boundary.end() if boundary.group() == "\n" else boundary.start()
            if place >= end:
                end = place
                break
        yield text[start:end]
        start = end
    yield text[start:]
