"""Another sample rate, block by block."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from unbabble.audio.recording import Samples


def resample(blocks: Iterable[Samples], from_hz: int, to_hz: int) -> Iterator[Samples]:
    """Blocks (rows, samples) at another rate. The total length is right to within one sample (soxr)."""
    if from_hz == to_hz:
        yield from blocks
        return
    stream, rows = None, 0
    for block in blocks:
        if stream is None:
            rows = block.shape[0]
            stream = soxr.ResampleStream(from_hz, to_hz, rows, dtype="float32", quality="HQ")
        yield stream.resample_chunk(np.ascontiguousarray(block.T)).reshape(-1, rows).T
    if stream is not None:
        last = np.zeros((0, rows), np.float32)
        yield stream.resample_chunk(last, last=True).reshape(-1, rows).T
