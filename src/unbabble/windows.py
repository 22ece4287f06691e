"""A long signal as overlapping windows, and separated windows as long tracks."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def split_windows(blocks: Iterable[Samples], window: int, overlap: int) -> Iterator[Samples]:
    """Blocks (1, samples) of any size -> windows (1, window), each sharing ``overlap`` samples with the next.

    The last window is as short as what is left, but longer than the overlap unless it is the only one.
    """
    if not 0 < overlap < window:
        raise ValueError(f"overlap must lie between 0 and the window of {window} samples, not {overlap}")
    held = np.zeros((1, 0), np.float32)
    for block in blocks:
        held = np.concatenate([held, block], axis=1)
        while held.shape[1] > window:
            yield held[:, :window]
            held = held[:, window - overlap :]
    if held.shape[1]:
        yield held


def join_windows(estimates: Iterable[Samples], overlap: int) -> Iterator[Samples]:
    """Separated windows (tracks, samples), in order and with tracks aligned -> blocks of the long tracks.

    Over the overlap the earlier window is faded out linearly and the later one in.
    """
    fade_in = (np.arange(overlap, dtype=np.float32) + 0.5) / overlap
    tail: Samples | None = None
    for estimate in estimates:
        if tail is not None:
            crossed = tail * (1 - fade_in) + estimate[:, :overlap] * fade_in
            estimate = np.concatenate([crossed, estimate[:, overlap:]], axis=1)
        yield estimate[:, :-overlap]
        tail = estimate[:, -overlap:]
    if tail is not None:
        yield tail
