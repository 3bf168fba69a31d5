"""`ummp datasets` on a store with real versions."""

from pathlib import Path

import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.versions import read_shards, read_version
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.cli.conftest import Ummp
from ummp_assets_tests.datasets.batches import Sample, put_batch


@pytest.fixture
def pages(store: ObjectStore, index: Index, settings: Settings) -> ObjectStore:
    """A store whose dataset `pages` has two versions, of 3 and of 5 rows."""
    for number, contents in enumerate(("abc", "de"), 1):
        samples = [Sample("pages", "text", f"page {content}") for content in contents]
        batch = put_batch(store, number, samples, start=number * 10)
        write_shards(store, settings, batch)
        commit_batch(store, index, settings, batch)
    return store


def test_list_shows_the_newest_version_of_each_dataset(ummp: Ummp, pages: ObjectStore) -> None:
    (entry,) = ummp.here("datasets", "list", "--json").document
    newest = read_version(pages, "pages")
    assert entry == {
        "name": "pages",
        "version": 2,
        "rows": 5,
        "bytes": newest.byte_count,
        "manifest": pages.uri("datasets/pages/v2/manifest.json"),
        "sha256": newest.sha256,
    }
    table = ummp.here("datasets")
    assert table.code == 0
    assert [cell.strip() for cell in table.out.splitlines()[3].split("│")[1:4]] == ["pages", "2", "5"]


def test_list_of_an_empty_store_is_empty(ummp: Ummp) -> None:
    assert ummp.here("datasets", "list", "--json").document == []
    answer = ummp.here("datasets")
    assert (answer.code, answer.out) == (0, f"No dataset yet in {ummp.home / 'store'}.\n")


def test_show_tells_one_version(ummp: Ummp, pages: ObjectStore) -> None:
    document = ummp.here("datasets", "show", "pages", "--version", "1", "--json").document
    assert (document["version"], document["rows"], document["parent"]) == (1, 3, None)
    text = ummp.here("datasets", "show", "pages").out
    assert "pages v2 (on v1, made by batch)" in text
    assert 'ummp_assets.open_dataset("pages", version=2)' in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("show", "unknown"), "there is no dataset unknown"),
        (("show", "pages", "--version", "3"), "dataset pages has no version 3: its versions are 1 to 2"),
    ],
)
def test_show_names_what_there_is_when_it_does_not_find(
    ummp: Ummp, pages: ObjectStore, arguments: tuple[str, ...], complaint: str
) -> None:
    answer = ummp.here("datasets", *arguments)
    assert answer.code == 1
    assert complaint in answer.err


def test_verify_finds_what_was_changed_cut_or_removed(ummp: Ummp, pages: ObjectStore, settings: Settings) -> None:
    intact = ummp.here("datasets", "verify", "pages", "--json")
    assert (intact.code, intact.document["damages"]) == (0, [])
    shards = list(read_shards(pages, read_version(pages, "pages")))
    files = [Path(settings.store_url) / shard.path for shard in shards]
    content = files[0].read_bytes()
    for damaged, complaint in (
        (content[:-1] + bytes([content[-1] ^ 1]), "has another content"),
        (content[:-1], f"has {len(content) - 1:,} bytes"),
        (None, "is missing"),
    ):
        files[0].unlink() if damaged is None else files[0].write_bytes(damaged)
        answer = ummp.here("datasets", "verify", "pages")
        assert answer.code == 1
        assert complaint in answer.err
        assert "`ummp datasets rebuild pages --version 2 --repair`" in answer.err
        assert f"{len(shards) - 1} of {len(shards)} shards intact" in answer.out
