"""Sound file to log-mel spectrogram, against librosa's load, resampling and melspectrogram on the same files.

    python -m ummp_assets_tests.benchmarks.audio [--quick] [--json]

Ours decodes, judges the levels and computes Whisper's spectrogram on all cores, as the stages do; librosa runs in one
process, as its documentation shows it. `vs_librosa` is of 16-bit WAV; of compressed files most of the time belongs to
libsndfile's codecs, which both call. Rows also give CPU seconds, and how far the spectrograms are apart. `--quick`
takes WAV only.
"""

import io
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr

from ummp_assets.clean.audio_decode import DecodedAudio, decode_audio
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


def measure(quick: bool) -> Report:
    count, rounds = (64, 3) if quick else (30, 5)
    formats = _FORMATS[:1] if quick else _FORMATS
    report = Report()
    python = peer_python("librosa", _PEER)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for audio_format, paths in write_recordings(folder, count, formats).items():
            cpu: dict[str, list[float]] = {"ummp": [], "librosa": []}

            def run_here(paths: list[Path] = paths, cpu: dict[str, list[float]] = cpu) -> float:
                seconds, cpu_seconds = measure_here(paths)
                cpu["ummp"].append(len(paths) / cpu_seconds)
                return len(paths) / seconds

            def run_peer(paths: list[Path] = paths, cpu: dict[str, list[float]] = cpu) -> float:
                assert python is not None
                seconds, cpu_seconds = measure_peer(python, paths, folder)
                cpu["librosa"].append(len(paths) / cpu_seconds)
                return len(paths) / seconds

            contenders = {"ummp": run_here} | ({"librosa": run_peer} if python else {})
            notice(f"{audio_format}: {count} recordings of {_SECONDS} s")
            speeds = take_turns(contenders, rounds)
            for contender, figures in speeds.items():
                report.rows.append(
                    {
                        "format": audio_format,
                        "contender": contender,
                        "recordings_per_second": max(figures),
                        "recordings_per_cpu_second": max(cpu[contender]),
                    }
                )
            if python:
                suffix = "" if audio_format == "wav" else f"_{audio_format}"
                report.ratios[f"vs_librosa{suffix}"] = ratio(speeds["ummp"], speeds["librosa"])
                report.ratios[f"vs_librosa_cpu{suffix}"] = ratio(cpu["ummp"], cpu["librosa"])
                difference = np.abs(spectrogram_of(paths[0]) - np.load(folder / "peer.npy")).max()
                report.rows.append({"format": audio_format, "largest_difference": float(difference)})
    return report


if __name__ == "__main__":
    main(__name__, measure, __doc__ or "")
