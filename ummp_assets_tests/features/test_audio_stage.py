"""`audio_features` gives each clean recording its log-mel spectrogram, in order."""

import numpy as np
import pyarrow as pa

from ummp_assets.clean.audio_stage import clean_audio
from ummp_assets.features.audio_log_mel import log_mel_spectrogram
from ummp_assets.features.audio_stage import RULES, audio_features
from ummp_assets.records import AUDIO_FEATURE_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import read_table
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.clean.samples import sound_paths


def put_sounds(store: ObjectStore) -> None:
    put_downloads(
        store, [raw_row(number, path.read_bytes(), modality="audio") for number, path in enumerate(sound_paths())]
    )


def test_spectrograms_are_those_of_the_stored_waveforms(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_sounds(store)
    clean = clean_audio(store, index, settings, BATCH)
    manifest = audio_features(store, settings, BATCH)
    recordings = pa.Table.from_batches(read_table(store, clean, "samples")).to_pylist()
    table = pa.Table.from_batches(read_table(store, manifest, "samples"))
    assert table.schema == AUDIO_FEATURE_SCHEMA
    features = table.to_pylist()
    assert len(features) == 8
    for recording, feature in zip(recordings, features, strict=True):
        assert feature["sample_id"] == recording["sample_id"]
        assert feature["frames"] == len(recording["waveform"]) // 160
        spectrogram = np.array(feature["log_mel"], np.float32).reshape(feature["mel_bins"], feature["frames"])
        expected = log_mel_spectrogram(np.array(recording["waveform"], np.float32), 16_000)
        np.testing.assert_array_equal(spectrogram, expected)
    assert manifest.inputs == {"clean_audio": clean.sha256}
    assert manifest.rules == RULES


def test_a_repeated_batch_gives_the_same_manifest(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_sounds(store)
    clean_audio(store, index, settings, BATCH)
    first = audio_features(store, settings, BATCH)
    assert audio_features(store, settings, BATCH).to_json() == first.to_json()
