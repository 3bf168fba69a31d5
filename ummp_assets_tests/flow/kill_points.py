"""Runs a batch's stages and kills the process before each thing that they write, one further on at each attempt.

`python -m ummp_assets_tests.flow.kill_points KEY raw|rest [undisturbed]`, under the `UMMP_*` variables of a deployment,
writes how often each stage was killed, as JSON. `raw` are the stages that read Kafka and the network, `rest` all that
follow. Each attempt is a fork, which costs no imports, and ends with SIGKILL by its own hand.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import sqlalchemy as sa

from ummp_assets.clean.audio_stage import clean_audio
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.clean.text.stage import clean_text
from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.events import publish_ready_event
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.versions import list_datasets, read_version
from ummp_assets.features.audio_stage import audio_features
from ummp_assets.features.image_stage import image_features
from ummp_assets.features.text.stage import text_features
from ummp_assets.features.text.tokenizers import load_tokenizer
from ummp_assets.fetch.stage import download
from ummp_assets.messages.dead_letters import send_dead_letters
from ummp_assets.messages.intake import read_requests
from ummp_assets.messages.progress import publish_progress
from ummp_assets.messages.ranges import parse_key
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.accounting import CLEAN_STAGES
from ummp_assets.storage.index import Index, SqlIndex
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore

Stage = Callable[[ObjectStore, Index, Settings, str], object]


class FaultPoints:
    """Counts what is written and kills the process before the n-th."""

    def __init__(self) -> None:
        self._left = 0

    def die_at(self, number: int) -> None:
        """Kill at the n-th point from now on; 0: never."""
        self._left = number

    def passed(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(LocalStore):
    """A store with a fault point before every put and deletion."""

    def __init__(self, root: Path, points: FaultPoints) -> None:
        super().__init__(root)
        self._points = points

    def write(self, path: str, data: bytes) -> None:
        self._points.passed()
        super().write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        self._points.passed()
        return super().create(path, data)

    def upload(self, file: Path, path: str) -> None:
        self._points.passed()
        super().upload(file, path)

    def delete(self, path: str) -> None:
        self._points.passed()
        super().delete(path)


class MortalIndex(SqlIndex):
    """An index with a fault point before every transaction that writes, and one before it is committed."""

    def __init__(self, url: str, points: FaultPoints) -> None:
        self._points = points
        super().__init__(url)

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[sa.Connection]:
        if reading:
            with super().transaction(reading=True) as connection:
                yield connection
            return
        self._points.passed()
        with super().transaction() as connection:
            yield connection
            self._points.passed()


def _publish_events(store: ObjectStore, index: Index, settings: Settings, batch: str) -> None:
    for dataset in list_datasets(store):
        publish_ready_event(settings, store, read_version(store, dataset))


def _send_dead_letters(store: ObjectStore, index: Index, settings: Settings, batch: str) -> None:
    send_dead_letters(store, settings, batch, ["requests", "downloads", *CLEAN_STAGES.values()])


def _publish_progress(store: ObjectStore, index: Index, settings: Settings, batch: str) -> None:
    publish_progress(store, settings, parse_key(batch)[0], "dataset_commits", "dead_letters")


RAW: dict[str, Stage] = {
    "requests": lambda store, _, settings, batch: read_requests(store, settings, batch),
    "downloads": download,
}
REST: dict[str, Stage] = {
    "clean_text": clean_text,
    "clean_images": clean_images,
    "clean_audio": clean_audio,
    "text_features": lambda store, _, settings, batch: text_features(store, settings, batch),
    "image_features": lambda store, _, settings, batch: image_features(store, settings, batch),
    "audio_features": lambda store, _, settings, batch: audio_features(store, settings, batch),
    "training_shards": lambda store, _, settings, batch: write_shards(store, settings, batch),
    "dataset_commits": commit_batch,
    "ready_events": _publish_events,
    "dead_letters": _send_dead_letters,
    "progress": _publish_progress,
}


def _attempt(stage: Stage, settings: Settings, batch: str, die_at: int) -> bool:
    """Run a stage in a fork that dies at a point; return whether it came to its end before."""
    child = os.fork()
    if child == 0:
        try:
            points = FaultPoints()
            store, index = MortalStore(Path(settings.store_url), points), MortalIndex(settings.index_url, points)
            points.die_at(die_at)  # not while the index is opened, which each stage does
            stage(store, index, settings, batch)
        except BaseException:  # noqa: BLE001 - the fork must not go on as its parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"killed at point {die_at - 1}, the stage failed at its next attempt")
    return code == 0


def _forget_marker(settings: Settings, stage: str, batch: str) -> None:
    """Spare later attempts the child processes of `crash_guard`, which tests of its own prove; one has them."""
    (Path(settings.store_url) / "stages" / stage / batch / "unfinished").unlink(missing_ok=True)


def main(batch: str, which: str, *, undisturbed: bool) -> dict[str, int]:
    settings = load_settings()
    # Once, not in each fork: both take longer than the stage. Arrow imports pandas at its first conversion.
    load_tokenizer(settings.clean.text.tokenizer)
    import_module("pandas")
    kills: dict[str, int] = {}
    for name, stage in (RAW if which == "raw" else REST).items():
        attempt = 0 if undisturbed else 1
        while not _attempt(stage, settings, batch, attempt):
            attempt += 1
            if attempt > 2:
                _forget_marker(settings, name, batch)
        kills[name] = max(0, attempt - 1)
    return kills


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2], undisturbed="undisturbed" in sys.argv)))
