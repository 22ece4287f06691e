"""Same talker, same track, from window to window."""

from collections.abc import Iterable, Iterator
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def align_windows(estimates: Iterable[Samples], overlap: int) -> Iterator[Samples]:
    """Reorder the tracks of each separated window (tracks, samples) to follow those of the one before.

    The order is that whose tracks, where the two windows overlap, correlate best in sum; where they tell
    nothing, as in silence, the order stays.
    """
    before: Samples | None = None
    for estimate in estimates:
        if before is not None:
            estimate = estimate[list(best_order(before, estimate[:, :overlap]))]
        yield estimate
        before = estimate[:, -overlap:]


def best_order(before: Samples, after: Samples) -> tuple[int, ...]:
    """Permutation p for which before[i] and after[p[i]], both (tracks, samples), correlate best in sum."""
    products = before.astype(np.float64) @ after.T.astype(np.float64)
    rows = np.arange(len(products))
    orders = list(permutations(range(len(products))))
    return orders[int(np.argmax([products[rows, order].sum() for order in orders]))]
