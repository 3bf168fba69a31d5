"""The messages of a batch of a training topic: each one decoded, or a dead letter with its reason."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pyarrow as pa
from pydantic import BaseModel

from ummp_assets.errors import AccountingMismatch
from ummp_assets.messages.codec import Undecodable, decode
from ummp_assets.messages.intake import DEAD_LETTER_SCHEMA, bury
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.reading import Message, RangeReader
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter

__all__ = ["DEAD_LETTERS", "BatchMessages"]

DEAD_LETTERS: dict[str, pa.Schema] = {"dead_letters": DEAD_LETTER_SCHEMA}
"""The table that a stage must have to use `BatchMessages`."""

_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)


class BatchMessages:
    """Reads a batch's messages once; those that cannot be read go to the writer's tables `outcomes` and
    `dead_letters`."""

    def __init__(self, store: ObjectStore, settings: Settings, batch: str, writer: StageWriter) -> None:
        self._settings, self._writer = settings, writer
        self._batch = OffsetLog(store).get(batch)
        self._reader = RangeReader(settings, self._batch)
        self._readable = self._unreadable = self._byte_count = 0

    def decoded(self, model: type[_M]) -> Iterator[list[tuple[Message, _M]]]:
        """Yield the messages in chunks, each with its value as the model."""
        limit = self._settings.intake.max_message_bytes
        yield from self.parsed(lambda message: decode(model, message.value, limit))

    def parsed(self, parse: Callable[[Message], _T]) -> Iterator[list[tuple[Message, _T]]]:
        """Yield the messages in chunks, each with what `parse` made of it; it may raise `Undecodable`."""
        for chunk in self._reader:
            readable: list[tuple[Message, _T]] = []
            unreadable: list[tuple[Message, Undecodable]] = []
            for message in chunk:
                try:
                    readable.append((message, parse(message)))
                except Undecodable as error:
                    unreadable.append((message, error))
            bury(self._writer, unreadable)
            self._readable += len(readable)
            self._unreadable += len(unreadable)
            self._byte_count += sum(len(message.value or b"") for message in chunk)
            yield readable

    def numbers(self) -> dict[str, int | float]:
        """Return the counts of a whole iteration, for the manifest.

        Raises
        ------
        AccountingMismatch
            They do not add up to the offsets of the batch.
        """
        expired = sum(len(item) for item in self._reader.expired)
        found = self._readable + self._unreadable + self._reader.gaps + expired
        if found != self._batch.messages:
            raise AccountingMismatch(f"batch {self._batch.key} spans {self._batch.messages} offsets, found {found}")
        return {
            "messages": self._batch.messages,
            "readable": self._readable,
            "unreadable": self._unreadable,
            "gaps": self._reader.gaps,
            "expired": expired,
            "message_bytes": self._byte_count,
        }
