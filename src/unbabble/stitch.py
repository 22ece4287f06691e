"""Same talker, same track, from window to window."""

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from unbabble.activity import Turn, speech_frames, turns_of

Samples = NDArray[np.float32]


class Stitcher:
    """Separated windows in, in order; the same with every talker on one track out."""

    def __init__(self, n_tracks: int, sample_rate: int, overlap: int) -> None:
        self._n_tracks, self._sample_rate, self._overlap = n_tracks, sample_rate, overlap
        self._before: Samples | None = None
        self._talking: list[NDArray[np.bool_]] = []

    def push(self, mixture: Samples, estimates: Samples) -> Samples:
        """A window, (samples,), and its estimates, (sources, samples) -> its tracks, (n_tracks, samples)."""
        tracks = estimates
        if self._before is not None:
            tracks = estimates[list(best_order(self._before, estimates[:, : self._overlap]))]
        self._before = tracks[:, -self._overlap :]
        self._talking.append(speech_frames(tracks, self._sample_rate))
        return tracks

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who talks when, by the start."""
        return turns_of(np.concatenate(self._talking, axis=1)) if self._talking else ()


def best_order(before: Samples, after: Samples) -> tuple[int, ...]:
    """Permutation p for which before[i] and after[p[i]], both (tracks, samples), correlate best in sum."""
    products = before.astype(np.float64) @ after.T.astype(np.float64)
    rows = np.arange(len(products))
    orders = list(permutations(range(len(products))))
    return orders[int(np.argmax([products[rows, order].sum() for order in orders]))]
