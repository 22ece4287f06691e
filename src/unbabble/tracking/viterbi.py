"""Who talks, and on which estimate, in each frame of a window: a Viterbi path with people as states."""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from unbabble.tracking.activity import FRAME_S, Frames
from unbabble.tracking.parameters import Parameters

Array = NDArray[np.float32]
Numbers = NDArray[np.intp]

NOBODY = -1
LOUDER_DB = 10.0  # by which one estimate is plainly louder than another
APART_DB = 20.0  # by which it is so much louder that the other holds nothing of its talker
MOST_STATES = 1600  # with more, only those people are considered who are most present in the window


@dataclass(frozen=True)
class Observations:
    """What is known of the frames of a window.

    counts (frames, 3): log-probabilities of 0, 1 and more talkers; embeddings (1 + estimates, frames, embedding): of
    the mixture, then of the estimates; levels (estimates, frames): in dB.
    """

    counts: Array
    embeddings: Array
    levels: Array


@dataclass(frozen=True)
class States:
    """All ways to put different people on the estimates: nobody, one on any of them, several.

    owners (states, estimates): a person, or NOBODY; sizes (states,): how many talk; on (states, people x estimates):
    1 where that person is on that estimate.
    """

    owners: Numbers
    sizes: Numbers
    on: Array
    n_people: int

    def costs(self, parameters: Parameters) -> Array:
        """(states, states): of transitions."""
        active = self.on.reshape(len(self.on), self.n_people, self.owners.shape[1]).sum(2)
        shared, staying = active @ active.T, self.on @ self.on.T
        kinds = np.minimum(self.sizes, 2)
        smaller = np.minimum(kinds[:, None], kinds)
        changed = kinds[:, None] != kinds
        others = shared < np.where(changed, np.minimum(smaller, 1), smaller)  # who should go on, does not
        costs = parameters.begin * changed + parameters.relay * others + parameters.swap * (staying < shared)
        return np.asarray(costs, np.float32)


@lru_cache(32)
def states_of(n_people: int, n_estimates: int) -> States:
    """The states of so many people."""
    owners = [
        row
        for size in range(min(n_people, n_estimates) + 1)
        for places in itertools.combinations(range(n_estimates), size)
        for people in itertools.permutations(range(n_people), size)
        for row in [[dict(zip(places, people, strict=True)).get(place, NOBODY) for place in range(n_estimates)]]
    ]
    table = np.array(owners, np.intp).reshape(len(owners), n_estimates)
    on = (table[:, None, :] == np.arange(n_people)[:, None]).reshape(len(table), n_people * n_estimates)
    return States(table, (table != NOBODY).sum(1), on.astype(np.float32), n_people)


def n_states(n_people: int, n_estimates: int) -> int:
    """How many states so many people have."""
    return sum(math.comb(n_estimates, size) * math.perm(n_people, size) for size in range(n_estimates + 1))


def decode(seen: Observations, people: Array, parameters: Parameters) -> Numbers:
    """Owners (frames, estimates) on the most probable path: the person on each estimate, or NOBODY.

    people (people, embedding), of length 1.
    """
    n_estimates = len(seen.levels)
    one, several = (seen.counts.argmax(1) == count for count in (1, 2))
    cosines = averaged(seen.embeddings[0], one, parameters.around_s) @ people.T
    of_estimates = np.stack([averaged(row, several, parameters.around_s) @ people.T for row in seen.embeddings[1:]])
    present = np.arange(len(people))
    while n_states(len(present), n_estimates) > MOST_STATES:
        presence = np.maximum(cosines, 0).sum(0) + np.maximum(of_estimates, 0).sum((0, 1))
        present = np.delete(present, presence[present].argmin())
    states = states_of(len(present), n_estimates)
    scores = _scores(seen, cosines[:, present], of_estimates[..., present], states, parameters)
    owners = states.owners[viterbi(scores, states.costs(parameters))]
    return np.append(present, NOBODY)[owners]


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


def unit(vectors: NDArray[np.floating]) -> Array:
    """Scaled to length 1 along the last axis; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def averaged(embeddings: Array, speech: Frames, around_s: float) -> Array:
    """Mean embeddings (frames, embedding), of length 1, of the speech around each frame of speech; else zeros."""
    reach = round(around_s / FRAME_S)
    sums = np.cumsum(np.pad(embeddings * speech[:, None], ((reach + 1, reach), (0, 0))), axis=0, dtype=np.float64)
    return unit(sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) * speech[:, None]


def _scores(seen: Observations, cosines: Array, of_estimates: Array, states: States, parameters: Parameters) -> Array:
    """(frames, states): cosines (frames, people) of the mixture, of_estimates (estimates, frames, people)."""
    silent, one, several = seen.counts.T
    nobody, lone, more = states.sizes == 0, states.sizes == 1, states.sizes > 1
    if not more.any():
        one = np.logaddexp(one, several)
    scores = np.empty((len(silent), len(states.sizes)), np.float32)
    scores[:, nobody] = (silent - parameters.speech)[:, None]
    if lone.any():
        likely = parameters.embedding * (cosines - cosines.max(1, keepdims=True))
        evidence = likely[..., None] + parameters.louder * plainly_louder(seen.levels).T[:, None]
        scores[:, lone] = one[:, None] + evidence.reshape(len(silent), -1) @ states.on[lone].T
    if more.any():
        evidence = parameters.estimate_embedding * of_estimates.transpose(1, 2, 0)
        evidence = evidence + parameters.louder * _not_softer(seen.levels).T[:, None]
        scores[:, more] = (several + parameters.several)[:, None] + (
            evidence.reshape(len(silent), -1) @ states.on[more].T
        )
    return scores


def plainly_louder(levels: Array) -> Array:
    """Levels (estimates, frames) in dB -> 1 where one is plainly louder than all others, -1 where one of those is."""
    if len(levels) == 1:
        return np.ones_like(levels)
    loudest_other = np.stack([np.delete(levels, row, axis=0).max(0) for row in range(len(levels))])
    return np.asarray(((levels - loudest_other) / LOUDER_DB).clip(-1, 1), np.float32)


def _not_softer(levels: Array) -> Array:
    """Levels (estimates, frames) in dB -> above 0 where an estimate holds a third talker; 0 on average of the loudest
    two, which hold the first two in any case."""
    heights = (1 + (levels - levels.max(0)) / LOUDER_DB).clip(-1, 1)
    return np.asarray(heights - np.sort(heights, axis=0)[-2:].mean(0), np.float32)
