"""`file:` and every fsspec scheme that the installation has (`s3: gs: abfs: hdfs: memory: ...`), below allowed roots.

A local path is resolved first, so that neither `..` nor a symbolic link leads out of the roots, and then opened folder
by folder without following links, so that nothing that is put there in between does. An object store has neither;
there the normalised URL must begin with a root.
"""

import errno
import os
import posixpath
import stat
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec.registry import known_implementations, registry

from ummp_assets.fetch.body import Body
from ummp_assets.fetch.collecting import collect
from ummp_assets.fetch.fetched import Attempt, Fetched, FetchRequest
from ummp_assets.fetch.source_errors import SourceError
from ummp_assets.reasons import Reason
from ummp_assets.settings import FetchSettings

__all__ = ["FileSource"]

_PIECE_BYTES = 1 << 20
# fsspec's own web client knows none of the policy of this package, and some schemes reach around it or the roots.
_NEVER = frozenset({"http", "https", "ftp", "sftp", "ssh", "smb", "cached", "blockcache", "filecache", "simplecache"})
_NEVER_CHAINED = "::"


class FileSource:
    """Reads files and objects."""

    def __init__(self, settings: FetchSettings, scratch: Path) -> None:
        self._settings, self._scratch = settings, scratch
        self._folders = [_local_root(root) for root in settings.allowed_roots if _is_local(root)]
        self._prefixes = [_normal(root) for root in settings.allowed_roots if not _is_local(root)]

    def handles(self, scheme: str) -> bool:
        """Return whether the scheme is `file` or one of fsspec's."""
        return scheme == "file" or (scheme not in _NEVER and (scheme in known_implementations or scheme in registry))

    def fetch(self, request: FetchRequest, started: str) -> Fetched:
        """Return the file; raises `SourceError`."""
        uri = request.uri.strip()
        body, final_uri = self._read_local(uri) if uri.lower().startswith("file:") else self._read_remote(uri)
        attempt = Attempt(started, final_uri, None, None, None, body.byte_count)
        return Fetched(body, final_uri, started, attempts=[attempt], evidence={"allowed_root": True})

    def close(self) -> None:
        """Nothing is kept open."""

    def _read_local(self, uri: str) -> tuple[Body, str]:
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise SourceError(Reason.OUTSIDE_ROOTS, f"{parts.netloc!r} is another machine")
        try:
            path = Path(unquote(parts.path)).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise SourceError(Reason.INVALID_URI, f"It is no path: {error}") from error
        if not any(path.is_relative_to(folder) for folder in self._folders):
            raise SourceError(Reason.OUTSIDE_ROOTS, f"{path} is not below fetch.allowed_roots")
        try:
            with _open_regular(path) as file:
                return self._copy(file), path.as_uri()
        except OSError as error:
            raise _explain(error) from error

    def _read_remote(self, uri: str) -> tuple[Body, str]:
        normal = _normal(uri)
        if _NEVER_CHAINED in uri or not any(_is_below(normal, prefix) for prefix in self._prefixes):
            raise SourceError(Reason.OUTSIDE_ROOTS, f"{normal} is not below fetch.allowed_roots")
        try:
            with fsspec.open(normal, "rb") as file:
                return self._copy(cast(BinaryIO, file)), normal
        except ImportError as error:
            raise SourceError(Reason.UNSUPPORTED_SCHEME, f"The scheme needs a package: {error}") from error
        except OSError as error:
            raise _explain(error) from error

    def _copy(self, file: BinaryIO) -> Body:
        return collect(iter(lambda: file.read(_PIECE_BYTES), b""), self._scratch, self._settings)


def _open_regular(path: Path) -> BinaryIO:
    """Return a reader of a file whose path has been resolved.

    Raises
    ------
    SourceError
        It is no regular file: a pipe would keep its reader waiting for ever.
    OSError
        It cannot be opened, or a symbolic link stands in the path by now.
    """
    folder = os.open(path.anchor, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in path.parts[1:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.fdopen(os.open(path.name or ".", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "rb")
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise SourceError(Reason.OBJECT_NOT_FOUND, "It is a device or a pipe, no file")
    return file


def _explain(error: OSError) -> SourceError:
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return SourceError(Reason.OBJECT_NOT_FOUND, "There is no such file")
    if isinstance(error, PermissionError):
        return SourceError(Reason.ACCESS_DENIED, "It may not be read with our credentials")
    if error.errno == errno.ELOOP:
        return SourceError(Reason.OUTSIDE_ROOTS, "A symbolic link was put into its path while it was opened")
    return SourceError(Reason.CONNECTION_FAILED, f"It could not be read: {error}", transient=True)


def _is_local(root: str) -> bool:
    return "://" not in root or root.lower().startswith("file:")


def _local_root(root: str) -> Path:
    return Path(unquote(urlsplit(root).path) if root.lower().startswith("file:") else root).expanduser().resolve()


def _normal(uri: str) -> str:
    """Return the URL without `.`, `..` and double slashes in its path."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme.lower()}://{posixpath.normpath('/' + rest).lstrip('/')}"


def _is_below(uri: str, root: str) -> bool:
    return uri == root or uri.startswith(root.rstrip("/") + "/")
