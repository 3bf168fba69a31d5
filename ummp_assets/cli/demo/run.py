"""The demo's run: send the requests, watch them become dataset versions, collect what came out."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from ummp_assets.cli.demo.requests import DemoInput
from ummp_assets.cli.outcomes import STAGES, BatchOutcomes, read_outcomes
from ummp_assets.cli.stack.stack import Stack
from ummp_assets.errors import StackFailed, WaitTimeout
from ummp_assets.messages.clients import broker_errors, make_consumer, make_producer
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch
from ummp_assets.messages.reading import read_watermarks
from ummp_assets.messages.submitting import submit
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import open_store
from ummp_assets.storage.stages import read_manifest, read_table

__all__ = ["DemoOutcome", "Progress", "ReadyEvent", "Sent", "send", "wait_for_outcome"]

Progress = Callable[[tuple[BatchOutcomes, ...]], None]

_POLL_SECONDS = 0.25
_RUN_CHECK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ReadyEvent:
    """A dataset version as its message on the topic of datasets announced it."""

    dataset: str
    version: int
    manifest: str
    rows: int
    time_seconds: float


@dataclass(frozen=True)
class DemoOutcome:
    """What came out.

    Parameters
    ----------
    sent:
        Messages sent, the unreadable ones included.
    ready_seconds:
        From the first message sent to the last ready event, by dataset.
    repeated:
        Whether the home held requests before.
    """

    sent: int
    batches: tuple[BatchOutcomes, ...]
    events: tuple[ReadyEvent, ...]
    ready_seconds: Mapping[str, float]
    repeated: bool


@dataclass(frozen=True)
class Sent:
    """What was sent, and where in the topic it lies.

    Parameters
    ----------
    first_batch:
        Number of the first batch that can hold one of the messages.
    ends:
        Next offset after them, by partition.
    """

    topic: str
    messages: int
    started_seconds: float
    first_batch: int
    ends: Mapping[int, int]


def send(settings: Settings, given: DemoInput, root: str) -> Sent:
    """Send all requests, and the messages that are none.

    Parameters
    ----------
    root:
        URL of the server of the sample content.
    """
    topic = topic_names(settings).requests_normal
    before = OffsetLog(open_store(settings)).last(topic)
    started = time.time()
    submission = submit(given.requests(root), settings=settings)
    if submission.refused:
        raise StackFailed(f"{submission.refused} sample requests were refused: {submission.refusals[0]}")
    with make_producer(settings) as producer, broker_errors(settings):
        unreadable = [producer.send(topic, value=value, key=b"documents") for value in given.unreadable]
        for future in unreadable:
            future.get(settings.kafka_timeout_seconds)
    ends = {partition: marks.high for partition, marks in read_watermarks(settings, topic)[topic].items()}
    return Sent(topic, submission.acknowledged + len(unreadable), started, before.number + 1 if before else 1, ends)


def wait_for_outcome(stack: Stack, sent: Sent, on_progress: Progress, timeout_seconds: float) -> DemoOutcome:
    """Wait until every message has its outcome and every new version its ready event.

    Raises
    ------
    StackFailed
        A process of the stack ended, or a run failed for good.
    WaitTimeout
        It took longer than `timeout_seconds`.
    """
    watch = _Watch(stack, sent, time.monotonic() + timeout_seconds)
    batches = watch.until_committed(on_progress)
    events = watch.until_announced()
    watch.until_idle()
    ready = {event.dataset: event.time_seconds - sent.started_seconds for event in events}
    return DemoOutcome(sent.messages, batches, events, ready, repeated=sent.first_batch > 1)


def _poll(consumer: KafkaConsumer) -> Iterator[ReadyEvent]:
    for records in consumer.poll(timeout_ms=100).values():
        for record in records:
            event: dict[str, Any] = json.loads(record.value)
            yield ReadyEvent(event["dataset"], event["version"], event["uri"], event["rows"], record.timestamp / 1000)


class _Watch:
    """Follows the batches that hold the messages sent."""

    def __init__(self, stack: Stack, sent: Sent, deadline: float) -> None:
        self._stack, self._sent, self._deadline = stack, sent, deadline
        self._store = open_store(stack.settings)
        self._log = OffsetLog(self._store)
        self._next_run_check = 0.0

    def until_committed(self, on_progress: Progress) -> tuple[BatchOutcomes, ...]:
        while True:
            planned = self._planned()
            batches = tuple(read_outcomes(self._store, batch) for batch in planned)
            on_progress(batches)
            if self._hold_everything(planned) and all(batch.committed for batch in batches):
                return batches
            self._pause(batches)

    def until_announced(self) -> tuple[ReadyEvent, ...]:
        wanted = {version for batch in self._planned() for version in self._versions(batch)}
        topic = topic_names(self._stack.settings).datasets
        found: dict[tuple[str, int], ReadyEvent] = {}
        with make_consumer(self._stack.settings) as consumer, broker_errors(self._stack.settings):
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            while not wanted <= found.keys():
                found.update({(event.dataset, event.version): event for event in _poll(consumer)})
                self._pause(())
        return tuple(found[version] for version in sorted(wanted))

    def until_idle(self) -> None:
        """Wait for what the runs still do after the commit: dead letters, checks."""
        while True:
            runs = self._stack.ui.count_runs()
            if not runs["queued"] and not runs["running"]:
                return
            self._pause(())

    def _planned(self) -> list[Batch]:
        last = self._log.last(self._sent.topic)
        numbers = range(self._sent.first_batch, last.number + 1 if last else 0)
        return [self._log.get(f"{self._sent.topic}~{number:08d}") for number in numbers]

    def _hold_everything(self, planned: list[Batch]) -> bool:
        return bool(planned) and all(planned[-1].ends.get(number, 0) >= end for number, end in self._sent.ends.items())

    def _versions(self, batch: Batch) -> Iterator[tuple[str, int]]:
        for rows in read_table(self._store, read_manifest(self._store, STAGES[-1], batch.key), "samples"):
            for row in rows.to_pylist():
                yield row["dataset"], row["version"]

    def _pause(self, batches: tuple[BatchOutcomes, ...]) -> None:
        """Wait a little; raise when there is nothing left to wait for."""
        self._stack.check()
        now = time.monotonic()
        if now > self._deadline:
            states = (
                ", ".join(f"{batch.key} after {len(batch.stages_done)} stages" for batch in batches)
                or "no batch planned"
            )
            raise WaitTimeout(
                f"the demo was not done in time ({states}). {self._stack.ui.url} shows the runs, "
                f"{self._stack.settings.home_path / 'logs'} has the logs."
            )
        if now > self._next_run_check:
            self._next_run_check = now + _RUN_CHECK_SECONDS
            self._check_runs({batch.key for batch in batches if not batch.committed})
        time.sleep(_POLL_SECONDS)

    def _check_runs(self, unfinished: set[str]) -> None:
        lost = [run for run in self._stack.ui.failed_runs() if run.batch in unfinished and not run.will_retry]
        if lost and not self._stack.ui.count_runs()["running"]:
            raise StackFailed(
                f"run {lost[0].run_id} of batch {lost[0].batch} failed: {self._stack.ui.url}/runs/{lost[0].run_id}, "
                f"{self._stack.settings.home_path / 'logs' / 'code-server.log'}"
            )
