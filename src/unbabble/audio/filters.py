"""Blocks of samples changed on their way: mixed down, resampled, without what is below speech."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from unbabble.audio.recording import Samples
from unbabble.errors import AudioError

LEAST_POWER_RATIO = 0.5  # of the sum of all channels to what it would have if they were uncorrelated
STOPPED_HZ, PASSED_HZ = 60.0, 80.0  # of the high-pass: offsets, rumble and hum; the lowest voices
KERNEL_S = 0.12  # to each side


class Downmix:
    """Averages channels, block by block, or takes one of them.

    Microphones and cables may be wired the wrong way round, and what two such channels share would vanish from their
    average. Where it does, the channels that cancel the others are inverted, from the block on in which it is seen.

    Parameters
    ----------
    channel
        The one to take (0 is the first); None for the average of all.
    """

    def __init__(self, channel: int | None = None) -> None:
        self._channel = channel
        self._covariance = np.zeros((0, 0))
        self._signs = np.zeros(0, np.float32)

    @property
    def inverted(self) -> tuple[int, ...]:
        """The channels (0 is the first) that are inverted before the average."""
        return tuple(int(index) for index in np.flatnonzero(self._signs < 0))

    def push(self, block: Samples) -> Samples:
        """Mix the next samples.

        Parameters
        ----------
        block
            (channels, samples), of as many channels as all others.

        Returns
        -------
        Samples
            (1, samples).

        Raises
        ------
        AudioError
            Where there is no such channel.
        """
        if self._channel is not None:
            if not 0 <= self._channel < len(block):
                expected = f"expected 1 to {len(block)}; choose one of them, or mix"
                raise AudioError(f"no channel {self._channel + 1}; {expected}")
            return block[self._channel : self._channel + 1]
        if len(block) == 1 or block.shape[1] == 0:
            return block[:1]
        self._watch(block)
        mixed: Samples = (block * self._signs[:, np.newaxis]).mean(axis=0, keepdims=True)
        return mixed

    def _watch(self, block: Samples) -> None:
        """Choose the channels' signs anew where their sum, so far, is far below them."""
        if not self._signs.size:
            self._covariance, self._signs = np.zeros((len(block), len(block))), np.ones(len(block), np.float32)
        centered = block - block.mean(axis=1, keepdims=True)
        self._covariance += centered @ centered.T
        power = self._signs @ self._covariance @ self._signs
        if power < LEAST_POWER_RATIO * np.trace(self._covariance):
            leading = np.linalg.eigh(self._covariance)[1][:, -1]
            self._signs = np.where(leading * leading[np.argmax(np.abs(leading) > 0.01)] < 0, -1, 1).astype(np.float32)


def to_mono(blocks: Iterable[Samples], channel: int | None = None) -> Iterator[Samples]:
    """Mix blocks as ``Downmix`` does: (channels, samples) -> (1, samples). Raises AudioError."""
    downmix = Downmix(channel)
    return (downmix.push(block) for block in blocks)


class Resampler:
    """Resamples a signal that comes in blocks (soxr, high quality).

    Parameters
    ----------
    from_hz, to_hz
        Sample rates of the blocks and of the result.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._rates = from_hz, to_hz
        self._stream: soxr.ResampleStream | None = None
        self._rows = 0

    def push(self, block: Samples) -> Samples:
        """The next samples, (rows, samples), of the same rows each time -> (rows, samples), as many as are ready."""
        self._rows = block.shape[0]
        if self._rates[0] == self._rates[1] or not self._rows:  # soxr takes a row at least
            return block
        if self._stream is None:
            self._stream = soxr.ResampleStream(*self._rates, self._rows, dtype="float32", quality="HQ")
        return self._resampled(block, last=False)

    def finish(self) -> Samples:
        """What is left; in all, the length is right to within one sample (soxr)."""
        if self._stream is None:
            return np.zeros((self._rows, 0), np.float32)
        return self._resampled(np.zeros((self._rows, 0), np.float32), last=True)

    def _resampled(self, block: Samples, last: bool) -> Samples:
        assert self._stream is not None
        resampled: Samples = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return resampled.reshape(-1, self._rows).T


def resample(blocks: Iterable[Samples], from_hz: int, to_hz: int) -> Iterator[Samples]:
    """Resample blocks (rows, samples); their total length is right to within one sample.

    Parameters
    ----------
    blocks
        (rows, samples), of the same rows each.
    from_hz, to_hz
        Sample rates before and after.

    Yields
    ------
    Samples
        (rows, samples).
    """
    resampler = Resampler(from_hz, to_hz)
    for block in blocks:
        yield resampler.push(block)
    if (rest := resampler.finish()).size:
        yield rest


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
