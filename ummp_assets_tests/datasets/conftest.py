"""Topics for the tests of ready events, and datasets made of small batches."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import fsspec
import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.versions import DatasetVersion
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.datasets.batches import Sample, put_batch
from ummp_assets_tests.storage.s3_server import s3_environment

Committer = Callable[[Sequence[Sample]], DatasetVersion]


@pytest.fixture
def kafka_settings(settings: Settings, bootstrap_servers: str, tmp_path: Path) -> Settings:
    """Settings with a broker and topics of this test alone."""
    prefix = f"t{abs(hash(tmp_path)) % 10**12}"
    return settings.model_copy(update={"kafka_bootstrap_servers": bootstrap_servers, "topic_prefix": prefix})


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """A store on an S3 server, which the tests of a file share."""
    with s3_environment():
        fsspec.filesystem("s3").mkdir("ummp-datasets")
        yield "s3://ummp-datasets/store"


@pytest.fixture
def commit_samples(store: ObjectStore, index: Index, settings: Settings) -> Committer:
    """Return a function that makes the next batch of samples of one dataset and commits it."""
    state = {"number": 0, "offset": 0}

    def commit(samples: Sequence[Sample]) -> DatasetVersion:
        state["number"] += 1
        batch = put_batch(store, state["number"], samples, start=state["offset"])
        state["offset"] += len(samples)
        write_shards(store, settings, batch)
        (version,) = commit_batch(store, index, settings, batch)
        return version

    return commit
