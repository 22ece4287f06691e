"""Whether talkers keep their tracks: conversations of two, in windows, put together by unbabble and by correlation.

    python benchmarks/stitching.py --speech DIR --splits FILE [--minutes 2 10 60] [--counts 8 2 1]
    pip install pyannote.metrics    (for the diarization error rate; left out where it is missing)

Conversations have turns of 1 to 8 s, pauses, one turn in twenty after a pause of up to 60 s, interruptions of up to
2 s and backchannels. The table has the share of active time in which each talker is on their own track: blocks of
240 ms in which that track holds more of the talker's signal than the other does, weighted by how long the talker is
active in them; speech that is on no track, or on the track of somebody who talks at the same time, counts as lost.

Windows hold the truth, in an order drawn for each ("oracle"), or the model's estimates. "by correlation": each
window is ordered by how it correlates with the one before where they overlap, as most programs do. DER: of the
activity of the tracks, without a collar, overlaps included.
"""

import argparse
import itertools
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unbabble import Separator
from unbabble.audio.filters import high_passed
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.inference.windows import Known, LongSeparation, Pending, Stitches
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import Conversation, MixtureRecipe, WeightedRecipe
from unbabble.mixing.render import Mixture
from unbabble.tracking.activity import FRAME_S, Turn, speech_frames, turns_of
from unbabble.tracking.stitch import Stitcher, best_permutation

TALK = Conversation(long_pause_probability=0.05, long_pause_s=(5.0, 60.0))
BLOCK_S = 0.24  # six frames
Separate = Callable[[np.ndarray], Pending]  # of a window (1, samples)


class ByCorrelation:
    """Stitcher that orders each window after the one before."""

    def __init__(self, overlap: int) -> None:
        self.overlap, self.tail = overlap, None

    def push(self, _mixture: np.ndarray, estimates: np.ndarray) -> np.ndarray:
        if self.tail is not None:
            estimates = estimates[list(best_permutation(self.tail, estimates[:, : self.overlap]))]
        self.tail = estimates[:, -self.overlap :]
        return estimates


def main() -> None:
    options = parse()
    separator = Separator(options.model)
    if len(options.counts) != len(options.minutes):
        sys.exit("give as many --counts as --minutes")
    print(f"{platform.machine()}, model {separator.model.name} {separator.model.version}, split {options.split}\n")
    print(
        "| minutes | conversations | windows | by correlation | unbabble | DER | missed | false alarm | confusion |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    figures = []
    for minutes, count in zip(options.minutes, options.counts, strict=True):
        mixer = conversations(minutes, options)
        results: dict[str, list[dict[str, float]]] = {"oracle": [], "model": []}
        for number in range(count):
            drawn = mixer(number)
            rate = separator.model.sample_rate
            step = round(separator.window_s * rate) - round(separator.overlap_s * rate)
            for name, separate in (("oracle", oracle(drawn, number, step)), ("model", separator.engine.submit)):
                results[name].append(measure(drawn, separate, separator))
        for name, rows in results.items():
            mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
            figures.append({"minutes": minutes, "conversations": count, "windows": name, **mean})
            ders = " | ".join(f"{mean[key]:.1%}" if key in mean else "-" for key in DER_PARTS)
            print(
                f"| {minutes:g} | {count} | {name} | {mean['correlation']:.1%} | {mean['unbabble']:.1%} | {ders} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a bundled model's name, or a model folder")
    parser.add_argument("--speech", type=Path, action="append", required=True, help="corpus folder or manifest")
    parser.add_argument(
        "--noise", type=Path, action="append", help="folder of noises: rooms and noise as in the paper"
    )
    parser.add_argument("--splits", type=Path, help="JSON {split: {corpus: [name, ...]}}")
    parser.add_argument("--split", default="test")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 60])
    parser.add_argument("--counts", type=int, nargs="+", default=[8, 2, 1], help="conversations of each length")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="folder for decoded speech")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def conversations(minutes: float, options: argparse.Namespace) -> Mixer:
    heard = scan_corpora(options.speech, options.noise or [])
    heard = heard.in_split(options.split, options.splits) if options.splits else heard
    recipe = MixtureRecipe(duration_s=minutes * 60, timeline=TALK, level_db=(-5.0, 5.0))
    if not options.noise:
        recipe = replace(recipe, noise_snr_db=None, room=None)
    audio = DecodedAudio(recipe.sample_rate, options.cache)
    return Mixer(heard.speech, heard.noise, (WeightedRecipe(1.0, recipe),), audio, options.seed)


def oracle(drawn: Mixture, seed: int, step: int) -> Separate:
    """The sources themselves, in any order."""
    rng, starts = np.random.default_rng(seed), itertools.count(0, step)

    def separate(window: np.ndarray) -> Known:
        start = next(starts)
        return Known(drawn.sources[np.newaxis, rng.permutation(2), start : start + window.shape[1]])

    return separate


def measure(drawn: Mixture, separate: Separate, separator: Separator) -> dict[str, float]:
    """Shares kept by both ways of stitching, and the parts of the diarization error rate where it can be had."""
    rate, overlap = drawn.plan.sample_rate, round(separator.overlap_s * drawn.plan.sample_rate)
    truth, mixture = speech_frames(drawn.dry_sources, rate), high_passed(drawn.mixture, rate)
    estimates = Kept(separate)
    stitcher = Stitcher(2, rate, overlap, separator.diarizer)
    kept = {"unbabble": share_kept(in_windows(mixture, estimates, stitcher, separator), drawn.sources, truth, rate)}
    again = iter(estimates.kept)
    by_correlation = in_windows(mixture, lambda _: next(again), ByCorrelation(overlap), separator)
    kept["correlation"] = share_kept(by_correlation, drawn.sources, truth, rate)
    return kept | error_rate(turns_of(truth), stitcher.turns)


class Kept:
    """Separates windows and keeps their estimates."""

    def __init__(self, separate: Separate) -> None:
        self._separate, self.kept = separate, list[Known]()

    def __call__(self, window: np.ndarray) -> Known:
        self.kept.append(Known(self._separate(window).result()))
        return self.kept[-1]


def in_windows(mixture: np.ndarray, separate: Separate, stitcher: Stitches, separator: Separator) -> np.ndarray:
    """A mixture (samples,) at the model's rate in the windows of a separator -> two tracks (2, samples)."""
    rate = separator.model.sample_rate
    window, overlap = round(separator.window_s * rate), round(separator.overlap_s * rate)
    separation = LongSeparation(window, overlap, rate, separate, stitcher, n_tracks=2)
    return np.concatenate([separation.push(mixture[np.newaxis]), separation.finish()], axis=1)


def share_kept(tracks: np.ndarray, sources: np.ndarray, truth: np.ndarray, rate: int) -> float:
    """The share of active time in which talkers are on their own tracks, for the better choice of tracks."""
    block = round(BLOCK_S * rate)
    frames = round(BLOCK_S / FRAME_S)
    active_s = np.zeros((len(sources), 2))  # by the track that holds more of the talker
    total_s = 0.0
    for number in range(tracks.shape[1] // block):
        now = slice(number * block, (number + 1) * block)
        alike = np.abs(sources[:, now] @ tracks[:, now].T)
        active = truth[:, number * frames : (number + 1) * frames].sum(1) * FRAME_S
        total_s += active.sum()
        active_s[:, 0] += active * (alike[:, 0] > alike[:, 1])
        active_s[:, 1] += active * (alike[:, 1] > alike[:, 0])
    return (
        max(sum(active_s[talker, track] for talker, track in enumerate(p)) for p in itertools.permutations(range(2)))
        / total_s
    )


DER_PARTS = ("diarization error rate", "missed detection", "false alarm", "confusion")


def error_rate(truth: tuple[Turn, ...], found: tuple[Turn, ...]) -> dict[str, float]:
    try:
        from pyannote.core import Annotation, Segment
        from pyannote.metrics.diarization import DiarizationErrorRate
    except ImportError:
        return {}

    def annotation(turns: tuple[Turn, ...]) -> Any:
        noted = Annotation()
        for number, turn in enumerate(turns):
            noted[Segment(turn.start_s, turn.end_s), number] = turn.speaker
        return noted

    parts = DiarizationErrorRate()(annotation(truth), annotation(found), detailed=True)
    return {DER_PARTS[0]: parts[DER_PARTS[0]]} | {key: parts[key] / parts["total"] for key in DER_PARTS[1:]}


if __name__ == "__main__":
    main()
