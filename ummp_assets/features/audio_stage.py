"""Stage `audio_features`: the log-mel spectrogram of each clean recording."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.features.audio_log_mel import log_mel_spectrogram
from ummp_assets.parallel.cores import available_cores
from ummp_assets.parallel.opencv_threads import one_opencv_thread
from ummp_assets.parallel.ordered_map import map_in_order
from ummp_assets.records import AUDIO_FEATURE_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table

__all__ = ["CODE_VERSION", "RULES", "STAGE", "audio_features"]

STAGE = "audio_features"
CODE_VERSION = "2"
RULES = {"log_mel": "3"}

_READ_BYTES = 8 * 2**20
_MAX_ROWS_PER_READ = 64
_MEMORY_BYTES = 360 * 2**20
# The waveform, and the spectrogram at half its size, twice while its axes change places.
_COPIES = 2.0
_BATCHES_BESIDE_WORKERS = 1


def audio_features(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Compute the features of a batch's clean recordings, in their order, and commit them.

    Returns
    -------
    The manifest; its table `samples` has `AUDIO_FEATURE_SCHEMA`.

    Raises
    ------
    ManifestMissing
        The stage `clean_audio` has not committed the batch.
    """
    clean = read_manifest(store, "clean_audio", batch)
    columns = ["sample_id", "dataset", "waveform", "sample_rate_hz"]
    rows_per_read = _rows_per_read(store, clean, 4 * settings.clean.audio.sample_rate_hz)
    rows = read_table(store, clean, "samples", columns=columns, batch_rows=rows_per_read)
    describe = partial(_describe, settings.clean.audio.mel_bins)
    longest_bytes = int(4 * settings.clean.audio.max_seconds * settings.clean.audio.sample_rate_hz)
    # With the default of ten minutes, four cores are used.
    workers = max(1, min(available_cores(), int(_MEMORY_BYTES // (_COPIES * longest_bytes))))
    with (
        StageWriter(store, STAGE, batch, {"samples": AUDIO_FEATURE_SCHEMA}) as writer,
        ThreadPoolExecutor(workers, thread_name_prefix=STAGE) as executor,
        one_opencv_thread(),
    ):
        for features in map_in_order(describe, rows, executor, workers + _BATCHES_BESIDE_WORKERS):
            writer.write("samples", features)
        count = clean.rows("samples")
        return writer.commit(
            code_version=CODE_VERSION, rules=RULES, inputs=[clean], numbers={"samples_in": count, "samples_out": count}
        )


def _rows_per_read(store: ObjectStore, clean: Manifest, bytes_per_second: int) -> int:
    """Return how many recordings of the batch's average length take some 8 MB.

    Not by the size of the files: hours of a hum are compressed to little.
    """
    lengths = read_table(store, clean, "samples", columns=["seconds"])
    seconds = sum(pc.sum(rows.column("seconds")).as_py() for rows in lengths)
    rows_per_read = _READ_BYTES * clean.rows("samples") // max(1, int(seconds * bytes_per_second))
    return max(1, min(_MAX_ROWS_PER_READ, rows_per_read))


def _describe(mel_bins: int, rows: pa.RecordBatch) -> pa.RecordBatch:
    spectrograms = [
        log_mel_spectrogram(waveform.values.to_numpy(), rate.as_py(), mel_bins)
        for waveform, rate in zip(rows.column("waveform"), rows.column("sample_rate_hz"), strict=True)
    ]
    offsets = np.cumsum([0, *(spectrogram.size for spectrogram in spectrograms)], dtype=np.int32)
    flat = [spectrogram.reshape(-1) for spectrogram in spectrograms]
    # A long recording comes alone: its spectrogram is not copied once more.
    values = flat[0] if len(flat) == 1 else np.concatenate(flat)
    columns = [
        rows.column("sample_id"),
        rows.column("dataset"),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(values)),
        pa.array([spectrogram.shape[1] for spectrogram in spectrograms], pa.int32()),
        pa.array([mel_bins] * len(spectrograms), pa.int32()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=AUDIO_FEATURE_SCHEMA)
