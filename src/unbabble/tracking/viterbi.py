"""Active speakers and permutation of the estimates in each frame of a window: a Viterbi path through observations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unbabble.tracking.activity import FRAME_S

Array = NDArray[np.float32]
Numbers = NDArray[np.intp]

SILENT, SEVERAL = -1, -2  # in place of the track of the only active speaker
IMPOSSIBLE = 1e6
STEADY_S = 8.0  # over longer stretches, networks lose their talkers more and more
STEADY_POWER = 4  # of how far estimates are apart, with which the bonus for steady ones falls


@dataclass(frozen=True)
class Weights:
    """Weights of the observations of a frame, and costs of transitions, as logarithms of probabilities.

    Tuned on mixtures and conversations of validation speakers.
    """

    speech: float = 1.5  # for speech: losing a word is worse than keeping a breath
    several: float = 0.7  # for several talkers: separating one does less harm than not separating two
    embedding: float = 0.7  # cosine of the mixture's embedding and a talker's, where one talks
    estimate_embedding: float = 0.5  # the same of the estimates, where several talk
    nearby: float = 0.2  # the louder estimate is the talker's who talks alone, for the while
    correlation: float = 1.0  # of estimates with the tracks of the window before
    memory: float = 2.0  # active speakers of the window before
    begin: float = 3.0  # a transition between silence, one and several
    relay: float = 5.0  # to another talker without a pause
    swap: float = 3.0  # to another permutation within a window
    steady: float = 60.0  # for one permutation throughout, in windows up to STEADY_S, if estimates are wholly apart
    louder: float = 1.5  # if so: the louder estimate is that of the talker
    even: float = 1.0  # and estimates that are about as loud, for several talkers
    plain: float = 0.9  # how much louder one must be, 0 to 1, for the other to be of nobody


@dataclass(frozen=True)
class Observations:
    """Observations in the frames of a window.

    counts (frames, 3): log-probabilities of 0, 1 and more talkers; embeddings (frames, embedding): of the mixture;
    estimate_embeddings (estimates, frames, embedding); louder (estimates, frames): 1 where one is plainly the
    loudest, -1 where plainly not; apart: probability that each estimate is one talker's; permutations
    (permutations, tracks): the candidates; correlation (permutations, frames): of the permuted estimates with the
    tracks of the window before; earlier (frames,): active speakers by that window, as far as it reached; talkers
    (tracks, embedding): zeros where nobody is known.
    """

    counts: Array
    embeddings: Array
    estimate_embeddings: Array
    louder: Array
    apart: float
    permutations: Numbers
    correlation: Array
    earlier: Numbers
    talkers: Array

    @property
    def n_known(self) -> int:
        """Talkers whose embedding is known."""
        return int(self.talkers.any(1).sum())


@dataclass(frozen=True)
class Assignment:
    """For each frame the active speaker (a track, SILENT or SEVERAL) and the permutation: estimate
    ``permutation[track]`` is the track's.

    steady: whether each estimate was found to be one talker's all the time.
    """

    active: Numbers  # (frames,)
    permutations: Numbers  # (frames, tracks)
    steady: bool


def decode(seen: Observations, weights: Weights) -> Assignment:
    """The most probable assignment; one with a single permutation throughout, unless that is far less probable.

    States are pairs of a mode (active speaker) and a permutation.
    """
    modes = np.array([SILENT, SEVERAL, *range(len(seen.talkers))])
    n_frames, n_permutations = len(seen.counts), len(seen.permutations)
    scores = _mode_scores(seen, modes, weights)[:, :, None] + _permutation_scores(seen, modes, weights)
    steady_scores = scores + _steady_scores(seen, modes, weights)
    mode_costs, swapped = _mode_costs(modes, weights)[:, None, :, None], 1 - np.eye(n_permutations)[None, :, None]
    costs, steady_costs = mode_costs + weights.swap * swapped, mode_costs + IMPOSSIBLE * swapped

    n_states = len(modes) * n_permutations
    scores, steady_scores = (values.reshape(n_frames, n_states) for values in (scores, steady_scores))
    costs, steady_costs = (values.reshape(n_states, n_states) for values in (costs, steady_costs))
    path, steady_path = viterbi(scores, costs), viterbi(steady_scores, steady_costs)
    bonus = weights.steady * seen.apart**STEADY_POWER * min(1.0, STEADY_S / (n_frames * FRAME_S))
    worse = _score_of(path, scores, costs) - _score_of(steady_path, scores, costs)
    steady = seen.n_known > 1 and worse < bonus
    chosen = steady_path if steady else path
    active, permutations = modes[chosen // n_permutations], seen.permutations[chosen % n_permutations]
    if steady:
        alone = np.flatnonzero(active >= 0)
        even = seen.louder[permutations[alone, active[alone]], alone] < weights.plain
        active[alone[even]] = SEVERAL
    return Assignment(active, permutations, steady)


def viterbi(scores: NDArray[np.floating], costs: NDArray[np.floating]) -> Numbers:
    """States (frames,) of the best sum of scores (frames, states) less the costs (states, states) of transitions."""
    n_frames, n_states = scores.shape
    best, came_from = scores[0], np.zeros((n_frames, n_states), np.intp)
    for frame in range(1, n_frames):
        through = best[:, None] - costs
        came_from[frame] = through.argmax(0)
        best = through.max(0) + scores[frame]
    path = np.empty(n_frames, np.intp)
    path[-1] = best.argmax()
    for frame in range(n_frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path


def _score_of(path: Numbers, scores: NDArray[np.floating], costs: NDArray[np.floating]) -> float:
    """What ``viterbi`` maximises."""
    return float(scores[np.arange(len(path)), path].sum() - costs[path[:-1], path[1:]].sum())


def _mode_scores(seen: Observations, modes: Numbers, weights: Weights) -> Array:
    """(frames, modes): how many talk, and by its embedding who, where it is one."""
    known = seen.talkers.any(1)
    silent, one, several = seen.counts.T
    cosines = seen.embeddings @ seen.talkers.T
    scores = np.empty((len(silent), len(modes)), np.float32)
    scores[:, 0] = silent - weights.speech
    if seen.n_known > 1:
        scores[:, 1] = several + weights.several
        scores[:, 2:] = one[:, None] + weights.embedding * (cosines - cosines.max(1, keepdims=True))
    else:
        scores[:, 1] = -IMPOSSIBLE
        scores[:, 2:] = np.logaddexp(one, several)[:, None]
    scores[:, 2:][:, ~known] = -IMPOSSIBLE
    n_earlier = len(seen.earlier)
    fading = 1 - np.arange(n_earlier) / max(1, n_earlier)
    for number, mode in enumerate(modes):
        scores[:n_earlier, number] += weights.memory * fading * (seen.earlier == mode)
    return scores


def _permutation_scores(seen: Observations, modes: Numbers, weights: Weights) -> Array:
    """(frames, modes, permutations): whose the estimates are."""
    scores = np.zeros((len(seen.counts), len(modes), len(seen.permutations)), np.float32)
    if len(seen.permutations) == 1:
        return scores
    cosines = np.einsum("efd,td->fet", seen.estimate_embeddings, seen.talkers)
    tracks = np.arange(len(seen.talkers))
    for number, permutation in enumerate(seen.permutations):
        scores[:, 1, number] = weights.estimate_embedding * cosines[:, permutation, tracks].sum(1)
        scores[: seen.correlation.shape[1], 1, number] += weights.correlation * seen.correlation[number]
        scores[:, 2:, number] = weights.nearby * seen.louder[permutation].T
    return scores


def _steady_scores(seen: Observations, modes: Numbers, weights: Weights) -> Array:
    """(frames, modes, permutations): what the levels of the estimates tell, if each is one talker's all the time."""
    scores = np.zeros((len(seen.counts), len(modes), len(seen.permutations)), np.float32)
    scores[:, 1] = weights.even * (1 - seen.louder.max(0))[:, None]
    for number, permutation in enumerate(seen.permutations):
        scores[:, 2:, number] = weights.louder * seen.louder[permutation].T
    return scores


def _mode_costs(modes: Numbers, weights: Weights) -> Array:
    """(modes, modes): of transitions between modes."""
    costs = np.full((len(modes), len(modes)), weights.begin, np.float32)
    costs[2:, 2:] = weights.relay
    np.fill_diagonal(costs, 0)
    return costs
