"""Settings that let the tests fetch from loopback, and wait little."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ummp_assets.fetch.stage import download
from ummp_assets.settings import FetchSettings, Settings, load_settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.fetch.batches import BATCH, commit_requests, outcomes_of, samples_of

Fetch = Callable[..., tuple[list[dict[str, Any]], list[tuple[str, str]]]]


@pytest.fixture
def fetch_settings() -> FetchSettings:
    return FetchSettings(
        allowed_addresses=("127.0.0.0/8",),
        connect_timeout_seconds=2.0,
        total_timeout_seconds=10.0,
        low_speed_seconds=1,
        max_attempts=3,
        retry_base_seconds=0.02,
        max_retry_seconds=5.0,
        inline_bytes=100_000,
        max_object_bytes=4_000_000,
    )


@pytest.fixture
def settings(tmp_path: Path, fetch_settings: FetchSettings) -> Settings:
    return load_settings(home=tmp_path / "home", fetch=fetch_settings)


@pytest.fixture
def fetch(store: ObjectStore, index: Index, settings: Settings) -> Fetch:
    """Fetch URIs or rows under changed settings; return the samples and the rejections."""

    def run(*rows: str | dict[str, Any], **changes: Any) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
        commit_requests(store, rows)
        own = settings.model_copy(update={"fetch": settings.fetch.model_copy(update=changes)})
        manifest = download(store, index, own, BATCH)
        return samples_of(store, manifest), outcomes_of(store, manifest)

    return run
