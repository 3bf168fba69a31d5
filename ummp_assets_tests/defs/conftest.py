"""A broker for all tests of this folder, and a deployment with topics of its own for each."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from ummp_assets.defs.deployment import Deployment
from ummp_assets.messages.embedded import start_broker
from ummp_assets.settings import Settings
from ummp_assets_tests.messages.deployments import make_settings


@pytest.fixture(scope="session")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.bootstrap_servers


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
