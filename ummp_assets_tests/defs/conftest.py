"""A deployment with topics of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from ummp_assets.defs.deployment import Deployment
from ummp_assets.settings import Settings
from ummp_assets_tests.messages.deployments import make_settings


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    return make_settings(tmp_path, bootstrap_servers)


@pytest.fixture
def deployment(settings: Settings) -> Deployment:
    return Deployment(overrides=settings.model_dump(mode="json", exclude_unset=True))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
