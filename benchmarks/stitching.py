"""Whether people keep their tracks: conversations, stitched by unbabble, by correlation, and not at all.

    python benchmarks/stitching.py --speech DIR --noise DIR --splits FILE [--people 2 3 4 6] [--minutes 5 30]
    pip install pyannote.metrics    (for the diarization error rate; left out where it is missing)

Conversations are of three styles in turn: calm (no interruptions), talk, and lively (about 40 % of the speech is
overlapped); turns of 1 to 8 s, backchannels, pauses of up to a minute. Columns:

- own track: the share of active time in which people are on their own tracks (``own_tracks`` says how it is measured)
  where unbabble finds out how many there are; known: where it is told. Speech on no track, or on another's, is lost.
- count right: conversations in which as many people were found as talk.
- by correlation: each window is ordered by how it correlates with the one before where they overlap, as most programs
  do; by output: one track for each output of the network. Both have as many tracks as the network has outputs.
- DER and its parts: of who talks when, without a collar, overlaps included.
- SI-SDR: of people's own tracks, while they talk.

Windows hold the model's estimates, or the truth on the same number of outputs ("oracle").
"""

import argparse
import itertools
import json
import platform
from pathlib import Path

import numpy as np
from conversations import Talk, add_arguments, conversations, si_sdr, stitched

from unbabble import Separator
from unbabble.inference.windows import WindowJoiner
from unbabble.tracking.activity import Turn, turns_of

COLUMNS = ("own track", "known", "count right", "by correlation", "by output")
DER_PARTS = ("diarization error rate", "missed detection", "false alarm", "confusion")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--split", default="test")
    parser.add_argument("--people", type=int, nargs="+", default=[2, 3, 4, 6])
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 30])
    parser.add_argument("--counts", type=int, nargs="+", default=[6, 1], help="conversations of each length")
    parser.add_argument("--where", nargs="+", choices=["clean", "room"], default=["clean", "room"])
    parser.add_argument("--json", type=Path, help="write the figures of every conversation to this file")
    options = parser.parse_args()
    separator = Separator(options.model, diarizer=options.diarizer)
    version = (
        f"model {separator.model.name} {separator.model.version}, diarizer {separator.diarizer.folder.path.name}"
    )
    print(f"{platform.machine()}, {version}, split {options.split}\n")
    header = (
        "people",
        "minutes",
        "where",
        "windows",
        *COLUMNS,
        "DER",
        "missed",
        "false alarm",
        "confusion",
        "SI-SDR",
    )
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    figures = []
    lengths = list(zip(options.minutes, options.counts, strict=True))
    for where, n_people, (minutes, count) in itertools.product(options.where, options.people, lengths):
        noisy, measured = where == "room", []
        for talk in conversations(options, separator, options.split, n_people, minutes, count, noisy):
            measured += [measure(talk, name, separator) for name in ("oracle", "model")]
        figures += [{"people": n_people, "minutes": minutes, "where": where, **one} for one in measured]
        for name in ("oracle", "model"):
            rows = [one for one in measured if one["windows"] == name]
            print(f"| {n_people} | {minutes:g} | {where} | {name} | {' | '.join(cells(rows))} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def cells(rows: list[dict]) -> list[str]:
    """Means over conversations."""
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key not in ("windows", "style")}
    shares = [f"{mean[key]:.1%}" if key in mean else "-" for key in (*COLUMNS, *DER_PARTS)]
    return [*shares, f"{mean['SI-SDR']:.1f} dB"]


def measure(talk: Talk, name: str, separator: Separator) -> dict:
    """The figures of one conversation."""
    windows, overlap = talk.windows[name], round(separator.overlap_s * separator.model.sample_rate)
    tracks, turns = stitched(windows, separator, "auto")
    known, _ = stitched(windows, separator, talk.n_people)
    share, chosen = talk.own_tracks(tracks)
    estimates = [one.estimates for one, _ in windows]
    return {
        "windows": name,
        "style": talk.style,
        "own track": share,
        "known": talk.own_tracks(known)[0],
        "count right": float(len({turn.speaker for turn in turns}) == talk.n_people),
        "by correlation": talk.own_tracks(joined(by_correlation(estimates, overlap), overlap))[0],
        "by output": talk.own_tracks(joined(estimates, overlap))[0],
        "SI-SDR": si_sdr(tracks, talk, chosen),
        **error_rate(turns_of(talk.truth), turns),
    }


def by_correlation(windows: list[np.ndarray], overlap: int) -> list[np.ndarray]:
    """The estimates of each window in the order in which they correlate best with those of the window before."""
    ordered = windows[:1]
    for window in windows[1:]:
        alike = ordered[-1][:, -overlap:] @ window[:, :overlap].T
        rows = range(len(window))
        best = max(itertools.permutations(rows), key=lambda order: alike[rows, order].sum())
        ordered.append(window[list(best)])
    return ordered


def joined(windows: list[np.ndarray], overlap: int) -> np.ndarray:
    joiner = WindowJoiner(overlap)
    return np.concatenate([*map(joiner.push, windows), joiner.finish()], axis=1)


def error_rate(truth: tuple[Turn, ...], found: tuple[Turn, ...]) -> dict[str, float]:
    try:
        from pyannote.core import Annotation, Segment
        from pyannote.metrics.diarization import DiarizationErrorRate
    except ImportError:
        return {}

    def annotation(turns: tuple[Turn, ...]) -> Annotation:
        noted = Annotation()
        for number, turn in enumerate(turns):
            noted[Segment(turn.start_s, turn.end_s), number] = turn.speaker
        return noted

    parts = DiarizationErrorRate()(annotation(truth), annotation(found), detailed=True)
    return {DER_PARTS[0]: parts[DER_PARTS[0]]} | {key: parts[key] / parts["total"] for key in DER_PARTS[1:]}


if __name__ == "__main__":
    main()
