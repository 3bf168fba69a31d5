"""Fixtures that every part shares: an own home, store and index for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", kafka_timeout_seconds=5.0, store_fsync=False)


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return open_store(settings)


@pytest.fixture
def index(settings: Settings) -> Iterator[Index]:
    index = open_index(settings)
    yield index
    index.close()
