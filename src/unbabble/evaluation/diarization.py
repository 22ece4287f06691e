"""How good diarization is: counts of active speakers in each frame, and embeddings that tell speakers apart."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Numbers = NDArray[np.int64]


class DiarizationScores:
    """Scores over many mixtures, which are added one after the other.

    Parameters
    ----------
    n_counts
        3 where 0, 1 and more active speakers are told apart.
    """

    def __init__(self, n_counts: int) -> None:
        self._frames = np.zeros((n_counts, n_counts), np.int64)  # (true, estimated)
        self._same: list[Array] = []
        self._other: list[Array] = []

    def add_counts(self, true: Numbers, estimated: Numbers) -> None:
        """Active speakers of frames: arrays of one shape."""
        np.add.at(self._frames, (true, estimated), 1)

    def add_embeddings(self, speakers: Sequence[Array]) -> None:
        """Embeddings (pieces, embedding), of length 1, of what each speaker of a mixture says alone."""
        for pieces in speakers:
            self._same.append((pieces @ pieces.T)[np.triu_indices(len(pieces), 1)])
        for one, other in combinations(speakers, 2):
            self._other.append((one @ other.T).ravel())

    def scores(self) -> dict[str, float | None]:
        """Recall and precision of every count, equal error rate of embeddings; None for what did not occur."""
        right, true, estimated = self._frames.diagonal(), self._frames.sum(1), self._frames.sum(0)
        scores = {f"recall_{count}": _fraction(right[count], true[count]) for count in range(len(right))}
        scores |= {f"precision_{count}": _fraction(right[count], estimated[count]) for count in range(len(right))}
        error = equal_error(*(np.concatenate([np.zeros(0), *cosines]) for cosines in (self._same, self._other)))
        return scores | {"equal_error": None if math.isnan(error) else round(error, 3)}


def equal_error(same: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The equal error rate of speaker verification, at which misses are as frequent as false alarms.

    Parameters
    ----------
    same, other
        Similarities (pairs,) of two pieces of one speaker, and of two speakers.

    Returns
    -------
    float
        0 to 1; NaN without pairs of either kind.
    """
    if not (len(same) and len(other)):
        return math.nan
    thresholds = np.sort(np.concatenate([same, other]))
    misses = np.searchsorted(np.sort(same), thresholds) / len(same)
    false_alarms = 1 - np.searchsorted(np.sort(other), thresholds) / len(other)
    at = int(np.argmin(np.abs(misses - false_alarms)))
    return float((misses[at] + false_alarms[at]) / 2)


def _fraction(part: int, whole: int) -> float | None:
    return round(float(part / whole), 3) if whole else None
