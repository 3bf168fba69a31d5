"""A private PostgreSQL cluster for tests: made by initdb as an unprivileged user, reached through a Unix socket."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

__all__ = ["find_postgres", "run_postgres"]


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's server programs; Debian keeps them out of the search path."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextmanager
def run_postgres(programs: Path) -> Iterator[sa.URL]:
    """Run a cluster and yield the URL of its database `postgres`."""
    user = _unprivileged_user()
    # Not pytest's folder: only its owner can enter that, and PostgreSQL refuses to run as root.
    with tempfile.TemporaryDirectory(prefix="ummp-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        data = folder / "data"
        initdb = [str(programs / "initdb"), "-D", str(data), "-U", "ummp", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [programs / "postgres", "-D", data, *options], user=user, cwd=folder, stderr=log
            ) as server,
        ):
            try:
                url = sa.URL.create("postgresql+psycopg2", "ummp", database="postgres", query={"host": str(folder)})
                _wait_until_ready(url, server, folder / "log")
                yield url
            finally:
                # "Fast" shutdown: SIGTERM would wait for every client to leave.
                server.send_signal(signal.SIGINT)


def _unprivileged_user() -> str | None:
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _wait_until_ready(url: sa.URL, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    deadline = time.monotonic() + 30
    while True:
        try:
            with engine.connect():
                return
        except sa.exc.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
