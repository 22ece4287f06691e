"""What is done to a recording so that networks hear speech: nothing below it, and no knock far above it."""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

STOPPED_HZ, PASSED_HZ = 60.0, 80.0  # of the high-pass: offsets, rumble and hum; the lowest voices
KERNEL_S = 0.12  # to each side

FRAME_S = 0.01
SUSTAINED_S = 0.3  # knocks are over sooner, altogether; speech, where there is any, goes on for longer
ABOVE = 40.0  # times the sustained level that peaks may reach: those of speech stay below 10
LOWEST_GAIN = 0.001


class HighPass:
    """Blocks (1, samples) in, the same without what is below PASSED_HZ out, sample by sample where it was.

    Voices keep their phase: the filter is symmetric. It holds back KERNEL_S of the recording. Beyond its ends, the
    recording is taken to go on mirrored, about the last sample, so that offsets and hum do not begin there.
    """

    def __init__(self, sample_rate: int) -> None:
        self._half = round(KERNEL_S * sample_rate)
        self._kernel = high_pass_kernel(self._half, (STOPPED_HZ + PASSED_HZ) / 2 / sample_rate)
        self._spectra: dict[int, NDArray[np.complex64]] = {}  # of the kernel, by the length of the transform
        self._held, self._begun = np.zeros((1, 0), np.float32), False

    def push(self, block: Samples) -> Samples:
        """What is ready with this block."""
        self._held = np.concatenate([self._held, block], axis=1)
        if not self._begun and self._held.shape[1] > self._half:
            self._begun, self._held = True, self._mirrored(before=self._half)
        return self._filtered() if self._begun else block[:, :0]

    def finish(self) -> Samples:
        """The rest."""
        if self._held.shape[1]:
            self._held = self._mirrored(before=0 if self._begun else self._half, after=self._half)
        return self._filtered()

    def _mirrored(self, before: int = 0, after: int = 0) -> Samples:
        return np.pad(self._held, ((0, 0), (before, after)), mode="reflect", reflect_type="odd")

    def _filtered(self) -> Samples:
        """Where the kernel lies within what is held, of which a later call needs the end."""
        signal, n_ready = self._held, self._held.shape[1] - 2 * self._half
        if n_ready <= 0:
            return signal[:, :0]
        self._held = signal[:, n_ready:].copy()
        size = 1 << (signal.shape[1] - 1).bit_length()
        if size not in self._spectra:
            self._spectra[size] = np.fft.rfft(self._kernel, size).astype(np.complex64)
        filtered: NDArray[np.floating] = np.fft.irfft(np.fft.rfft(signal, size) * self._spectra[size], size)
        return filtered[:, 2 * self._half : 2 * self._half + n_ready].astype(np.float32)


def high_passed(samples: Samples, sample_rate: int) -> Samples:
    """A whole recording (samples,) without what is below PASSED_HZ."""
    high_pass = HighPass(sample_rate)
    whole: Samples = np.concatenate([high_pass.push(samples[np.newaxis]), high_pass.finish()], axis=1)[0]
    return whole


def high_pass_kernel(half: int, cycles: float) -> NDArray[np.float64]:
    """2 * half + 1 taps of a high-pass that halves what has so many cycles a sample, and removes offsets wholly."""
    low = np.sinc(2 * cycles * np.arange(-half, half + 1)) * np.blackman(2 * half + 3)[1:-1]
    kernel: NDArray[np.float64] = -low / low.sum()
    kernel[half] += 1
    return kernel


def gain_over_knocks(window: Samples, sample_rate: int) -> Samples:
    """Gains (samples,) that bring peaks far above the sustained level of a window (samples,) down to it.

    1 everywhere, unless there are such peaks; they change over frames of 10 ms.
    """
    frame = round(FRAME_S * sample_rate)
    frames = np.pad(window, (0, -window.size % frame)).reshape(-1, frame)
    levels = np.sort(np.sqrt(np.square(frames).mean(1)))
    sustained = levels[-min(len(levels), round(SUSTAINED_S / FRAME_S))]
    peaks = np.abs(frames).max(1)
    gains = np.clip(ABOVE * sustained / np.maximum(peaks, 1e-30), LOWEST_GAIN, 1)
    at_edges = np.minimum(np.append(gains, 1), np.append(1, gains))
    at_samples: NDArray[np.float64] = np.interp(np.arange(window.size) / frame, np.arange(len(at_edges)), at_edges)
    return at_samples.astype(np.float32)
