"""Letting one process at a time do something, among all that share an index: by locks that end with their holder.

PostgreSQL has advisory locks for it. SQLite locks the whole database or nothing, but all its processes are on one
machine: the kernel's locks on files beside the database serve.
"""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

__all__ = ["exclusive"]


@contextmanager
def exclusive(engine: sa.Engine, name: str) -> Iterator[None]:
    """Wait until nobody else is in a block with this name, and keep others out of it.

    Not to be nested: other names may share the lock, and the inner block would wait for ever.
    """
    digest = hashlib.sha256(name.encode()).digest()
    if engine.dialect.name == "postgresql":
        key = int.from_bytes(digest[:8], "big", signed=True)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(key)))
            try:
                yield
            finally:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
    elif engine.url.database in (None, "", ":memory:"):
        # Nobody else has it.
        yield
    else:
        folder = Path(f"{engine.url.database}.locks")
        folder.mkdir(exist_ok=True)
        with (folder / f"{digest[0]:02x}").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
