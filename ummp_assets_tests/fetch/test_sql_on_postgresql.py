"""Queries on a real PostgreSQL, whose driver runs several statements at once and would run them for ever."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ummp_assets_tests.fetch.conftest import Fetch
from ummp_assets_tests.storage.postgres_server import find_postgres, run_postgres


@pytest.fixture
def warehouse() -> Iterator[sa.Engine]:
    programs = find_postgres()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    with run_postgres(programs) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE pages AS SELECT n AS id, 'page ' || n AS text FROM generate_series(1, 3) n"
            )
        yield engine


def test_queries_only_read_one_statement_long_and_not_for_ever(warehouse: sa.Engine, fetch: Fetch) -> None:
    queries = [
        "SELECT text FROM pages ORDER BY id;",
        "SELECT 1; COMMIT; DELETE FROM pages; COMMIT",
        "SELECT $$'$$; COMMIT; DELETE FROM pages; COMMIT --'",
        "WITH gone AS (DELETE FROM pages RETURNING text) SELECT text FROM gone",
        "SELECT pg_sleep(60)",
    ]
    address = SecretStr(warehouse.url.render_as_string(hide_password=False))
    uris = [f"sql+warehouse:{quote(query)}" for query in queries]
    samples, outcomes = fetch(*uris, connections={"warehouse": address}, total_timeout_seconds=0.5)
    assert [row["content"] for row in samples] == [b"page 1", b"page 2", b"page 3"]
    reasons = ["query_failed", "query_failed", "query_failed", "timed_out"]
    assert outcomes == [(str(number), reason) for number, reason in enumerate(reasons, 1)]
    with warehouse.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM pages")) == 3
