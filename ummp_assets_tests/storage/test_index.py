"""The contract of `Index`, on SQLite and on PostgreSQL."""

import hashlib
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from ummp_assets.errors import IndexUnavailable, InvalidSettings
from ummp_assets.storage.index import Index, SampleEntry, SqlIndex

ENTRY = SampleEntry(
    sample_id="ummp.requests.normal~0~17",
    dataset="news",
    modality="text",
    batch="ummp.requests.normal~00000001",
    uri="http://example.org/a",
    sha256="ab" * 32,
    outcome="stored",
    reason=None,
)


def test_claim_gives_the_first_owner_for_ever(sql_index: Index) -> None:
    assert sql_index.claim("news", "text", [("d1", "s1"), ("d2", "s2")]) == ["s1", "s2"]
    assert sql_index.claim("news", "text", [("d2", "s3"), ("d3", "s3"), ("d1", "s1")]) == ["s2", "s3", "s1"]
    assert sql_index.claim("news", "text", [("d1", "s1"), ("d2", "s2")]) == ["s1", "s2"]


def test_claim_of_one_digest_twice_in_a_call_gives_the_first(sql_index: Index) -> None:
    assert sql_index.claim("news", "text", [("b", "s1"), ("a", "s2"), ("b", "s3")]) == ["s1", "s2", "s1"]


def test_claims_of_other_datasets_and_kinds_are_apart(sql_index: Index) -> None:
    assert sql_index.claim("news", "text", [("d", "s1")]) == ["s1"]
    assert sql_index.claim("news", "image", [("d", "s2")]) == ["s2"]
    assert sql_index.claim("books", "text", [("d", "s3")]) == ["s3"]


def test_claim_of_nothing_gives_nothing(sql_index: Index) -> None:
    assert sql_index.claim("news", "text", []) == []


def test_claim_of_more_than_a_statement_holds_keeps_the_order(sql_index: Index) -> None:
    claims = [(f"{number * 7919 % 5_003:08d}", f"s{number}") for number in range(5_003)]

    assert sql_index.claim("news", "text", claims) == [owner for _, owner in claims]
    assert sql_index.claim("news", "text", [(digest, "late") for digest, _ in claims]) == [owner for _, owner in claims]


def _claim(url: str, worker: int, digests: list[str]) -> list[str]:
    index = SqlIndex(url)
    try:
        return index.claim("news", "text", [(digest, f"s{worker}") for digest in digests])
    finally:
        index.close()


def test_claims_of_many_processes_agree_on_each_owner(index_url: str, workers: ProcessPoolExecutor) -> None:
    # The tables are not there yet, and each process names the digests in another order: neighbours cross.
    digests = [f"{number:08d}" for number in range(3_000)]
    orders = [digests[start:] + digests[:start] for start in range(0, 3_000, 750)]
    orders = [order[::-1] if number % 2 else order for number, order in enumerate(orders)]

    answers = [workers.submit(_claim, index_url, worker, order) for worker, order in enumerate(orders)]

    owners = [
        dict(zip(order, answer.result(timeout=60), strict=True)) for order, answer in zip(orders, answers, strict=True)
    ]
    assert all(other == owners[0] for other in owners)
    assert set(owners[0].values()) <= {f"s{worker}" for worker in range(4)}


def _record(url: str, worker: int, numbers: list[int]) -> None:
    index = SqlIndex(url)
    try:
        index.record_samples(replace(ENTRY, sample_id=f"s{number:05d}", reason=f"by {worker}") for number in numbers)
    finally:
        index.close()


def test_samples_recorded_by_many_processes_at_once_are_all_there(index_url: str, workers: ProcessPoolExecutor) -> None:
    numbers = list(range(3_000))
    orders = [numbers if worker % 2 else numbers[::-1] for worker in range(4)]

    for recorded in [workers.submit(_record, index_url, worker, order) for worker, order in enumerate(orders)]:
        recorded.result(timeout=60)

    index = SqlIndex(index_url)
    found = index.find_samples(uris=[ENTRY.uri])
    index.close()
    assert [entry.sample_id for entry in found] == [f"s{number:05d}" for number in numbers]


def _count_alone(url: str, counter: Path) -> None:
    index = SqlIndex(url)
    try:
        for _ in range(20):
            with index.exclusive("counting"):
                number = int(counter.read_text())
                time.sleep(0.001)
                counter.write_text(str(number + 1))
    finally:
        index.close()


def test_one_process_at_a_time_is_in_a_block_with_a_name(
    index_url: str, workers: ProcessPoolExecutor, tmp_path: Path
) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    for counted in [workers.submit(_count_alone, index_url, counter) for _ in range(4)]:
        counted.result(timeout=60)

    assert counter.read_text() == "80"


def test_samples_are_found_by_id_uri_and_hash(sql_index: Index) -> None:
    same_uri = replace(ENTRY, sample_id="b", sha256=None, outcome="dead", reason="http_client_error")
    same_hash = replace(ENTRY, sample_id="a", uri="http://example.org/other")
    sql_index.record_samples([ENTRY, same_uri, same_hash])

    assert sql_index.find_samples(sample_ids=["a", "none"]) == [same_hash]
    assert sql_index.find_samples(uris=[ENTRY.uri]) == [same_uri, ENTRY]
    assert sql_index.find_samples(sha256s=["ab" * 32]) == [same_hash, ENTRY]
    assert sql_index.find_samples(sample_ids=["b"], uris=["http://example.org/other"]) == [same_hash, same_uri]
    assert sql_index.find_samples() == []


def test_record_replaces_and_the_last_of_a_call_wins(sql_index: Index) -> None:
    sql_index.record_samples([ENTRY, replace(ENTRY, outcome="dead", reason="first")])
    sql_index.record_samples([replace(ENTRY, outcome="dead", reason="first"), ENTRY])
    sql_index.record_samples(iter([ENTRY]))

    assert sql_index.find_samples(sample_ids=[ENTRY.sample_id]) == [ENTRY]


def test_find_by_more_values_than_a_statement_holds(sql_index: Index) -> None:
    entries = [replace(ENTRY, sample_id=f"{number:06d}") for number in range(4_500)]
    sql_index.record_samples(entries)

    assert sql_index.find_samples(sample_ids=[entry.sample_id for entry in entries]) == entries


# Signatures do not compress, so that PostgreSQL cannot make the URI shorter.
LONG_URI = "http://example.org/?signature=" + "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))


@pytest.mark.parametrize("uri", [LONG_URI, "file:///文档/🎧?'; DROP TABLE samples"], ids=["long", "odd"])
def test_sample_with_an_odd_uri_is_found_by_it(sql_index: Index, uri: str) -> None:
    entry = replace(ENTRY, uri=uri)
    sql_index.record_samples([entry])

    assert sql_index.find_samples(uris=[uri]) == [entry]


def test_uri_with_nul_does_not_fail_its_batch(sql_index: Index) -> None:
    sql_index.record_samples([replace(ENTRY, uri="http://a\0b"), replace(ENTRY, sample_id="other")])

    found = sql_index.find_samples(sample_ids=[ENTRY.sample_id, "other"])
    assert [entry.uri for entry in found] == ["http://example.org/a", "http://a\ufffdb"]


def test_reader_does_not_wait_for_a_writer(sql_index: Index, index_url: str) -> None:
    sql_index.record_samples([ENTRY])
    engine = sa.create_engine(index_url)
    with engine.connect() as writer:
        if engine.dialect.name == "sqlite":
            writer.exec_driver_sql("BEGIN IMMEDIATE")
        writer.exec_driver_sql("UPDATE samples SET outcome = 'half done'")

        # A wait would end after a minute.
        sql_index.ping()
        assert sql_index.find_samples(sample_ids=[ENTRY.sample_id]) == [ENTRY]
        writer.rollback()
    engine.dispose()


def test_contents_survive_a_new_connection(index_url: str) -> None:
    first = SqlIndex(index_url)
    first.claim("news", "text", [("d", "s1")])
    first.close()

    second = SqlIndex(index_url)
    assert second.claim("news", "text", [("d", "s2")]) == ["s1"]
    second.close()


def test_database_that_is_gone_is_unavailable_and_hides_the_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg2://ummp:secret@/ummp?host={tmp_path}"

    with pytest.raises(IndexUnavailable, match=r"postgresql\+psycopg2://ummp:\*\*\*@") as caught:
        SqlIndex(url)
    assert "secret" not in str(caught.value)
    assert "UMMP_INDEX" in str(caught.value)


def test_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(IndexUnavailable, match=r"file/folder/index\.db"):
        SqlIndex(f"sqlite:///{tmp_path}/file/folder/index.db")


@pytest.mark.parametrize(
    "url", ["mysql://ummp:secret@host/ummp", "no url at all: secret", "postgresql+nosuchdriver://ummp:secret@host/ummp"]
)
def test_unusable_url_names_the_setting_and_hides_the_password(url: str) -> None:
    with pytest.raises(InvalidSettings, match="UMMP_INDEX") as caught:
        SqlIndex(url)
    assert "secret" not in str(caught.value)
