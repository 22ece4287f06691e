"""Who talks in each frame of a window, and which estimate is whose: the likeliest path through all that is known."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from unbabble.tracking.activity import FRAME_S

Array = NDArray[np.float32]
Numbers = NDArray[np.intp]

SILENT, SEVERAL = -1, -2  # in place of the track of the only one who talks
IMPOSSIBLE = 1e6
HELD_S = 8.0  # over longer stretches, networks lose their talkers more and more
MOST_ORDERED = 4  # tracks, all orders of which are tried
DOUBT = 4  # power of how far estimates are apart, with which less speaks for holding them


@dataclass(frozen=True)
class Weights:
    """What evidence counts in a frame, and what changes cost, as logarithms of probabilities.

    Found on mixtures and conversations of validation speakers.
    """

    speech: float = 1.5  # for speech: losing a word is worse than keeping a breath
    several: float = 0.7  # for several talkers: separating one does less harm than not separating two
    voice: float = 0.7  # cosine of what is heard and a talker's voice, where one talks
    estimate_voice: float = 0.5  # the same of the estimates, where several talk
    nearby: float = 0.2  # the louder estimate is the talker's who talks alone, for the while
    agreement: float = 1.0  # correlation of estimates with the tracks of the window before
    memory: float = 2.0  # what the window before has decided
    begin: float = 3.0  # a change between silence, one and several
    relay: float = 5.0  # another talker without a pause
    swap: float = 3.0  # estimates that change talkers within a window
    hold: float = 60.0  # for estimates that never do, in windows of up to HELD_S, if they are wholly apart
    louder: float = 1.5  # where they never do: the louder estimate is that of the talker
    even: float = 1.0  # and estimates that are about as loud, for several talkers
    plain: float = 0.9  # how much louder one must be, 0 to 1, for the other to be of nobody


@dataclass(frozen=True)
class Evidence:
    """What is known of the frames of a window.

    counts (frames, 3): log-probabilities of 0, 1 and more talkers; voices (frames, voice): directions of what is
    heard; estimate_voices (estimates, frames, voice); louder (estimates, frames): 1 where one is plainly the loudest,
    -1 where it is plainly not; apart: how surely each estimate is one talker's, 0 to 1; orders (orders, tracks):
    those to choose from; agreement (orders, frames): of the estimates, so ordered, with the tracks of the window
    before; earlier (frames,): what that window decided, as far as it reached; talkers (tracks, voice): directions,
    zeros where nobody is known.
    """

    counts: Array
    voices: Array
    estimate_voices: Array
    louder: Array
    apart: float
    orders: Numbers
    agreement: Array
    earlier: Numbers
    talkers: Array

    @property
    def n_known(self) -> int:
        """Talkers whose voice is known."""
        return int(self.talkers.any(1).sum())


@dataclass(frozen=True)
class Decision:
    """For each frame, who talks (a track, SILENT or SEVERAL) and the order: estimate ``order[track]`` is the track's.

    steady: whether each estimate was found to be one talker's all the time.
    """

    who: Numbers  # (frames,)
    orders: Numbers  # (frames, tracks)
    steady: bool


def decide(evidence: Evidence, weights: Weights) -> Decision:
    """The likeliest decision; one that holds each estimate for one talker throughout, unless that is far less likely.

    States are pairs of a mode (who talks) and an order.
    """
    modes = np.array([SILENT, SEVERAL, *range(len(evidence.talkers))])
    n_frames, n_orders = len(evidence.counts), len(evidence.orders)
    scores = _mode_scores(evidence, modes, weights)[:, :, None] + _order_scores(evidence, modes, weights)
    held_scores = scores + _held_scores(evidence, modes, weights)
    mode_costs, another_order = _mode_costs(modes, weights)[:, None, :, None], 1 - np.eye(n_orders)[None, :, None]
    costs, held_costs = mode_costs + weights.swap * another_order, mode_costs + IMPOSSIBLE * another_order

    n_states = len(modes) * n_orders
    scores, held_scores = (values.reshape(n_frames, n_states) for values in (scores, held_scores))
    costs, held_costs = (values.reshape(n_states, n_states) for values in (costs, held_costs))
    path, held_path = likeliest(scores, costs), likeliest(held_scores, held_costs)
    hold = weights.hold * evidence.apart**DOUBT * min(1.0, HELD_S / (n_frames * FRAME_S))
    worse = _score_of(path, scores, costs) - _score_of(held_path, scores, costs)
    steady = evidence.n_known > 1 and worse < hold
    chosen = held_path if steady else path
    who, orders = modes[chosen // n_orders], evidence.orders[chosen % n_orders]
    if steady:
        alone = np.flatnonzero(who >= 0)
        even = evidence.louder[orders[alone, who[alone]], alone] < weights.plain
        who[alone[even]] = SEVERAL
    return Decision(who, orders, steady)


def likeliest(scores: NDArray[np.floating], costs: NDArray[np.floating]) -> Numbers:
    """States (frames,) of the best sum of scores (frames, states) less the costs (states, states) of changes.

    The algorithm of Viterbi.
    """
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
    """What ``likeliest`` makes as large as it can."""
    return float(scores[np.arange(len(path)), path].sum() - costs[path[:-1], path[1:]].sum())


def _mode_scores(evidence: Evidence, modes: Numbers, weights: Weights) -> Array:
    """(frames, modes): how many talk, and whose voice it is where it is one."""
    known = evidence.talkers.any(1)
    silent, one, several = evidence.counts.T
    cosines = evidence.voices @ evidence.talkers.T
    scores = np.empty((len(silent), len(modes)), np.float32)
    scores[:, 0] = silent - weights.speech
    if evidence.n_known > 1:
        scores[:, 1] = several + weights.several
        scores[:, 2:] = one[:, None] + weights.voice * (cosines - cosines.max(1, keepdims=True))
    else:
        scores[:, 1] = -IMPOSSIBLE
        scores[:, 2:] = np.logaddexp(one, several)[:, None]
    scores[:, 2:][:, ~known] = -IMPOSSIBLE
    n_earlier = len(evidence.earlier)
    fading = 1 - np.arange(n_earlier) / max(1, n_earlier)
    for number, mode in enumerate(modes):
        scores[:n_earlier, number] += weights.memory * fading * (evidence.earlier == mode)
    return scores


def _order_scores(evidence: Evidence, modes: Numbers, weights: Weights) -> Array:
    """(frames, modes, orders): whose the estimates are."""
    scores = np.zeros((len(evidence.counts), len(modes), len(evidence.orders)), np.float32)
    if len(evidence.orders) == 1:
        return scores
    cosines = np.einsum("efv,tv->fet", evidence.estimate_voices, evidence.talkers)
    tracks = np.arange(len(evidence.talkers))
    for number, order in enumerate(evidence.orders):
        scores[:, 1, number] = weights.estimate_voice * cosines[:, order, tracks].sum(1)
        scores[: evidence.agreement.shape[1], 1, number] += weights.agreement * evidence.agreement[number]
        scores[:, 2:, number] = weights.nearby * evidence.louder[order].T
    return scores


def _held_scores(evidence: Evidence, modes: Numbers, weights: Weights) -> Array:
    """(frames, modes, orders): what the levels of the estimates tell, if each is one talker's all the time."""
    scores = np.zeros((len(evidence.counts), len(modes), len(evidence.orders)), np.float32)
    scores[:, 1] = weights.even * (1 - evidence.louder.max(0))[:, None]
    for number, order in enumerate(evidence.orders):
        scores[:, 2:, number] = weights.louder * evidence.louder[order].T
    return scores


def _mode_costs(modes: Numbers, weights: Weights) -> Array:
    """(modes, modes): of going from one to another."""
    costs = np.full((len(modes), len(modes)), weights.begin, np.float32)
    costs[2:, 2:] = weights.relay
    np.fill_diagonal(costs, 0)
    return costs


def orders_to_try(tail: Array, estimates: Array) -> Numbers:
    """Orders (orders, tracks) of estimates (estimates, samples): all, or where those are too many the one whose
    beginning correlates best with the ``tail`` (tracks, samples) of the window before."""
    n_tracks, n_estimates = len(tail), len(estimates)
    if n_tracks != n_estimates:
        return np.arange(n_tracks)[None]
    if n_tracks <= MOST_ORDERED:
        return np.array(list(permutations(range(n_tracks))))
    return np.array([best_order(tail, estimates[:, : tail.shape[1]])])


def best_order(before: Array, after: Array) -> tuple[int, ...]:
    """Permutation p for which before[i] and after[p[i]], both (tracks, samples), correlate best in sum."""
    products = before.astype(np.float64) @ after.T.astype(np.float64)
    rows = np.arange(len(products))
    orders = list(permutations(range(len(products))))
    return orders[int(np.argmax([products[rows, order].sum() for order in orders]))]


def agreement_of(tail: Array, estimates: Array, orders: Numbers, frame: int) -> Array:
    """(orders, frames): how alike the tail of the window before and the estimates in each order are, -1 to 1."""
    n_frames = min(tail.shape[1], estimates.shape[1]) // frame
    before, after = (
        signals[:, : n_frames * frame].reshape(len(signals), n_frames, frame) for signals in (tail, estimates)
    )
    products = np.einsum("tfs,efs->fte", before, after)
    power = (np.square(before).sum((0, 2)) + np.square(after).sum((0, 2))) / 2 + 1e-9
    tracks = np.arange(len(tail))
    return np.stack([products[:, tracks, order].sum(1) / power for order in orders])
