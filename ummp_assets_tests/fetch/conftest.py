"""Settings that let the tests fetch from loopback, and wait little."""

from pathlib import Path

import pytest

from ummp_assets.settings import FetchSettings, Settings, load_settings


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
