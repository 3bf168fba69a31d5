"""Logging from a training process: nothing waits, nothing is lost at the end, wrong values are named."""

import json
import logging
import math
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ummp_assets.errors import InvalidInput, InvalidSettings
from ummp_assets.messages.embedded import start_broker
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets.training import logs
from ummp_assets.training.logs import TrainingLogger, log_metrics
from ummp_assets_tests.training.conftest import read_topic


def _read_logs(settings: Settings) -> list[dict[str, Any]]:
    """Return every message of the topic of training logs."""
    records = read_topic(settings, topic_names(settings).training_logs)
    return [{**json.loads(record.value), "key": record.key.decode()} for record in records]


def _environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "UMMP_HOME": str(settings.home),
        "UMMP_KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "UMMP_TOPIC_PREFIX": settings.topic_prefix,
    }


def test_messages_arrive_in_order_with_every_field(settings: Settings) -> None:
    before = time.time()
    with TrainingLogger("run-1", rank=2, dataset="news", version=3, shard="a-0001", settings=settings) as logger:
        for step in range(300):
            assert logger.log(step, {"loss": 1 / (step + 1)}, resources={"cpu_percent": 50})
        assert logger.log(300, level="warning", message="loss stands still")

    found = _read_logs(settings)

    assert [log["step"] for log in found] == list(range(301))
    assert {log["key"] for log in found} == {"run-1"}
    first, last = found[0], found[-1]
    assert first.items() >= {
        "schema": "ummp.log/1", "run": "run-1", "rank": 2, "dataset": "news", "version": 3, "shard": "a-0001",
        "metrics": {"loss": 1.0}, "resources": {"cpu_percent": 50.0},
    }.items()  # fmt: skip
    assert first["time"].endswith("+00:00")
    assert last.items() >= {"level": "warning", "message": "loss stands still", "metrics": {}}.items()
    assert before - 1 < time.time() < before + 60


def test_numbers_of_numpy_and_those_that_json_lacks_are_kept(settings: Settings) -> None:
    with TrainingLogger("run", settings=settings) as logger:
        numbers: dict[str, Any] = {"a": np.float32(0.5), "b": np.array(2)}
        logger.log(0, {**numbers, "nan": math.nan, "up": math.inf, "down": -math.inf})

    (log,) = _read_logs(settings)
    assert log["metrics"] == {"a": 0.5, "b": 2.0, "nan": "nan", "up": "inf", "down": "-inf"}


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({"step": -1}, "step"),
        ({"step": "first"}, "step"),
        ({"step": 1, "metrics": {"loss": "high"}}, "loss='high' is no number"),
        ({"step": 1, "metrics": {"loss": None}}, "loss=None is no number"),
        ({"step": 1, "resources": {"gpu": [1, 2]}}, "gpu"),
    ],
)
def test_value_that_cannot_be_logged_is_named(settings: Settings, arguments: dict[str, Any], cause: str) -> None:
    with TrainingLogger("run", settings=settings) as logger, pytest.raises(InvalidInput, match=cause):
        logger.log(**arguments)

    assert _read_logs(settings) == []


def test_invalid_run_is_named_by_the_function_too(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="run"):
        log_metrics("", 1, {"loss": 1.0}, settings=settings)


_SCRIPT = """
from ummp_assets.training.logs import log_metrics
for step in range(2_000):
    assert log_metrics("run", step, {"loss": 1.0}, rank=1)
raise SystemExit(3)
"""


def test_function_flushes_everything_at_the_end_of_a_process_that_fails(settings: Settings) -> None:
    failed = subprocess.run([sys.executable, "-c", _SCRIPT], env=_environment(settings), check=False)

    assert failed.returncode == 3
    found = _read_logs(settings)
    assert [log["step"] for log in found] == list(range(2_000))
    assert found[0]["rank"] == 1


_BURST = """
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import load_settings
from ummp_assets.training.background_sender import BackgroundSender
settings = load_settings()
sender = BackgroundSender(settings, topic_names(settings).training_logs)
sender.send(b"run", b'{"step": 0}')
assert sender.flush(10)
for step in range(1, 9_000):
    assert sender.send(b"run", b'{"step": %d}' % step)
"""


def test_end_of_the_process_comes_before_the_end_of_the_producer(settings: Settings) -> None:
    subprocess.run([sys.executable, "-c", _BURST], env=_environment(settings), check=True)

    assert [log["step"] for log in _read_logs(settings)] == list(range(9_000))


def _log_in_child(settings: Settings) -> None:
    log_metrics("run", 1, {"loss": 1.0}, settings=settings)
    _flush_shared()


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_forked_child_logs_through_a_thread_of_its_own(settings: Settings) -> None:
    log_metrics("run", 0, {"loss": 1.0}, settings=settings)
    child = multiprocessing.get_context("fork").Process(target=_log_in_child, args=(settings,))
    child.start()
    child.join(20)
    log_metrics("run", 2, {"loss": 1.0}, settings=settings)
    _flush_shared()

    assert child.exitcode == 0
    assert sorted(log["step"] for log in _read_logs(settings)) == [0, 1, 2]


def _flush_shared() -> None:
    assert all(sender.flush(10) for sender in logs._shared.values())


def _with_broker_at(settings: Settings, address: str, **training: Any) -> Settings:
    return load_settings(
        home=settings.home, kafka_bootstrap_servers=address, kafka_timeout_seconds=0.5, training=training
    )


def test_broker_that_is_down_delays_no_step_and_ends_in_time(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    # Port 9 of loopback: nobody listens.
    away = _with_broker_at(settings, "127.0.0.1:9", max_queued_logs=50, flush_seconds=0.3)
    logger = TrainingLogger("run", settings=away)

    longest, queued = 0.0, 0
    for step in range(200):
        start = time.perf_counter()
        queued += logger.log(step, {"loss": 1.0})
        longest = max(longest, time.perf_counter() - start)
    assert not logger.flush(0.1)
    start = time.perf_counter()
    with caplog.at_level(logging.ERROR):
        logger.close()

    assert queued == 50
    assert longest < 1
    assert time.perf_counter() - start < 20
    assert "50 log messages were not taken by the broker at 127.0.0.1:9" in caplog.text
    assert not logger.log(200, {"loss": 1.0})


def test_messages_wait_for_a_broker_that_comes_later(settings: Settings, tmp_path: Path) -> None:
    with start_broker(tmp_path / "broker") as broker:
        port = int(broker.bootstrap_servers.rpartition(":")[2])
    later = _with_broker_at(settings, f"127.0.0.1:{port}", flush_seconds=30)

    with TrainingLogger("run", settings=later) as logger:
        for step in range(10):
            logger.log(step, {"loss": 1.0})
        time.sleep(0.7)
        with start_broker(tmp_path / "broker", port=port):
            assert logger.flush(30)
            assert [log["step"] for log in _read_logs(later)] == list(range(10))


def test_broker_that_restarts_loses_and_doubles_nothing(settings: Settings, tmp_path: Path) -> None:
    with start_broker(tmp_path / "broker") as broker:
        port = int(broker.bootstrap_servers.rpartition(":")[2])
        restarting = _with_broker_at(settings, f"127.0.0.1:{port}", flush_seconds=30)
        ensure_topics(restarting)
        logger = TrainingLogger("run", settings=restarting)
        for step in range(500):
            logger.log(step, {"loss": 1.0})
        broker.kill()
    for step in range(500, 1_000):
        logger.log(step, {"loss": 1.0})
    with start_broker(tmp_path / "broker", port=port):
        assert logger.flush(30)
        logger.close()
        assert [log["step"] for log in _read_logs(restarting)] == list(range(1_000))


def test_no_broker_configured_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UMMP_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(InvalidSettings, match="UMMP_KAFKA_BOOTSTRAP_SERVERS"):
        TrainingLogger("run", settings=load_settings(home=tmp_path))


def test_training_api_imports_neither_dagster_nor_pandas() -> None:
    code = """
import sys
import ummp_assets.training.logs, ummp_assets.training.publishing, ummp_assets.training.fetching
print(sorted({"dagster", "pandas", "sqlalchemy", "cv2"} & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "[]"
