"""`clean_audio` turns a batch's raw recordings into mono waveforms, and every other one into a rejection."""

import io
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import soundfile

from ummp_assets.clean.audio_stage import RULES, clean_audio
from ummp_assets.records import AUDIO_SCHEMA
from ummp_assets.settings import AudioSettings, CleanSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.clean.samples import sound


def audio_row(offset: int, content: bytes, **fields: object) -> dict[str, object]:
    return raw_row(offset, content, modality="audio", **fields)


def wav(samples: npt.NDArray[np.float64], rate_hz: int = 16_000, subtype: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype=subtype)
    return file.getvalue()


def tone(seconds: float, rate_hz: int = 16_000, frequency_hz: float = 440.0) -> npt.NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)


def rows_of(store: ObjectStore, manifest: Manifest, table: str) -> pa.Table:
    return pa.Table.from_batches(list(read_table(store, manifest, table))).combine_chunks()


def test_each_recording_becomes_a_waveform_or_a_rejection(store: ObjectStore, index: Index, settings: Settings) -> None:
    house = sound("house_lo.ogg")
    put_downloads(
        store,
        [
            audio_row(0, house, label='"house"'),
            raw_row(1, b"words"),
            audio_row(2, sound("house_lo.mp3")),
            audio_row(3, b"no sound at all"),
            audio_row(4, sound("metadata.mp3")),
            audio_row(5, house),
            audio_row(6, wav(tone(0.01))),
            audio_row(7, wav(np.array([0.1, np.nan] * 8_000))),
            audio_row(8, sound("boom.wav")),
        ],
    )
    manifest = clean_audio(store, index, settings, BATCH)
    clean = rows_of(store, manifest, "samples")
    assert clean.schema == AUDIO_SCHEMA
    assert [sample.split("~")[2] for sample in clean["sample_id"].to_pylist()] == ["0", "2", "8"]
    assert clean["label"].to_pylist() == ['"house"', None, None]
    assert clean["format"].to_pylist() == ["ogg", "mp3", "wav"]
    assert clean["sample_rate_hz"].to_pylist() == [16_000] * 3
    assert clean["source_sample_rate_hz"].to_pylist() == [11_025] * 3
    assert clean["source_channels"].to_pylist() == [1] * 3
    assert np.allclose(clean["seconds"].to_numpy(), [7.1, 7.26, 1.127], atol=0.01)
    outcomes = {row["sample_id"].split("~")[2]: row for row in rows_of(store, manifest, "outcomes").to_pylist()}
    assert {sample: (row["outcome"], row["reason"], row["measured"]) for sample, row in outcomes.items()} == {
        "3": ("dead", "unsupported_audio", None),
        "4": ("dead", "corrupt_audio", None),
        "5": ("duplicate", "exact_duplicate", None),
        "6": ("filtered", "audio_too_short", 0.01),
        "7": ("dead", "corrupt_audio", None),
    }
    assert manifest.numbers["samples_in"] == 8
    assert manifest.rules == RULES


def test_a_tone_keeps_its_pitch_and_level_when_the_rate_changes(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    put_downloads(store, [audio_row(0, wav(tone(1.0, 44_100), 44_100, "PCM_16"))])
    row = rows_of(store, clean_audio(store, index, settings, BATCH), "samples").to_pylist()[0]
    waveform = np.array(row["waveform"])
    assert len(waveform) == 16_000
    assert np.abs(waveform[200:-200] - tone(1.0)[200:-200]).max() < 1e-3


def test_channels_are_averaged(store: ObjectStore, index: Index, settings: Settings) -> None:
    left, right = tone(0.5), tone(0.5, frequency_hz=880.0)
    put_downloads(store, [audio_row(0, wav(np.stack([left, right], axis=1)))])
    row = rows_of(store, clean_audio(store, index, settings, BATCH), "samples").to_pylist()[0]
    assert row["source_channels"] == 2
    np.testing.assert_allclose(row["waveform"], (left + right) / 2, atol=1e-6)


def test_eight_channels_are_read(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [audio_row(0, wav(np.stack([tone(0.5)] * 8, axis=1)))])
    row = rows_of(store, clean_audio(store, index, settings, BATCH), "samples").to_pylist()[0]
    assert row["source_channels"] == 8
    np.testing.assert_allclose(row["waveform"], tone(0.5), atol=1e-6)


def test_a_repeated_batch_gives_the_same_manifest(store: ObjectStore, index: Index, settings: Settings) -> None:
    names = ["house_lo.ogg", "boom.wav", "punch.wav", "boom.wav", "metadata.mp3", "house_lo.mp3"]
    put_downloads(store, [audio_row(number, sound(name)) for number, name in enumerate(names)])
    first = clean_audio(store, index, settings, BATCH)
    assert first.numbers["samples_out"] == 4
    assert clean_audio(store, index, settings, BATCH).to_json() == first.to_json()


def test_long_recordings_are_filtered_with_their_length(store: ObjectStore, index: Index, settings: Settings) -> None:
    short = settings.model_copy(update={"clean": CleanSettings(audio=AudioSettings(max_seconds=2.0))})
    put_downloads(store, [audio_row(0, wav(tone(3.0))), audio_row(1, wav(tone(1.5)))])
    manifest = clean_audio(store, index, short, BATCH)
    outcome = rows_of(store, manifest, "outcomes").to_pylist()[0]
    assert (outcome["reason"], outcome["measured"]) == ("audio_too_long", 3.0)
    assert manifest.rows("samples") == 1


def test_large_files_are_filtered_before_they_are_read(store: ObjectStore, index: Index, settings: Settings) -> None:
    small = settings.model_copy(update={"clean": CleanSettings(audio=AudioSettings(max_bytes=1_000))})
    row = audio_row(0, b"", blob="blobs/never-written", byte_count=1_001)
    put_downloads(store, [row | {"content": None}])
    outcome = rows_of(store, clean_audio(store, index, small, BATCH), "outcomes").to_pylist()[0]
    assert (outcome["reason"], outcome["measured"]) == ("audio_bytes_over_limit", 1_001.0)


class _WatchedStore(LocalStore):
    """Knows how many blobs were being read at once, at most."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._lock = threading.Lock()
        self._reading = self.most_at_once = 0

    def read(self, path: str) -> bytes:
        if not path.startswith("blobs/"):
            return super().read(path)
        with self._lock:
            self._reading += 1
            self.most_at_once = max(self.most_at_once, self._reading)
        # Long enough for another thread to come.
        time.sleep(0.1)
        with self._lock:
            self._reading -= 1
        return super().read(path)


def test_large_files_are_read_in_turn(tmp_path: Path, index: Index, settings: Settings) -> None:
    store = _WatchedStore(tmp_path / "store")
    rows = []
    for number in range(4):
        store.write(f"blobs/{number}", wav(tone(0.5, frequency_hz=300 + number)))
        rows.append(audio_row(number, b"", blob=f"blobs/{number}", byte_count=200_000_000) | {"content": None})
    put_downloads(store, rows)
    assert clean_audio(store, index, settings, BATCH).rows("samples") == 4
    assert store.most_at_once == 1
