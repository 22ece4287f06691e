"""How well a listener hears: frames in which it counts right, and voices that it tells apart."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Numbers = NDArray[np.int64]


class Hearing:
    """Gathers what was heard in mixtures. n_counts: 3 where 0, 1 and more talkers are told apart."""

    def __init__(self, n_counts: int) -> None:
        self._frames = np.zeros((n_counts, n_counts), np.int64)  # (true, heard)
        self._same: list[Array] = []
        self._other: list[Array] = []

    def add_counts(self, true: Numbers, heard: Numbers) -> None:
        """How many talked in frames, and were heard to: arrays of one shape."""
        np.add.at(self._frames, (true, heard), 1)

    def add_voices(self, talkers: Sequence[Array]) -> None:
        """Directions (pieces, voice), of length 1, of what each talker of a mixture says alone."""
        for pieces in talkers:
            self._same.append((pieces @ pieces.T)[np.triu_indices(len(pieces), 1)])
        for one, other in combinations(talkers, 2):
            self._other.append((one @ other.T).ravel())

    def scores(self) -> dict[str, float | None]:
        """Recall and precision of every count, equal error rate of voices; None for what did not occur."""
        right, true, heard = self._frames.diagonal(), self._frames.sum(1), self._frames.sum(0)
        scores = {f"recall_{count}": _share(right[count], true[count]) for count in range(len(right))}
        scores |= {f"precision_{count}": _share(right[count], heard[count]) for count in range(len(right))}
        error = equal_error(*(np.concatenate([np.zeros(0), *cosines]) for cosines in (self._same, self._other)))
        return scores | {"equal_error": None if math.isnan(error) else round(error, 3)}


def equal_error(same: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The rate at which as many of the same voice are taken for others as others for the same; NaN without pairs.

    same, other (pairs,): likeness of two pieces of one voice, and of two voices.
    """
    if not (len(same) and len(other)):
        return math.nan
    limits = np.sort(np.concatenate([same, other]))
    missed = np.searchsorted(np.sort(same), limits) / len(same)
    taken = 1 - np.searchsorted(np.sort(other), limits) / len(other)
    at = int(np.argmin(np.abs(missed - taken)))
    return float((missed[at] + taken[at]) / 2)


def _share(part: int, whole: int) -> float | None:
    return round(float(part / whole), 3) if whole else None
