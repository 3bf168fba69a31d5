"""Readers inside PyTorch, torchdata, TensorFlow and Hugging Face `datasets`, each in an environment of its own.

These are gigabytes to install: `UMMP_PEER_TESTS=1` asks for them.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ummp_assets.datasets.reader import open_dataset
from ummp_assets.settings import DatasetSettings, load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.benchmarks.harness import peer_python
from ummp_assets_tests.datasets.batches import SIDE, Sample, put_batch, texts
from ummp_assets_tests.datasets.test_commit import commit

_OURS = ["numpy>=2", "pyarrow>=20,<27", "pydantic>=2.10,<3", "pydantic-settings>=2.7,<3", "fsspec", "isal>=1.7,<2"]
_PEERS = {
    "torch": ["torch>=2.6,<3", "torchdata>=0.11,<1", *_OURS],
    "tensorflow": ["tensorflow>=2.18,<3", *_OURS],
    "datasets": ["datasets>=4", *_OURS],
}
_COUNTS = (9, 1, 13)
_OPEN = """
import json, sys
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.datasets.reading_order import Part
from ummp_assets.settings import load_settings
def opened(kind):
    return open_dataset("uneven", modality=kind, settings=load_settings(home=sys.argv[1]))
def ids(items):
    return [str(name) for item in items for name in item["sample_id"]]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of a dataset of three shards a modality, of 9, 1 and 13 samples."""
    home = tmp_path_factory.mktemp("frameworks")
    settings = load_settings(
        home=home, store_fsync=False, datasets=DatasetSettings(test_fraction=0, validation_fraction=0)
    )
    store, index = open_store(settings), open_index(settings)
    for number, count in enumerate(_COUNTS):
        images = [Sample("uneven", "image", f"picture {number} {item}", f'"{item}"') for item in range(count)]
        sounds = [Sample("uneven", "audio", f"sound {number} {item}") for item in range(count)]
        samples = [*texts("uneven", count, 100 * number), *images, *sounds]
        commit(store, index, settings, put_batch(store, number + 1, samples, start=1_000 * number))
    index.close()
    return home


def _run(peer: str, home: Path, script: str) -> Any:
    """Run a script in a framework's environment and return the JSON that it prints last."""
    if not os.environ.get("UMMP_PEER_TESTS"):
        pytest.skip(f"set UMMP_PEER_TESTS=1 to install {peer} into an environment of its own and read there")
    python = peer_python(peer, _PEERS[peer])
    if python is None:
        pytest.skip(f"{peer} cannot be installed here")
    root = Path(__file__).parents[2]
    # A file, so that loader workers which are spawned can import it.
    file = home / f"{abs(hash(script))}.py"
    body = script.strip().replace("\n", "\n    ")
    file.write_text(f"{_OPEN}\nif __name__ == '__main__':\n    {body}\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [str(python), str(file), str(home)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


def _ids(home: Path, kind: str = "image") -> list[str]:
    dataset = open_dataset("uneven", modality=kind, columns=["sample_id"], settings=load_settings(home=home))
    return sorted(dataset.to_arrow().column("sample_id").to_pylist())


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 3), (1, 40)])
def test_ranks_and_loader_workers_share_the_samples(home: Path, world_size: int, workers: int) -> None:
    script = f"""
from torch.utils.data import DataLoader
seen = []
for rank in range({world_size}):
    part = Part(rank, {world_size})
    data = opened("image").to_torch(3, shuffle_seed=1, part=part)
    items = list(DataLoader(data, batch_size=None, num_workers={workers}))
    seen += ids(items)
print(json.dumps([seen, str(items[0]["image"].dtype), list(items[0]["image"].shape[1:])]))
"""
    seen, dtype, shape = _run("torch", home, script)
    assert sorted(seen) == _ids(home)
    assert (dtype, shape) == ("torch.float32", [3, SIDE, SIDE])


@pytest.mark.parametrize("options", ["", ", persistent_workers=True", ", multiprocessing_context='spawn'"])
def test_set_epoch_reaches_loader_workers(home: Path, options: str) -> None:
    script = f"""
from torch.utils.data import DataLoader
data = opened("image").to_torch(3, shuffle_seed=1)
loader = DataLoader(data, batch_size=None, num_workers=2{options})
epochs = []
for epoch in (0, 1, 0):
    data.set_epoch(epoch)
    epochs.append(ids(loader))
print(json.dumps(epochs))
"""
    first, second, third = _run("torch", home, script)
    assert first == third != second
    assert sorted(first) == sorted(second) == _ids(home)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_stateful_loader_resumes_in_mid_epoch(home: Path, workers: int, kind: str) -> None:
    script = f"""
from torchdata.stateful_dataloader import StatefulDataLoader
from ummp_assets.datasets.model_inputs import InputOptions
def loader():
    data = opened("{kind}").to_torch(2, shuffle_seed=4, options=InputOptions(sequence_tokens=30))
    return StatefulDataLoader(data, batch_size=None, num_workers={workers})
def plain(item):
    return {{name: value if isinstance(value, list) else value.tolist() for name, value in item.items()}}
whole = [plain(item) for item in loader()]
results = []
for done in (0, 1, 5):
    first = loader()
    items = iter(first)
    seen = [plain(next(items)) for _ in range(done)]
    state = first.state_dict()
    second = loader()
    second.load_state_dict(state)
    results.append(seen + [plain(item) for item in second] == whole)
print(json.dumps([len(whole), results]))
"""
    count, results = _run("torch", home, script)
    assert count > 6
    assert results == [True] * 3


def test_tensorflow_gives_every_sample_of_each_modality(home: Path) -> None:
    script = """
found = {}
for kind in ("image", "audio"):
    data = opened(kind).to_tf(4, shuffle_seed=2)
    list(data.take(1))
    items = list(data.prefetch(2).as_numpy_iterator())
    array = items[0]["image" if kind == "image" else "log_mel"]
    names = [name.decode() for item in items for name in item["sample_id"]]
    labels = sorted({label.decode() for item in items for label in item["label"]})
    found[kind] = [sorted(names), str(array.dtype), list(array.shape), labels]
packed = next(iter(opened("text").to_tf(4)))
found["text"] = [list(packed["token_ids"].shape), packed["token_ids"].dtype.name]
print(json.dumps(found))
"""
    found = _run("tensorflow", home, script)
    assert found["image"] == [_ids(home), "float32", [4, 3, SIDE, SIDE], sorted(f'"{item}"' for item in range(13))]
    assert found["audio"] == [_ids(home, "audio"), "float32", [4, 2, 3], ["null"]]
    assert found["text"] == [[1, 1_024], "int64"]


def test_huggingface_datasets_divides_the_samples(home: Path) -> None:
    script = """
from datasets.distributed import split_dataset_by_node
data = opened("image").to_hf()
nodes = [[row["sample_id"] for row in split_dataset_by_node(data, rank, 3)] for rank in range(3)]
shuffled = [row["sample_id"] for row in data.shuffle(seed=1, buffer_size=5)]
row = next(iter(data))
print(json.dumps([data.n_shards, nodes, shuffled, list(row["image"].shape), row["label"]]))
"""
    shards, nodes, shuffled, shape, label = _run("datasets", home, script)
    assert shards == 3
    assert all(nodes)
    assert sorted(name for node in nodes for name in node) == sorted(shuffled) == _ids(home)
    assert (shape, label) == ([SIDE, SIDE, 3], '"0"')
