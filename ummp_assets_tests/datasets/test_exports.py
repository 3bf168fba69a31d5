"""Exports load in the libraries they are for, each in an environment of its own, with every value as it was."""

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ummp_assets.datasets.exports.croissant import describe_export
from ummp_assets.datasets.exports.exporting import export_version
from ummp_assets.datasets.exports.jsonl import export_jsonl
from ummp_assets.datasets.exports.mds import export_mds
from ummp_assets.datasets.exports.parquet import export_parquet
from ummp_assets.datasets.exports.webdataset import export_webdataset, sample_key
from ummp_assets.datasets.reader import Dataset, open_dataset
from ummp_assets.errors import InvalidInput
from ummp_assets.settings import DatasetSettings, load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.benchmarks.harness import peer_python
from ummp_assets_tests.datasets.batches import Sample, digest, pixels, put_batch, texts
from ummp_assets_tests.datasets.test_commit import commit

_PEERS = {
    "webdataset": ["webdataset>=1.0", "numpy>=2"],
    "huggingface": ["datasets>=4", "mlcroissant>=1", "pillow"],
    "mosaicml-streaming": ["mosaicml-streaming>=0.13"],
}
_COUNTS = {"text": 40, "image": 12, "audio": 7}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """One dataset of three modalities, by modality."""
    home = tmp_path_factory.mktemp("exports")
    settings = load_settings(home=home, datasets=DatasetSettings(test_fraction=0, validation_fraction=0))
    store, index = open_store(settings), open_index(settings)
    images = [Sample("mixed", "image", f"picture {number}", f'"{number}"') for number in range(_COUNTS["image"])]
    sounds = [Sample("mixed", "audio", "sound" * (number + 1)) for number in range(_COUNTS["audio"])]
    commit(store, index, settings, put_batch(store, 1, [*texts("mixed", _COUNTS["text"]), *images, *sounds]))
    index.close()
    return {kind: open_dataset("mixed", modality=kind, settings=settings) for kind in _COUNTS}


def load(peer: str, script: str, *arguments: Path | str) -> Any:
    """Run a script in a peer's environment and return the JSON that it prints last."""
    if not os.environ.get("UMMP_PEER_TESTS"):
        pytest.skip(f"set UMMP_PEER_TESTS=1 to install {peer} into an environment of its own and load the export there")
    python = peer_python(peer, _PEERS[peer])
    if python is None:
        pytest.skip(f"{peer} cannot be installed here")
    command = [str(python), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


def image_digests() -> list[str]:
    return sorted(digest(pixels(f"picture {number}").tobytes().hex()) for number in range(_COUNTS["image"]))


_DIGEST = "digest = lambda array: hashlib.sha256(numpy.asarray(array).tobytes().hex().encode()).hexdigest()\n"


def test_webdataset_loads_tars_with_the_same_pictures(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    script = (
        "import glob, hashlib, json, numpy, sys, webdataset\n" + _DIGEST + "tars = sorted(glob.glob(sys.argv[1]))\n"
        "rows = list(webdataset.WebDataset(tars, shardshuffle=False).decode())\n"
        "print(json.dumps([[digest(row['image.npy']), row['json']['label']] for row in rows]))\n"
    )
    files = export_webdataset(datasets["image"], tmp_path, lossless_images="npy", tar_bytes=5_000)
    assert len(files) > 1
    rows = load("webdataset", script, tmp_path / "*.tar")
    assert sorted(row[0] for row in rows) == image_digests()
    assert sorted(row[1] for row in rows) == sorted(f'"{number}"' for number in range(_COUNTS["image"]))


def test_webdataset_loads_texts_and_sounds(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    script = (
        "import glob, json, sys, webdataset\n"
        "rows = list(webdataset.WebDataset(glob.glob(sys.argv[1]), shardshuffle=False).decode())\n"
        "print(json.dumps([[row['__key__'], row.get('txt'), len(row.get('waveform.npy', []))] for row in rows]))\n"
    )
    (tar,) = export_webdataset(datasets["text"], tmp_path / "text")
    rows = load("webdataset", script, tar)
    assert [row[1] for row in rows] == [sample.content for sample in texts("mixed", _COUNTS["text"])]
    (tar,) = export_webdataset(datasets["audio"], tmp_path / "audio")
    lengths = [row[2] for row in load("webdataset", script, tar)]
    assert lengths[3:] == [5 * (number + 1) for number in range(3, _COUNTS["audio"])]


def test_members_whose_names_differ_in_dots_and_slashes_stay_samples_of_their_own() -> None:
    names = ["a.b", "a_b", "a/b", "a%2Fb", "a"]
    keys = [sample_key(f"ummp.requests.normal~0~7~{name}") for name in names]
    assert len(set(keys)) == len(names)
    assert not any({".", "/"} & set(key) for key in keys)


def test_mds_loads_in_streaming(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    script = (
        "import hashlib, json, numpy, sys\nfrom streaming import StreamingDataset\n" + _DIGEST + "found = {}\n"
        "for kind, part in (('text', 'token_ids'), ('image', 'image'), ('audio', 'log_mel')):\n"
        "    rows = list(StreamingDataset(local=sys.argv[1] + '/' + kind, shuffle=False, batch_size=1))\n"
        "    found[kind] = [[row['sample_id'], row['label'], digest(row[part]), row[part].shape] for row in rows]\n"
        "print(json.dumps(found))\n"
    )
    for kind, dataset in datasets.items():
        assert len(export_mds(dataset, tmp_path / kind, shard_bytes=4_000)) >= 2
    found = load("mosaicml-streaming", script, tmp_path)
    for kind, dataset in datasets.items():
        table = dataset.to_arrow()
        assert [row[0] for row in found[kind]] == table.column("sample_id").to_pylist()
        assert [row[1] for row in found[kind]] == table.column("label").to_pylist()
    assert sorted(row[2] for row in found["image"]) == image_digests()
    ids = [np.frombuffer(sample.content.encode(), np.uint8).astype(np.int32) for sample in texts("mixed", 40)]
    assert [row[2] for row in found["text"]] == [digest(item.tobytes().hex()) for item in ids]
    assert {tuple(row[3]) for row in found["audio"]} == {(2, 3)}


def test_parquet_loads_in_huggingface_datasets_as_it_is(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    script = (
        "import hashlib, json, numpy, sys\nfrom datasets import load_dataset\n" + _DIGEST + "found = {}\n"
        "for kind, part in (('text', 'token_ids'), ('image', 'image'), ('audio', 'waveform')):\n"
        "    rows = load_dataset(sys.argv[1] + '/' + kind, split='train', cache_dir=sys.argv[1] + '/cache')\n"
        "    value = digest if kind == 'image' else list\n"
        "    found[kind] = [[row['sample_id'], value(row[part])] for row in rows]\n"
        "print(json.dumps(found))\n"
    )
    for kind, dataset in datasets.items():
        files = export_parquet(dataset, tmp_path / kind, file_bytes=3_000)
        assert [path.name for path in files] == sorted(path.name for path in (tmp_path / kind / "data").iterdir())
    found = load("huggingface", script, tmp_path)
    for kind, dataset in datasets.items():
        assert [row[0] for row in found[kind]] == dataset.to_arrow().column("sample_id").to_pylist()
    assert sorted(row[1] for row in found["image"]) == image_digests()
    for kind, part in (("text", "token_ids"), ("audio", "waveform")):
        assert [row[1] for row in found[kind]] == datasets[kind].to_arrow().column(part).to_pylist()


def test_croissant_is_valid_and_reads_the_records(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    script = (
        "import json, sys, mlcroissant\n"
        "found = mlcroissant.Dataset(jsonld=sys.argv[1])\n"
        "issues = found.metadata.issues.report()\n"
        "rows = list(found.records(record_set=found.metadata.record_sets[0].uuid))\n"
        "print(json.dumps([issues, len(rows), sorted(rows[0])[:2]]))\n"
    )
    files = export_parquet(datasets["text"], tmp_path)
    described = describe_export([(datasets["text"], files)], tmp_path, license_url="https://example.org/licence")
    issues, count, fields = load("huggingface", script, described)
    assert issues == ""
    assert count == _COUNTS["text"]
    assert fields == ["train-00000-of-00001/attributes", "train-00000-of-00001/characters"]


def test_jsonl_holds_every_value(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    (path,) = export_jsonl(datasets["image"], tmp_path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["label"] for row in rows] == [str(number) for number in range(_COUNTS["image"])]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(rows[3]["image"]), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert np.array_equal(picture[:, :, ::-1], pixels("picture 3"))
    (path,) = export_jsonl(datasets["text"], tmp_path)
    row = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert bytes(row["token_ids"]).decode() == row["text"] == "text 0 word word word "


@pytest.mark.parametrize("exists", [False, True])
def test_of_two_exports_into_one_folder_the_first_to_end_stands(
    datasets: dict[str, Dataset], tmp_path: Path, exists: bool
) -> None:
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
    written: list[Path] = []

    def export_meanwhile(_rows: int) -> None:
        if not written:
            written.extend(export_version([datasets["audio"]], "jsonl", folder))

    with pytest.raises(InvalidInput, match="exists and is not empty"):
        export_version([datasets["text"]], "jsonl", folder, on_rows=export_meanwhile)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == written
    assert len(written[0].read_text().splitlines()) == _COUNTS["audio"]
    assert not any(path.name.endswith(".partial") for path in tmp_path.rglob("*"))
