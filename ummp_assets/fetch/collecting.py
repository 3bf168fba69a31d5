"""Pieces of bytes from a source to one object."""

from collections.abc import Iterator
from pathlib import Path

from ummp_assets.fetch.body import Body, BodyTooLarge, BodyWriter
from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings

__all__ = ["ScratchFull", "collect"]


class ScratchFull(Exception):
    """The scratch folder cannot take what a source brings: no fault of the source's; the cause is an `OSError`."""


def collect(pieces: Iterator[bytes], scratch: Path, settings: FetchSettings) -> Body:
    """Return the pieces as one object.

    Raises
    ------
    SourceError
        They are larger than an object may be.
    ScratchFull
        The scratch folder cannot be written.
    """
    writer = BodyWriter(scratch, settings.inline_bytes, settings.max_object_bytes)
    try:
        for piece in pieces:
            try:
                writer.write(piece)
            except BodyTooLarge:
                raise SourceError(Reason.OBJECT_TOO_LARGE, Reason.OBJECT_TOO_LARGE.meaning.rstrip(".")) from None
            except OSError as error:
                raise ScratchFull from error
    except BaseException:
        writer.discard()
        raise
    return writer.finish()
