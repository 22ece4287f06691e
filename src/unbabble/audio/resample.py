"""Another sample rate, block by block."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from unbabble.audio.recording import Samples


class Resampler:
    """Blocks (rows, samples) in, what is ready of them at another rate out; all have the same rows."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._rates = from_hz, to_hz
        self._stream: soxr.ResampleStream | None = None
        self._rows = 0

    def push(self, block: Samples) -> Samples:
        self._rows = block.shape[0]
        if self._rates[0] == self._rates[1]:
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
    """Blocks (rows, samples) at another rate. The total length is right to within one sample (soxr)."""
    resampler = Resampler(from_hz, to_hz)
    for block in blocks:
        yield resampler.push(block)
    if (rest := resampler.finish()).size:
        yield rest
