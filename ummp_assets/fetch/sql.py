"""`sql+<name>:<query>`: the rows of a query on a connection that the settings name, one sample a row.

The query is percent-encoded as any URI is. Rows are read in pieces, in a transaction that the database holds to be
read-only where it can, and become a table in JSON Lines, which is then unpacked like any other.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ummp_assets.fetch.collecting import collect
from ummp_assets.fetch.fetched import Attempt, Fetched, FetchRequest
from ummp_assets.fetch.modality import TABLE
from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.fetch.unpack import MemberNames
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings

__all__ = ["SqlSource"]

_SCHEME = "sql+"
_ROWS_AT_ONCE = 1_000
_READING = re.compile(r"\s*(?:--[^\n]*\n\s*)*(?:select|with|values|table)\b", re.IGNORECASE)
_SQLITE_STEPS = 100_000
_TOO_SLOW = "The query took longer than fetch.total_timeout_seconds"
_CONTENT_FIELDS = ("content", "bytes")


class SqlSource:
    """Reads query results."""

    def __init__(self, settings: FetchSettings, scratch: Path) -> None:
        self._settings, self._scratch = settings, scratch
        self._engines: dict[str, sa.Engine] = {}
        self._lock = threading.Lock()

    def handles(self, scheme: str) -> bool:
        """Return whether the scheme is `sql+` and a name."""
        return scheme.startswith(_SCHEME)

    def fetch(self, request: FetchRequest, started: str) -> Fetched:
        """Return the rows as JSON Lines; raises `SourceError`."""
        scheme, _, encoded = request.uri.strip().partition(":")
        query = unquote(encoded)
        if not _READING.match(query):
            raise SourceError(Reason.QUERY_FAILED, "Only queries that read are run: SELECT, WITH, VALUES, TABLE")
        if ";" in query.rstrip().removesuffix(";"):
            # A second statement could end the read-only transaction. In a literal it is chr(59), or char(59).
            raise SourceError(Reason.QUERY_FAILED, "Only one statement is run, and none with a semicolon inside")
        engine = self._engine(scheme[len(_SCHEME) :])
        rows = _read_rows(engine, query, self._settings.total_timeout_seconds)
        body = collect(map(_json_line, rows), self._scratch, self._settings)
        attempt = Attempt(started, request.uri, None, None, None, body.byte_count)
        return Fetched(
            body, request.uri, started, media_type="application/x-ndjson", attempts=[attempt], modality=TABLE
        )

    def close(self) -> None:
        """Close the connections."""
        for engine in self._engines.values():
            engine.dispose()

    def _engine(self, name: str) -> sa.Engine:
        # Schemes are case-insensitive, names in the settings are as they were written.
        urls = {known.lower(): url for known, url in self._settings.connections.items()}
        if name.lower() not in urls:
            raise SourceError(Reason.UNKNOWN_CONNECTION, f"fetch.connections has no {name!r}")
        with self._lock:
            if name not in self._engines:
                try:
                    self._engines[name] = sa.create_engine(urls[name.lower()].get_secret_value(), pool_pre_ping=True)
                except (SQLAlchemyError, ImportError, ValueError) as error:
                    detail = f"The connection {name!r} cannot be used: {type(error).__name__}"
                    raise SourceError(Reason.UNKNOWN_CONNECTION, detail) from error
            return self._engines[name]


def _read_rows(engine: sa.Engine, query: str, timeout_seconds: float) -> Iterator[dict[str, Any]]:
    import pandas as pd

    over = time.monotonic() + timeout_seconds

    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        # Without the text of the error: some drivers quote the address with its password.
        detail = f"The database cannot be reached ({type(error).__name__})"
        raise SourceError(Reason.CONNECTION_FAILED, detail, transient=True) from error
    with connection:
        try:
            _make_read_only(connection)
            _limit_time(connection, timeout_seconds)
            streaming = connection.execution_options(stream_results=True)
            statement = sa.text(_literal(query))
            # As objects: otherwise a NULL turns a column of integers into floats, and bytes are taken for text.
            for piece in pd.read_sql(statement, streaming, chunksize=_ROWS_AT_ONCE, dtype=object, coerce_float=False):
                # Two columns may have one name: the second is `name#2`.
                unique = MemberNames()
                names = [unique.take(str(name)) for name in piece.columns]
                for values in piece.itertuples(index=False, name=None):
                    yield dict(zip(names, values, strict=True))
                if time.monotonic() > over:
                    raise SourceError(Reason.TIMED_OUT, _TOO_SLOW)
        except (SQLAlchemyError, pd.errors.DatabaseError) as error:
            cause = error.__cause__ if isinstance(error, pd.errors.DatabaseError) else error
            lost = isinstance(cause, DBAPIError) and cause.connection_invalidated
            said = cause.orig if isinstance(cause, DBAPIError) else cause
            if time.monotonic() > over:
                raise SourceError(Reason.TIMED_OUT, f"{_TOO_SLOW}; the database says: {said}") from error
            raise SourceError(Reason.QUERY_FAILED, f"The database says: {said}", transient=lost) from error


def _literal(query: str) -> str:
    r"""Return the query with colons escaped, which SQLAlchemy would take for parameters."""
    return re.sub(r"(?<![:\\]):(?=[A-Za-z_])", r"\:", query)


def _make_read_only(connection: sa.Connection) -> None:
    """Forbid writes where the database can; elsewhere the rights of the connection's user decide."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
    elif connection.dialect.name == "postgresql" or connection.dialect.name in ("mysql", "mariadb"):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _limit_time(connection: sa.Connection, seconds: float) -> None:
    """Let the database break off what runs longer, where it can; elsewhere the time is looked at between pieces."""
    if connection.dialect.name == "sqlite":
        over = time.monotonic() + seconds
        driver = connection.connection.driver_connection
        driver.set_progress_handler(lambda: time.monotonic() > over, _SQLITE_STEPS)  # type: ignore[union-attr]
    elif connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1_000)}")
    elif connection.dialect.name == "mysql":
        connection.exec_driver_sql(f"SET SESSION max_execution_time = {int(seconds * 1_000)}")
    elif connection.dialect.name == "mariadb":
        connection.exec_driver_sql(f"SET SESSION max_statement_time = {seconds}")


def _json_line(row: dict[str, Any]) -> bytes:
    return json.dumps(_plain_row(row), ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass") + b"\n"


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    for name in _CONTENT_FIELDS:
        if isinstance(row.get(name), bytes):
            row = {**row, "content_base64": base64.b64encode(row[name]).decode()}
            del row[name]
            break
    return {name: None if _is_missing(value) else value for name, value in row.items()}


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
