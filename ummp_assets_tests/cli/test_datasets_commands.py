"""`ummp datasets` diff, export, rebuild and the upkeep, on a store whose rows were cleaned from their raw bytes."""

import json
import os
import shutil
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ummp_assets.datasets.labels import apply_labels
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.versions import read_shards, read_version, version_path
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets_tests.clean.downloads import raw_row
from ummp_assets_tests.cli.conftest import Ummp
from ummp_assets_tests.datasets.test_labels import label, put_labels
from ummp_assets_tests.datasets.test_promotion import TOPIC, commit_rows, document
from ummp_assets_tests.datasets.test_takedown import NOW, put_takedowns


@pytest.fixture(scope="module")
def home_with_docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose dataset `docs` has three versions: of a batch, of another, of a label."""
    settings = load_settings(home=tmp_path_factory.mktemp("docs") / "home", store_fsync=False)
    store, index = open_store(settings), open_index(settings)
    commit_rows(store, index, settings, 1, [raw_row(number, document(number)) for number in range(4)], 0)
    commit_rows(store, index, settings, 2, [raw_row(number, document(number)) for number in range(10, 12)], 10)
    apply_labels(store, index, settings, put_labels(store, 1, [label("docs", "sample_id", f"{TOPIC}~0~1", '"good"')]))
    index.close()
    return settings.home_path


@pytest.fixture
def docs(home_with_docs: Path, settings: Settings) -> ObjectStore:
    """A copy of it for one test: to be named before `index`, which opens what is copied."""
    shutil.copytree(home_with_docs, settings.home_path)
    return open_store(settings)


def test_diff_says_what_changed_and_why(ummp: Ummp, docs: ObjectStore, index: Index, settings: Settings) -> None:
    apply_takedowns(docs, index, settings, put_takedowns(docs, 1, [("sample_id", f"{TOPIC}~0~2")]), now=NOW)
    found = ummp.here("datasets", "diff", "docs", "1", "4", "--json").document
    assert [(item["sample_id"][-3:], item["kind"], item["cause"], item["reason"]) for item in found["differences"]] == [
        ("0~1", "relabelled", "labels", None),
        ("~10", "added", "batch", None),
        ("~11", "added", "batch", None),
        ("0~2", "removed", "takedown", "asked by the author"),
    ]
    text = ummp.here("datasets", "diff", "docs", "1", "4").out
    assert "docs v1 to v4: 2 added, 1 removed, 1 relabelled" in text
    assert "takedown ummp.takedowns~00000001: asked by the author" in text
    assert f'relabelled {TOPIC}~0~1: None -> "good"' in text


def test_diff_over_purged_shards_knows_what_a_takedown_took(
    ummp: Ummp, docs: ObjectStore, index: Index, settings: Settings
) -> None:
    apply_takedowns(docs, index, settings, put_takedowns(docs, 1, [("sample_id", f"{TOPIC}~0~2")]), now=NOW)
    assert len(ummp.here("datasets", "purge", "--json").document) > 0
    found = ummp.here("datasets", "diff", "docs", "3", "4", "--json").document
    assert [(item["sample_id"], item["kind"]) for item in found["differences"]] == [(f"{TOPIC}~0~2", "removed")]


def test_rebuild_gives_the_same_version_and_names_what_other_settings_change(ummp: Ummp, docs: ObjectStore) -> None:
    rebuilt = ummp.here("datasets", "rebuild", "docs", "--json")
    assert (rebuilt.code, rebuilt.document["identical"], rebuilt.document["version"]) == (0, True, 3)
    other = ummp.here("datasets", "rebuild", "docs", "--version", "1", UMMP_CLEAN__TEXT__MIN_CHARACTERS="1000000")
    assert other.code == 1
    assert "docs v1 would be another one now" in other.out
    assert f"removed {TOPIC}~0~0" in other.out
    split = ummp.here("datasets", "rebuild", "docs", "--version", "1", UMMP_DATASETS__VALIDATION_FRACTION="0.9")
    assert "split was 1 seed=ummp validation=0.05 test=0.05, is 1 seed=ummp validation=0.9" in split.out


def test_rebuild_repairs_shards_that_are_missing_or_damaged(ummp: Ummp, docs: ObjectStore) -> None:
    shards = sorted(shard.path for shard in read_shards(docs, read_version(docs, "docs")))
    whole = {path: docs.read(path) for path in shards}
    docs.delete(shards[0])
    docs.write(shards[1], whole[shards[1]][:-2])
    reading = ummp.here("trace", "docs@3", "--messages")
    assert reading.code == 1
    assert any(f"{path} is missing or damaged" in reading.err for path in shards[:2])
    assert "`ummp datasets rebuild docs --repair`" in reading.err

    named = ummp.here("datasets", "rebuild", "docs", "--json")
    assert (named.code, sorted(named.document["damaged"])) == (1, shards[:2])
    mended = ummp.here("datasets", "rebuild", "docs", "--repair", "--json")
    assert (mended.code, sorted(mended.document["repaired"])) == (0, shards[:2])
    assert {path: docs.read(path) for path in shards} == whole


@pytest.mark.parametrize("format_name", ["parquet", "webdataset", "mds", "jsonl", "croissant"])
def test_export_writes_every_row_once(ummp: Ummp, docs: ObjectStore, tmp_path: Path, format_name: str) -> None:
    folder = tmp_path / "out" / format_name
    licence = ("--license", "https://example.org/licence") if format_name == "croissant" else ()
    answer = ummp.here("datasets", "export", "docs", "--format", format_name, "--to", str(folder), *licence, "--json")
    assert answer.code == 0, answer.err
    assert answer.document["rows"] == 6
    files = [Path(name) for name in answer.document["files"]]
    assert sorted(files) == sorted(path for path in folder.rglob("*") if path.is_file())
    if format_name in ("parquet", "croissant"):
        assert sum(pq.read_metadata(path).num_rows for path in files if path.suffix == ".parquet") == 6
    if format_name == "croissant":
        described = json.loads((folder / "croissant.json").read_text())
        assert len(described["distribution"]) == len(files) - 1
    if format_name == "jsonl":
        assert sum(len(path.read_text().splitlines()) for path in files) == 6
    assert list(folder.parent.iterdir()) == [folder]


def test_export_of_one_split_of_an_older_version(ummp: Ummp, docs: ObjectStore, tmp_path: Path) -> None:
    arguments = ("datasets", "export", "docs", "--format", "jsonl", "--version", "1", "--split", "train")
    document = ummp.here(*arguments, "--to", str(tmp_path / "v1"), "--json").document
    assert (document["version"], [Path(name).name for name in document["files"]]) == (1, ["train.jsonl"])
    assert f"docs v1: {document['rows']} rows" in ummp.here(*arguments, "--to", str(tmp_path / "again")).out


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("diff", "docs", "2", "1"), 2, "name the older one first"),
        (("diff", "docs", "1", "9"), 1, "docs has no version 9: its versions are 1 to 3"),
        (("diff", "docs", "1"), 2, "Missing argument 'M'"),
        (("rebuild", "docs", "--version", "9"), 1, "docs has no version 9"),
        (("rebuild", "nothing"), 1, "there is no dataset nothing"),
        (("export", "docs", "--format", "csv", "--to", "x"), 2, "'csv' is not one of"),
        (("export", "docs", "--format", "croissant", "--to", "x"), 2, "croissant needs --license"),
        (("export", "docs", "--format", "jsonl", "--to", "x", "--modality", "image"), 2, "has no image samples"),
        (("scrub", "--repair"), 2, "no replica is known: name its root with --replica, or set UMMP_REPLICA"),
        (("replicate",), 2, "no replica is known"),
        (("compact", "nothing"), 1, "there is no dataset nothing"),
    ],
)
def test_wrong_use_is_told_what_is_right(
    ummp: Ummp, docs: ObjectStore, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    answer = ummp.here("datasets", *arguments)
    assert answer.code == code
    assert complaint in answer.err


def test_export_into_a_folder_with_something_in_it_is_refused(ummp: Ummp, docs: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("here before")
    answer = ummp.here("datasets", "export", "docs", "--format", "jsonl", "--to", str(tmp_path))
    assert answer.code == 2
    assert "exists and is not empty: name a new folder" in answer.err
    assert (tmp_path / "kept.txt").read_text() == "here before"


def test_export_into_the_empty_folder_where_one_stands(
    ummp: Ummp, docs: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    inode = folder.stat().st_ino
    monkeypatch.chdir(folder)
    answer = ummp.here("datasets", "export", "docs", "--format", "mds", "--to", ".", "--json")
    assert answer.code == 0, answer.err
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert sorted(answer.document["files"]) == written
    assert folder.stat().st_ino == inode
    assert list(tmp_path.glob(".*")) == list(folder.glob(".*")) == []


def test_export_of_a_damaged_version_leaves_no_folder(ummp: Ummp, docs: ObjectStore, tmp_path: Path) -> None:
    shard = next(read_shards(docs, read_version(docs, "docs")))
    docs.write(shard.path, docs.read(shard.path)[:-1])
    target = tmp_path / "out" / "docs"
    answer = ummp.here("datasets", "export", "docs", "--format", "jsonl", "--to", str(target))
    assert (answer.code, list(target.parent.iterdir())) == (1, [])
    assert shard.path in answer.err


def test_a_withdrawn_version_is_neither_exported_nor_rebuilt(
    ummp: Ummp, docs: ObjectStore, index: Index, settings: Settings, tmp_path: Path
) -> None:
    apply_takedowns(docs, index, settings, put_takedowns(docs, 1, [("sample_id", f"{TOPIC}~0~2")]), now=NOW)
    shown = ummp.here("datasets", "show", "docs", "--version", "3")
    assert "withdrawn by the takedown ummp.takedowns~00000001" in shown.out
    assert ummp.here("datasets", "show", "docs", "--json").document["withdrawn_by"] is None
    for arguments in (("export", "docs", "--format", "jsonl", "--to", str(tmp_path / "x")), ("rebuild", "docs")):
        answer = ummp.here("datasets", *arguments, "--version", "3")
        assert answer.code in (1, 2)
        assert "version 3 of docs was withdrawn" in answer.err


def test_a_manifest_of_a_newer_format_asks_for_an_upgrade(ummp: Ummp, docs: ObjectStore) -> None:
    path = version_path("docs", 3)
    document = json.loads(docs.read(path))
    docs.write(path, json.dumps({**document, "format": 2}).encode())
    answer = ummp.here("datasets", "show", "docs")
    assert answer.code == 1
    assert f"{docs.uri(path)} has format 2, this UMMP reads up to 1: upgrade it" in answer.err


def test_compact_merges_small_shards_once(ummp: Ummp, docs: ObjectStore) -> None:
    before = read_version(docs, "docs")
    (made,) = ummp.here("datasets", "compact", "--json").document
    after = read_version(docs, "docs")
    assert (made["name"], made["version"], after.rows) == ("docs", 4, before.rows)
    assert len(after.shards) < len(before.shards)
    assert ummp.here("datasets", "compact", "docs").out == "Nothing to merge.\n"


def test_collect_deletes_old_garbage_and_leaves_young(ummp: Ummp, docs: ObjectStore) -> None:
    old, young = (f"datasets/docs/shards/{name}.parquet" for name in ("old", "young"))
    for path in (old, young):
        docs.write(path, b"left by a killed run")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(docs.uri(old), (two_days_ago, two_days_ago))
    assert ummp.here("datasets", "collect", "--dry-run", "--json").document == [old]
    assert docs.exists(old)
    older = {"UMMP_DATASETS__GARBAGE_AGE_HOURS": "72"}
    assert ummp.here("datasets", "collect", "--json", **older).document == []
    assert ummp.here("datasets", "collect").out == f"{old}\n1 files deleted\n"
    assert (docs.exists(old), docs.exists(young)) == (False, True)


def test_scrub_repairs_from_the_replica(ummp: Ummp, docs: ObjectStore, tmp_path: Path) -> None:
    replica = {"UMMP_REPLICA": str(tmp_path / "replica")}
    assert "objects copied to" in ummp.here("datasets", "replicate", **replica).out
    assert ummp.here("datasets", "replicate", "--json", **replica).document["copied"] == []
    shard = next(read_shards(docs, read_version(docs, "docs")))
    docs.delete(shard.path)
    broken = ummp.here("datasets", "scrub")
    assert (broken.code, broken.out.splitlines()) == (
        1,
        [f"{shard.path}: missing", "1 files damaged, 0 repaired"],
    )
    assert "`ummp datasets scrub --repair`" in broken.err
    mended = ummp.here("datasets", "scrub", "--repair", "--json", **replica)
    assert (mended.code, mended.document) == (0, [{"path": shard.path, "problem": "missing", "repaired": True}])
    assert ummp.here("datasets", "scrub").out == "0 files damaged, 0 repaired\n"


def test_a_replica_inside_the_store_is_refused(ummp: Ummp, docs: ObjectStore) -> None:
    answer = ummp.here("datasets", "replicate", "--replica", docs.uri("replica"))
    assert answer.code == 2
    assert "lies in the store" in answer.err
