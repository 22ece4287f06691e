"""Recordings of a benchmark by number: mixed, separated, scored, in several processes."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from conversations import own_tracks, talk
from figures import Scores
from stitching import DER_PARTS, measure

from unbabble import Separator
from unbabble.audio.filters import high_passed
from unbabble.base.parallel import in_parallel
from unbabble.evaluation.metrics import LIMIT_DB, score, si_sdr
from unbabble.mixing.plan import Plan
from unbabble.mixing.render import Mixture, Renderer
from unbabble.tracking.activity import FRAME_S, speech_frames

Samples = np.ndarray
Mixing = Callable[[int], Mixture]
CONTROLS: dict[str, Callable[[Samples], Samples]] = {  # no separations, of which no score may say that they are
    "mixture on both": lambda mixture: np.stack([mixture, mixture]),
    "mixture + silence": lambda mixture: np.stack([mixture, np.zeros_like(mixture)]),
}


@dataclass(frozen=True)
class Result:
    """What a recording was, the scores of its separation, and those of CONTROLS by their names."""

    overlap_ratio: float
    speakers: tuple[str, ...]
    scores: Scores
    controls: dict[str, Scores]


@dataclass(frozen=True)
class Rendered:
    """Mixtures from plans by number."""

    plan_of: Callable[[int], Plan]
    render: Renderer

    def __call__(self, number: int) -> Mixture:
        return self.render(self.plan_of(number))


@dataclass(frozen=True)
class WithoutTalkers:
    """The same plans, in which only the noise is heard."""

    plan_of: Callable[[int], Plan]

    def __call__(self, number: int) -> Plan:
        return replace(self.plan_of(number), talkers=())


@dataclass(frozen=True)
class Trial:
    """Mixes and scores a recording by number, on one thread.

    of_tracks: scores of whatever is taken for tracks (2, samples); with it CONTROLS are scored, too.
    """

    model: Path
    mixing: Mixing
    judge: Callable[[Mixture, Separator], Scores]
    of_tracks: Callable[[Mixture, Samples], Scores] | None = None

    def __call__(self, number: int) -> Result:
        drawn, of_tracks = self.mixing(number), self.of_tracks
        controls = (
            {name: of_tracks(drawn, make(drawn.mixture)) for name, make in CONTROLS.items()} if of_tracks else {}
        )
        speakers = tuple(talker.speaker for talker in drawn.plan.talkers)
        return Result(drawn.plan.overlap_ratio, speakers, self.judge(drawn, self._separator), controls)

    @cached_property
    def _separator(self) -> Separator:
        torch.set_num_threads(1)  # this is one of many processes, each of which has a core
        return Separator(self.model, threads=1)


def run(trial: Trial, count: int, jobs: int) -> list[Result]:
    """The results of the first so many recordings."""
    results = []
    for result in in_parallel(trial, range(count), jobs):
        results.append(result)
        if sys.stderr.isatty():
            print(f"\r{len(results)}/{count} ", end="", file=sys.stderr, flush=True)
    return results


def two_talkers(drawn: Mixture, separator: Separator) -> Scores:
    """Scores of the tracks, and of what the network gives for the whole mixture at once."""
    tracks, network, n_heard = separate(drawn.mixture, separator)
    by_network = score(network, drawn.sources, drawn.mixture, separator.model.sample_rate)
    return {
        **pair_scores(drawn, tracks),
        **{f"network_{name}": by_network[name] for name in ("si_sdr", "si_sdri")},
        "count_accuracy": float(n_heard == 2),
    }


def pair_scores(drawn: Mixture, tracks: Samples) -> Scores:
    """Of any two tracks (2, samples)."""
    found = score(tracks, drawn.sources, drawn.mixture, drawn.plan.sample_rate)
    return {**found, "made_worse": float(found["si_sdri"] < 0)}


def one_talker(drawn: Mixture, separator: Separator) -> Scores:
    """What the talker's track, the louder, has lost, and how far the other is below it: dB, at most LIMIT_DB."""
    tracks, _, n_heard = separate(drawn.mixture, separator)
    power = np.square(tracks, dtype=float).sum(1) + 1e-12
    lost = si_sdr(tracks[[power.argmax()]], drawn.mixture[np.newaxis], separator.model.sample_rate)
    return {
        "track_si_sdr": min(float(lost[0]), LIMIT_DB),
        "other_track_below": min(float(10 * np.log10(power.max() / power.min())), LIMIT_DB),
        "count_accuracy": float(n_heard == 1),
    }


def nobody(drawn: Mixture, separator: Separator) -> Scores:
    """Whether nobody is heard where nobody talks."""
    return {"count_accuracy": float(separate(drawn.mixture, separator)[2] == 0)}


def conversation(drawn: Mixture, separator: Separator) -> Scores:
    """What benchmarks/stitching.py measures of the model's estimates, put together by unbabble."""
    found = measure(talk("", drawn, separator, np.random.default_rng(0)), "model", separator)
    errors = {name.replace(" ", "_"): found[name] for name in DER_PARTS if name in found}
    return {"on_own_track": found["own track"], **errors}


def own_track_score(drawn: Mixture, tracks: Samples) -> Scores:
    """Of any two tracks (2, samples)."""
    rate = drawn.plan.sample_rate
    truth = speech_frames(drawn.dry_sources, rate)
    return {"on_own_track": own_tracks(tracks, drawn.sources, truth, round(FRAME_S * rate))[0]}


def separate(mixture: Samples, separator: Separator) -> tuple[Samples, Samples, int]:
    """Tracks as `unbabble separate` makes them, what the network gives for all at once, how many are heard.

    mixture: (samples,) at the model's rate; both separations: (2, samples).
    """
    rate = separator.model.sample_rate
    with separator.two_pass(rate) as passes:
        passes.push(mixture)
        passes.finish()
        tracks = np.concatenate(list(passes.tracks()), axis=1)
        n_heard = len(passes.active_speakers)
    return tracks, separator.engine(high_passed(mixture, rate)[np.newaxis])[0], n_heard
