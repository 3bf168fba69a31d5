"""Whisper's log-mel spectrogram in librosa's words: the reference that ours is compared with.

Runs where librosa is installed, which this project does not depend on:

    python librosa_log_mel.py waveform.npy 80 spectrogram.npy

`log_mel_whiff.npz` beside this file holds the spectrograms that librosa 0.11.0 made of pygame-ce's whiff.wav.
"""

import sys

import librosa  # type: ignore[import-not-found]
import numpy as np
import numpy.typing as npt


def log_mel(waveform: npt.NDArray[np.float32], mel_bins: int) -> npt.NDArray[np.float32]:
    """Return the spectrogram as the published code of Whisper defines it. [shape=(mel_bins, n // 160)]"""
    spectrum = librosa.stft(waveform, n_fft=400, hop_length=160, window="hann", center=True, pad_mode="reflect")
    power = np.abs(spectrum[:, :-1]) ** 2
    mel = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=mel_bins) @ power
    logarithm = np.log10(np.maximum(mel, 1e-10))
    return np.asarray((np.maximum(logarithm, logarithm.max() - 8) + 4) / 4, np.float32)


if __name__ == "__main__":
    np.save(sys.argv[3], log_mel(np.load(sys.argv[1]), int(sys.argv[2])))
