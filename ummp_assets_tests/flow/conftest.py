"""A deployment of its own for each test: broker, a site with real content, store, index and Dagster instance."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from ummp_assets.cli.demo.content import Sample, documents, photographs, sounds
from ummp_assets.cli.demo.server import SampleServer, serve
from ummp_assets.messages.embedded import BrokerProcess, start_broker
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import ObjectStore, open_store


@dataclass(frozen=True)
class Place:
    """Where a flow test happens; the environment names the same settings to child processes."""

    home: Path
    settings: Settings
    store: ObjectStore
    environment: dict[str, str]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with start_broker(tmp_path_factory.mktemp("broker")) as process:
        yield process


@pytest.fixture(scope="session")
def site() -> Iterator[SampleServer]:
    pages, pictures, recordings = list(documents())[:4], list(photographs())[:4], list(sounds())[:3]
    copies = [Sample(f"copies/{sample.path}", sample.read) for sample in (pages[0], pictures[0], recordings[0])]
    cut = Sample("cut/picture.png", lambda: pictures[0].read()[:2_000])
    with serve([*pages, *pictures, *recordings, *copies, cut], unsteady=[pages[1].path]) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Place:
    return make_place(tmp_path / "home", broker, monkeypatch, prefix=f"t{abs(hash(tmp_path)) % 10**10}")


def make_place(home: Path, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch, *, prefix: str) -> Place:
    """Make a deployment and set the process's environment to it."""
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True)
    (dagster_home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environment = {
        "UMMP_HOME": str(home),
        "UMMP_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "UMMP_TOPIC_PREFIX": prefix,
        "UMMP_INTAKE__MAX_BATCH_WAIT_SECONDS": "0",
        "UMMP_FETCH__ALLOWED_ADDRESSES": '["127.0.0.1/32"]',
        "DAGSTER_HOME": str(dagster_home),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    return Place(home, settings, open_store(settings), environment)


@pytest.fixture
def instance(place: Place) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance
