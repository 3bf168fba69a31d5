"""A deployment of its own for each test, on a broker of its own, whose parts the test breaks."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from ummp_assets.messages.embedded import start_broker
from ummp_assets.messages.topics import ensure_topics
from ummp_assets.settings import Settings, load_settings
from ummp_assets_tests.faults.runs import Deployed


@pytest.fixture(scope="session")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by the tests of a process: making one takes longer than most of them."""
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return home


@pytest.fixture
def deployed(tmp_path: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    with start_broker(tmp_path / "broker") as broker:
        environment = {
            "DAGSTER_HOME": str(dagster_home),
            "UMMP_HOME": str(tmp_path / "home"),
            "UMMP_STORE": str(tmp_path / "store"),
            "UMMP_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "UMMP_KAFKA_TIMEOUT_SECONDS": "1",
            "UMMP_TOPIC_PARTITIONS": "1",
            "UMMP_TOPIC_PREFIX": f"t{uuid.uuid4().hex[:10]}",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        ensure_topics(settings)
        with dg.DagsterInstance.get() as instance:
            yield Deployed(settings, instance, broker, tmp_path / "broker")


@pytest.fixture
def settings(deployed: Deployed) -> Settings:
    return deployed.settings


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, which a test may fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"STORES ON A FULL DISK ARE NOT TESTED, mounting is not permitted: {mounted.stderr!r}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
