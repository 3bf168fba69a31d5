"""A deployment of its own for each test: topics, a site with real content, store, index and Dagster instance."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from ummp_assets.cli.demo.content import Sample, documents, photographs, sounds
from ummp_assets.cli.demo.server import SampleServer, serve
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets_tests.flow.batches import run_batch, send_everything, tick


@dataclass(frozen=True)
class Place:
    """Where a flow test happens; the environment names the same settings to child processes."""

    home: Path
    settings: Settings
    store: ObjectStore
    environment: dict[str, str]


@pytest.fixture(scope="session")
def site() -> Iterator[SampleServer]:
    pages, pictures, recordings = list(documents())[:4], list(photographs())[:4], list(sounds())[:3]
    copies = [Sample(f"copies/{sample.path}", sample.read) for sample in (pages[0], pictures[0], recordings[0])]
    cut = Sample("cut/picture.png", lambda: pictures[0].read()[:2_000])
    with serve([*pages, *pictures, *recordings, *copies, cut], unsteady=[pages[1].path]) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    return make_place(tmp_path / "home", bootstrap_servers, monkeypatch, prefix=f"t{abs(hash(tmp_path)) % 10**10}")


def make_place(home: Path, bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch, *, prefix: str) -> Place:
    """Make a deployment and set the process's environment to it."""
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True)
    (dagster_home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environment = {
        "UMMP_HOME": str(home),
        "UMMP_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "UMMP_TOPIC_PREFIX": prefix,
        "UMMP_INTAKE__MAX_BATCH_WAIT_SECONDS": "0",
        "UMMP_FETCH__ALLOWED_ADDRESSES": '["127.0.0.1/32"]',
        "DAGSTER_HOME": str(dagster_home),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    return Place(home, settings, open_store(settings), environment)


@dataclass(frozen=True)
class Collected:
    """A deployment whose first batch went the whole way.

    Parameters
    ----------
    sent:
        Number of messages.
    planned:
        What the sensor asked for.
    """

    place: Place
    instance: dg.DagsterInstance
    sent: int
    planned: dg.SensorResult
    key: str
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def collected(
    tmp_path_factory: pytest.TempPathFactory, bootstrap_servers: str, site: SampleServer
) -> Iterator[Collected]:
    """Shared by the tests of a file: a batch takes longer than what they look at."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        home = tmp_path_factory.mktemp("collected")
        place = make_place(home, bootstrap_servers, monkeypatch, prefix=f"t{abs(hash(home)) % 10**10}")
        with dg.DagsterInstance.get() as instance:
            sent = send_everything(place.settings, site)
            planned = tick(instance)
            key = f"{topic_names(place.settings).requests_normal}~00000001"
            yield Collected(place, instance, sent, planned, key, run_batch(instance, key))


@pytest.fixture
def instance(place: Place) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance
