"""Permutations: which estimate of a window goes to which track."""

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Numbers = NDArray[np.intp]

MOST_PERMUTED = 4  # tracks, all permutations of which are tried


def candidate_permutations(tail: Array, estimates: Array) -> Numbers:
    """Permutations (permutations, tracks) of estimates (estimates, samples): estimate ``permutation[track]`` is the
    track's. All, or where those are too many the one whose beginning correlates best with the ``tail`` (tracks,
    samples) of the window before."""
    n_tracks, n_estimates = len(tail), len(estimates)
    if n_tracks != n_estimates:
        return np.arange(n_tracks)[None]
    if n_tracks <= MOST_PERMUTED:
        return np.array(list(itertools.permutations(range(n_tracks))))
    return np.array([best_permutation(tail, estimates[:, : tail.shape[1]])])


def best_permutation(before: Array, after: Array) -> tuple[int, ...]:
    """Permutation p for which before[i] and after[p[i]], both (tracks, samples), correlate best in sum."""
    products = before.astype(np.float64) @ after.T.astype(np.float64)
    rows = np.arange(len(products))
    permutations = list(itertools.permutations(range(len(products))))
    return permutations[int(np.argmax([products[rows, permutation].sum() for permutation in permutations]))]


def correlation_by_frame(tail: Array, estimates: Array, permutations: Numbers, frame: int) -> Array:
    """Correlation of the tail of the window before and the permuted estimates, -1 to 1: (permutations, frames)."""
    n_frames = min(tail.shape[1], estimates.shape[1]) // frame
    before, after = (
        signals[:, : n_frames * frame].reshape(len(signals), n_frames, frame) for signals in (tail, estimates)
    )
    products = np.einsum("tfs,efs->fte", before, after)
    power = (np.square(before).sum((0, 2)) + np.square(after).sum((0, 2))) / 2 + 1e-9
    tracks = np.arange(len(tail))
    return np.stack([products[:, tracks, permutation].sum(1) / power for permutation in permutations])
