"""Another sample rate, block by block."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from unbabble.audio.recording import Samples


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
