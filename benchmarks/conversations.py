"""Conversations whose truth is known, what the networks make of them, and how well tracks keep their people.

For stitching.py and tune_tracking.py, which run with this folder on their path.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from unbabble import Separator
from unbabble.audio.filters import high_passed
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.inference.windows import Separated, SeparatedWindows, WindowJoiner
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import Conversation, MixtureRecipe, WeightedRecipe
from unbabble.tracking.activity import FRAME_S, Turn, runs, speech_frames
from unbabble.tracking.parameters import Parameters
from unbabble.tracking.people import Bounds, Pieces, find_people, pieces_of
from unbabble.tracking.stitch import Stitcher, WindowFrames, observe
from unbabble.tracking.viterbi import Observations

STYLES = {
    "calm": Conversation(
        overlap_probability=0.0, backchannel_probability=0.05, long_pause_probability=0.05, long_pause_s=(5.0, 60.0)
    ),
    "talk": Conversation(long_pause_probability=0.05, long_pause_s=(5.0, 60.0)),
    "lively": Conversation(
        pause_s=(0.0, 1.0), overlap_probability=0.6, overlap_s=(0.3, 2.5), backchannel_probability=0.3
    ),
}
BLOCK = 6  # frames: 240 ms
UTTERANCE_GAP_S = 0.5

Windows = Sequence[tuple[Separated, Observations]]


@dataclass(frozen=True)
class Talk:
    """A conversation and its windows: ``oracle`` holds the truth on as many outputs as the model has, utterances on
    any free one; ``model`` the model's estimates. truth (people, frames); sources (people, samples)."""

    style: str
    sources: np.ndarray
    truth: np.ndarray
    windows: dict[str, Windows]
    separator: Separator

    @property
    def n_people(self) -> int:
        return len(self.sources)

    @property
    def frame(self) -> int:
        return frames_of(self.separator).frame

    def own_tracks(self, tracks: np.ndarray) -> tuple[float, dict[int, int]]:
        return own_tracks(tracks, self.sources, self.truth, self.frame)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What all benchmarks of conversations are told."""
    parser.add_argument("--model", default="default", help="a bundled model's name, or a model folder")
    parser.add_argument("--diarizer", default="diarizer", help="likewise")
    add_data_arguments(parser)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """What mixtures are made of."""
    parser.add_argument("--speech", type=Path, action="append", required=True, help="corpus folder or manifest")
    parser.add_argument("--noise", type=Path, action="append", help="folder of noises, for the rooms with noise")
    parser.add_argument("--splits", type=Path, help="JSON {split: {corpus: [name, ...]}}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="folder for decoded speech")


def conversations(
    options: argparse.Namespace,
    separator: Separator,
    split: str,
    n_people: int,
    minutes: float,
    count: int,
    noisy: bool,
) -> Iterator[Talk]:
    """So many, of the styles in turn."""
    heard = scan_corpora(options.speech, options.noise or [])
    heard = heard.in_split(split, options.splits) if options.splits else heard
    audio = DecodedAudio(separator.model.sample_rate, options.cache)
    for number in range(count):
        style = ("talk", "calm", "lively")[number % 3]
        recipe = MixtureRecipe(
            sample_rate=separator.model.sample_rate,
            duration_s=minutes * 60,
            timeline=STYLES[style],
            level_db=(-5.0, 5.0),
            n_speakers=n_people,
        )
        if not noisy:
            recipe = replace(recipe, noise_snr_db=None, room=None)
        seed = options.seed + 1000 * n_people + number
        mixer = Mixer(heard.speech, heard.noise if noisy else None, (WeightedRecipe(1.0, recipe),), audio, seed)
        yield talk(style, mixer(0), separator, np.random.default_rng(seed))


def talk(style: str, drawn, separator: Separator, rng: np.random.Generator) -> Talk:
    """A conversation through the networks."""
    rate = separator.model.sample_rate
    truth, frames = speech_frames(drawn.dry_sources, rate), frames_of(separator)
    model = separated(drawn.mixture, separator)
    oracle = []
    for number, one in enumerate(model):
        sources = drawn.sources[:, number * frames.step :][:, : one.mixture.size]
        speech = truth[:, frames.first(number) :]
        estimates = on_outputs(sources, speech, len(one.estimates), frames.frame, rng)
        oracle.append(replace(one, estimates=estimates))
    windows = {"oracle": observed(oracle, separator), "model": observed(model, separator)}
    return Talk(style, drawn.sources, truth, windows, separator)


def separated(mixture: np.ndarray, separator: Separator) -> list[Separated]:
    """The windows of a mixture (samples,) at the model's rate."""
    rate = separator.model.sample_rate
    window, overlap = round(separator.window_s * rate), round(separator.overlap_s * rate)
    windows = SeparatedWindows(window, overlap, rate, separator.engine.submit, separator.engine.at_once)
    return [*windows.push(high_passed(mixture, rate)[np.newaxis]), *windows.finish()]


def observed(windows: Sequence[Separated], separator: Separator) -> Windows:
    rate, diarizer = separator.model.sample_rate, separator.diarizer
    return [(one, observe(one.mixture, one.estimates, rate, diarizer)) for one in windows]


def frames_of(separator: Separator) -> WindowFrames:
    rate = separator.model.sample_rate
    return WindowFrames(rate, round(separator.window_s * rate), round(separator.overlap_s * rate))


def on_outputs(
    sources: np.ndarray, truth: np.ndarray, n_outputs: int, frame: int, rng: np.random.Generator
) -> np.ndarray:
    """The sources of a window (people, samples) on so many outputs: each on its own where that is possible, else each
    utterance on any that is free."""
    outputs = np.zeros((n_outputs, sources.shape[1]), np.float32)
    if len(sources) <= n_outputs:
        outputs[rng.permutation(n_outputs)[: len(sources)]] = sources
        return outputs
    utterances = []
    n_frames = -(-sources.shape[1] // frame)
    for person, row in enumerate(truth[:, :n_frames]):
        joined: list[list[int]] = []
        for start, stop in runs(row):
            if joined and (start - joined[-1][1]) * FRAME_S < UTTERANCE_GAP_S:
                joined[-1][1] = stop
            else:
                joined.append([start, stop])
        middles = [(one[1] + other[0]) // 2 for one, other in itertools.pairwise(joined)]
        edges = [0, *middles, n_frames]
        utterances += [(*one, person, *edges[n : n + 2]) for n, one in enumerate(joined)]
    busy = np.zeros(n_outputs)
    for start, stop, person, first, last in sorted(utterances):
        free = np.flatnonzero(busy <= start)
        output = int(rng.choice(free)) if len(free) else int(busy.argmin())
        outputs[output, first * frame : last * frame] += sources[person, first * frame : last * frame]
        busy[output] = max(busy[output], stop)
    return outputs


def stitched(
    windows: Windows, separator: Separator, speakers: object, parameters: Parameters | None = None
) -> tuple[np.ndarray, tuple[Turn, ...]]:
    """Tracks (people found, samples) and turns, decided with hindsight; parameters: instead of the diarizer's."""
    parameters, frames = parameters or separator.diarizer.parameters, frames_of(separator)
    pieces = [pieces_of(seen, frames.unheard(n), parameters) for n, (_, seen) in enumerate(windows)]
    size, rate = separator.diarizer.embedding_size, separator.model.sample_rate
    people = find_people(Pieces.joined(pieces, size), Bounds.of(speakers), parameters)
    stitcher, joiner = Stitcher(frames, parameters), WindowJoiner(round(separator.overlap_s * rate))
    tracks = [
        joiner.push(stitcher.push(one.mixture, one.estimates, seen, people) / one.gain) for one, seen in windows
    ]
    whole = np.concatenate([*tracks, joiner.finish()], axis=1)
    return whole, stitcher.turns(whole.shape[1] / rate)


def own_tracks(
    tracks: np.ndarray, sources: np.ndarray, truth: np.ndarray, frame: int
) -> tuple[float, dict[int, int]]:
    """The fraction of active time in which people are on their own tracks, for the best choice; that choice.

    In blocks of 240 ms: the track that holds more of a person's signal than all others is the one that they are on.
    sources (people, samples); truth (people, frames): who talks; frame: in samples.
    """
    block, n_people = BLOCK * frame, len(sources)
    n_blocks = sources.shape[1] // block
    active = truth[:, : n_blocks * BLOCK].reshape(n_people, -1, BLOCK).sum(2)
    time = np.zeros((n_people, max(1, len(tracks))))
    for number in range(n_blocks if len(tracks) else 0):
        now = slice(number * block, (number + 1) * block)
        alike = np.abs(sources[:, now] @ tracks[:, now].T)
        second, first = np.sort(np.pad(alike, ((0, 0), (1, 0))), axis=1)[:, -2:].T
        on = np.flatnonzero(first > second)
        time[on, alike[on].argmax(1)] += active[on, number]
    people, chosen = linear_sum_assignment(-time)
    own = {person: track for person, track in zip(people.tolist(), chosen.tolist(), strict=True) if len(tracks)}
    return float(time[people, chosen].sum() / active.sum()), own


def si_sdr(tracks: np.ndarray, talk: Talk, chosen: dict[int, int]) -> float:
    """Mean over people of the SI-SDR in dB of their tracks while they talk; people without a track count as 0 dB."""
    scores = []
    for person, track in chosen.items():
        heard = np.repeat(talk.truth[person], talk.frame)[: tracks.shape[1]]
        source, estimate = (one[: heard.size][heard] for one in (talk.sources[person], tracks[track]))
        target = (estimate @ source) / (source @ source) * source
        scores.append(10 * np.log10((target @ target + 1e-12) / (np.square(estimate - target).sum() + 1e-12)))
    return float(np.sum(scores) / talk.n_people)
