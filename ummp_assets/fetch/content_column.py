"""The column of contents, made of the pieces in which they arrived."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa

from ummp_assets.errors import ManifestCorrupt
from ummp_assets.fetch.body import Body

__all__ = ["content_column"]


def content_column(bodies: Sequence[Body | None]) -> pa.LargeBinaryArray:
    """Return the contents as a column, null where there is no body, and hash those that are not hashed yet.

    The pieces of each body are copied into the column's buffer and hashed there while they are in the processor's
    cache. For 170 MB that took 0.12 s of processor time; 0.15 s when all were joined before the first was hashed, and
    0.15 s more with Arrow's builder, which grows by doubling.

    Raises
    ------
    ManifestCorrupt
        A blob of an earlier batch has another size than it had.
    """
    ends = [0]
    for body in bodies:
        ends.append(ends[-1] + (body.byte_count if body is not None else 0))
    buffer = pa.allocate_buffer(ends[-1])
    view = memoryview(buffer).cast("B")
    for body, begin, end in zip(bodies, ends, ends[1:], strict=False):
        if body is None:
            continue
        at = begin
        for piece in body.pieces if body.pieces is not None else (_read_whole(body),):
            at += len(piece)
            view[at - len(piece) : at] = piece
        if body.digest is None:
            body.digest = hashlib.sha256(view[begin:end]).hexdigest()
    present = pa.array([body is not None for body in bodies], pa.bool_()).buffers()[1]
    offsets = pa.array(ends, pa.int64()).buffers()[1]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(bodies), [present, offsets, buffer])


def _read_whole(body: Body) -> bytes:
    content = body.read()
    if len(content) != body.byte_count:
        raise ManifestCorrupt(
            f"{body.blob or body.file} holds {len(content)} bytes instead of {body.byte_count}: "
            "`ummp datasets scrub --repair` restores it from a replica"
        )
    return content
