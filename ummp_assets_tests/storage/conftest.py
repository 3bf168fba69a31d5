"""The stores and databases that contract suites run on, and worker processes that use them at the same time."""

import multiprocessing
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import fsspec
import pytest
import sqlalchemy as sa

from ummp_assets.storage.fsspec_store import FsspecStore
from ummp_assets.storage.index import Index, SqlIndex
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.storage.postgres_server import find_postgres, run_postgres
from ummp_assets_tests.storage.s3_server import s3_environment

SHARED = ["local", "local with fsync", "s3"]
"""Stores that several processes can use; fsspec's memory:// lives in one."""


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    with s3_environment():
        fsspec.filesystem("s3").mkdir("ummp-tests")
        yield "ummp-tests"


@pytest.fixture(params=["local", "local with fsync", "memory", "s3"])
def object_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return _make_store(request.param, tmp_path, request.getfixturevalue)


@pytest.fixture(params=SHARED)
def shared_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return _make_store(request.param, tmp_path, request.getfixturevalue)


def _make_store(kind: str, folder: Path, get_fixture: Callable[[str], str]) -> ObjectStore:
    if kind == "memory":
        return FsspecStore(f"memory://{uuid.uuid4().hex}")
    if kind == "s3":
        return FsspecStore(f"s3://{get_fixture('s3_bucket')}/{uuid.uuid4().hex}")
    return LocalStore(folder / "root", fsync=kind == "local with fsync")


def _take_environment(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)


@pytest.fixture(scope="session")
def workers(s3_bucket: str) -> Iterator[ProcessPoolExecutor]:
    """Four processes that know the address of the S3 server."""
    # Forks of a process that has imported everything: four imports took ten seconds of processor time.
    multiprocessing.set_forkserver_preload([__name__, "pandas", "s3fs"])
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(4, context, _take_environment, (dict(os.environ),)) as pool:
        yield pool


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.URL]:
    programs = find_postgres()
    if programs is None:
        said = (
            "PostgreSQL's server is not installed (Debian: apt-get install postgresql): the index was NOT tested on it"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    with run_postgres(programs) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def index_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of its own for each test, still without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new folder/index.db"
    server: sa.URL = request.getfixturevalue("postgres")
    name = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def sql_index(index_url: str) -> Iterator[Index]:
    index = SqlIndex(index_url)
    yield index
    index.close()
