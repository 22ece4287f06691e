"""Arithmetic on signals: levels, convolution, bands."""

from collections.abc import Sequence

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Samples = NDArray[np.float32]

PEAK = 0.9  # of the loudest signal of a mixture, full scale 1


def rms(signal: Samples) -> float:
    """Root mean square over all samples; 0 where there are none."""
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) if signal.size else 0.0


def at_level(signal: Samples, level_db: float) -> Samples:
    """The signal scaled to an RMS of ``level_db`` (dB, full scale 1); silence stays silence."""
    loudness = rms(signal)
    return signal * np.float32(10 ** (level_db / 20) / loudness) if loudness else signal


def peak_gain(signals: Samples) -> np.float32:
    """The gain with which the loudest of (signals, samples) and of their sum peaks at PEAK; 1 for silence."""
    loudest = max(float(np.abs(signals).max(initial=0)), float(np.abs(signals.sum(0)).max(initial=0)))
    return np.float32(PEAK / loudest if loudest else 1)


def convolve(signals: Samples, responses: Sequence[Samples]) -> Samples:
    """Each signal of (signals, samples) with its response, cut to the same length."""
    n_samples = signals.shape[-1]
    n_fft = scipy.fft.next_fast_len(n_samples + max(response.size for response in responses) - 1, real=True)
    paths = np.zeros((len(signals), n_fft), np.float32)
    for row, response in zip(paths, responses, strict=True):
        row[: response.size] = response
    spectra = scipy.fft.rfft(signals, n_fft) * scipy.fft.rfft(paths)
    return np.asarray(scipy.fft.irfft(spectra, n_fft)[:, :n_samples], np.float32)


def band_pass(signals: Samples, lower_hz: float, upper_hz: float, sample_rate: int) -> Samples:
    """What lies in a band, over the last axis; linear phase, both transitions 5 % of the upper edge wide.

    From 0 on it is a low pass.
    """
    n_samples = signals.shape[-1]
    n_fft = scipy.fft.next_fast_len(n_samples, real=True)
    frequencies = scipy.fft.rfftfreq(n_fft, 1 / sample_rate)
    slope = np.clip((upper_hz - frequencies) / (0.05 * upper_hz) + 0.5, 0, 1)
    if lower_hz:
        slope *= np.clip((frequencies - lower_hz) / (0.05 * upper_hz) + 0.5, 0, 1)
    filtered = scipy.fft.irfft(scipy.fft.rfft(signals, n_fft) * slope.astype(np.float32), n_fft)
    return np.asarray(filtered[..., :n_samples], np.float32)
