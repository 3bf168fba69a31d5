"""Fixtures that every part shares: one broker for each test process, an own home, store and index for each test."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from ummp_assets.messages.embedded import start_broker
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store

# The tests start some hundred processes; without bytecode files each start takes three times as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


_LONGEST_FIRST = (
    "cli/test_up.py",
    "flow/test_demo.py",
    "flow/test_kill.py",
    "messages/test_groups.py",
    "flow/test_kill_points.py",
    "flow/test_commands.py",
    "messages/test_outbox.py",
    "storage/test_object_store.py",
    "defs/test_sensors.py",
    "clean/test_crash_guard.py",
    "messages/test_transactions.py",
    "flow/test_updates.py",
    "flow/test_flow.py",
    "training/test_parameters_stage.py",
    "messages/test_durability.py",
    "clean/test_image_memory.py",
    "messages/test_process.py",
    "cli/test_submit.py",
    "messages/test_records.py",
    "flow/test_abandonment.py",
    "flow/test_plain_dagster.py",
    "fetch/test_http_faults.py",
    "faults/test_broker.py",
    "clean/test_text_broken.py",
    "clean/test_preview.py",
    "datasets/test_concurrency.py",
    "cli/test_datasets_commands.py",
    "messages/test_planning.py",
    "messages/test_reading.py",
    "training/test_logs.py",
    "messages/test_crash_campaign.py",
    "messages/test_other_clients.py",
)
"""Files of ten seconds or more: begun last, one of them would keep a single worker busy at the end."""

_STORAGE = "ummp_assets_tests/storage/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {str(Path(__file__).parent / name): rank for rank, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(str(item.path), len(ranks)))


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """A file to a worker, and all of `storage/` to one: its S3 server, PostgreSQL and processes are started once."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return _STORAGE if file.startswith(_STORAGE) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return _Scheduling(config, log)


@pytest.fixture(scope="session")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded broker that all tests of this process share."""
    with start_broker(tmp_path_factory.mktemp("broker") / "data", retention_check_seconds=0.5) as broker:
        yield broker.bootstrap_servers


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
