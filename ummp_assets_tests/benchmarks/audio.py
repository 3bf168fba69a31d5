"""Sound file to log-mel spectrogram, against librosa's load, resampling and melspectrogram on the same files.

    python -m ummp_assets_tests.benchmarks.audio [--quick] [--json]

Ours decodes, judges the levels and computes Whisper's spectrogram on all cores, as the stages do; librosa runs in one
process, as its documentation shows it, and keeps two cores busy with threads of its own. `vs_librosa` is of 16-bit WAV,
by the clock, `vs_librosa_cpu` by processor time; the other formats have ratios of their own, with the format's name at
the end. Rows also give the decoder's time alone, the ratio to librosa if all else took none, and how far the
spectrograms are apart. `--quick` takes WAV only.

In ms of CPU for 20 s of stereo at 44.1 kHz, both of two cores busy:

| | decoder alone | ours | librosa | ratio | highest ratio |
|---|---|---|---|---|---|
| WAV | 0 | 9.7 | 55 | 5.6 | |
| FLAC | 9.1 (dr_flac; libsndfile, which librosa calls, 16) | 19 | 81 | 4.3 | 8.9 |
| Ogg Vorbis | 23 (libsndfile) | 33 | 95 | 2.9 | 4.2 |
| MP3 | 11 (libsndfile) | 20 | 70 | 3.5 | 6.6 |

What is left of ours are soxr with 3.1 ms, the spectrogram with 2.0, to read a WAV file 0.9, to average channels 0.5. A
resampler by overlap-save with OpenCV's transforms took 2.2 instead of 3.1 ms; on two cores it saved nothing by the
clock, and its last bits differ from processor to processor, and with them the hashes that find duplicates and divide
datasets. Which decoders were tried stands in `clean/audio_source.py`.
"""

import io
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import soxr

from ummp_assets.clean.audio_decode import DecodedAudio, decode_audio
from ummp_assets.clean.audio_format import sniff_audio_format
from ummp_assets.clean.audio_source import open_source
from ummp_assets.features.audio_log_mel import log_mel_spectrogram
from ummp_assets.parallel.cores import available_cores
from ummp_assets.parallel.opencv_threads import one_opencv_thread
from ummp_assets.settings import AudioSettings
from ummp_assets_tests.benchmarks.harness import Report, main, notice, peer_python, ratio, take_turns
from ummp_assets_tests.clean.samples import sound

_PEER = ["librosa==0.11.*"]
_FORMATS = ("wav", "flac", "ogg", "mp3")
_RATE_HZ, _SECONDS = 44_100, 20

# The first file pays for compiling and for the tables, outside the measured time.
_PEER_PROGRAM = """
import json, sys, time
import librosa, numpy as np
paths = json.load(open(sys.argv[1]))
def log_mel(path):
    waveform, rate = librosa.load(path, sr=16_000)
    mel = librosa.feature.melspectrogram(y=waveform, sr=rate, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect")
    return np.log10(np.maximum(mel[:, :-1], 1e-10))
log_mel(paths[0])
began, used = time.perf_counter(), time.process_time()
spectrograms = [log_mel(path) for path in paths]
seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - used
np.save(sys.argv[2], (np.maximum(spectrograms[0], spectrograms[0].max() - 8) + 4) / 4)
json.dump({"seconds": seconds, "cpu_seconds": cpu_seconds}, open(sys.argv[3], "w"))
"""


def write_recordings(folder: Path, count: int, formats: tuple[str, ...]) -> dict[str, list[Path]]:
    """Write stereo recordings of 20 s, cut from real ones at other places each time, in each of the formats."""
    real = [soundfile.read(io.BytesIO(sound(name)), dtype="float32")[0] for name in ("house_lo.wav", "secosmic_lo.wav")]
    music = soxr.resample(np.concatenate(real * 4), 11_025, _RATE_HZ) * np.float32(0.6)
    paths: dict[str, list[Path]] = {name: [] for name in formats}
    for number in range(count):
        start = number * 4_410
        left = music[start : start + _SECONDS * _RATE_HZ]
        stereo = np.stack([left, np.roll(left, 441)], axis=1)
        for name in formats:
            paths[name].append(folder / f"{number}.{name}")
            soundfile.write(paths[name][-1], stereo, _RATE_HZ, format=name.upper())
    return paths


def spectrogram_of(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rules = AudioSettings()
    audio = decode_audio(path.read_bytes(), rules)
    assert isinstance(audio, DecodedAudio), audio
    return log_mel_spectrogram(audio.waveform, rules.sample_rate_hz, rules.mel_bins)


def measure_here(paths: list[Path]) -> tuple[float, float]:
    """Return seconds and CPU seconds."""
    began, used = time.perf_counter(), time.process_time()
    with one_opencv_thread(), ThreadPoolExecutor(available_cores()) as executor:
        for _ in executor.map(spectrogram_of, paths):
            pass
    return time.perf_counter() - began, time.process_time() - used


def measure_peer(python: Path, paths: list[Path], folder: Path) -> tuple[float, float]:
    """Return the same of librosa; its first spectrogram is left in `peer.npy`."""
    (folder / "paths.json").write_text(json.dumps([str(path) for path in paths]), encoding="utf-8")
    arguments = [folder / name for name in ("paths.json", "peer.npy", "seconds.json")]
    subprocess.run([python, "-c", _PEER_PROGRAM, *arguments], check=True, capture_output=True)
    answer = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    return answer["seconds"], answer["cpu_seconds"]


def codec_seconds(paths: list[Path]) -> float:
    """Return the CPU seconds that it takes to decode the files and nothing else."""
    contents = [path.read_bytes() for path in paths]
    used = time.process_time()
    for content in contents:
        audio_format = sniff_audio_format(content)
        assert audio_format is not None
        with open_source(content, audio_format) as source:
            for _ in source.blocks:
                pass
    return time.process_time() - used


def measure_format(report: Report, audio_format: str, paths: list[Path], folder: Path, rounds: int) -> None:
    """Measure both over files of one format, and add rows and ratios to the report."""
    python = peer_python("librosa", _PEER)
    cpu: dict[str, list[float]] = {"ummp": [], "librosa": []}

    def run_here() -> float:
        seconds, cpu_seconds = measure_here(paths)
        cpu["ummp"].append(len(paths) / cpu_seconds)
        return len(paths) / seconds

    def run_peer() -> float:
        assert python is not None
        seconds, cpu_seconds = measure_peer(python, paths, folder)
        cpu["librosa"].append(len(paths) / cpu_seconds)
        return len(paths) / seconds

    contenders = {"ummp": run_here} | ({"librosa": run_peer} if python else {})
    notice(f"{audio_format}: {len(paths)} recordings of {_SECONDS} s")
    speeds = take_turns(contenders, rounds)
    for contender, figures in speeds.items():
        row = {"format": audio_format, "contender": contender, "recordings_per_second": max(figures)}
        report.rows.append(row | {"cpu_ms": 1_000 / max(cpu[contender])})
    codec_ms = 1_000 * min(codec_seconds(paths) for _ in range(rounds)) / len(paths)
    alone: dict[str, Any] = {"format": audio_format, "contender": "codec alone", "cpu_ms": codec_ms}
    if python:
        suffix = "" if audio_format == "wav" else f"_{audio_format}"
        report.ratios[f"vs_librosa{suffix}"] = ratio(speeds["ummp"], speeds["librosa"])
        report.ratios[f"vs_librosa_cpu{suffix}"] = ratio(cpu["ummp"], cpu["librosa"])
        if audio_format != "wav":
            alone["highest_ratio"] = 1_000 / max(cpu["librosa"]) / codec_ms
        difference = np.abs(spectrogram_of(paths[0]) - np.load(folder / "peer.npy")).max()
        alone["largest_difference"] = float(difference)
    report.rows.append(alone)


def measure(quick: bool) -> Report:
    count, rounds = (64, 3) if quick else (30, 5)
    formats = _FORMATS[:1] if quick else _FORMATS
    report = Report()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for audio_format, paths in write_recordings(folder, count, formats).items():
            measure_format(report, audio_format, paths, folder, rounds)
    return report


if __name__ == "__main__":
    main(__name__, measure, __doc__ or "")
