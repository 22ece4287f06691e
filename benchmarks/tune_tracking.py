"""Find the numbers of tracking for a diarizer, on conversations of validation speakers; or what each of them brings.

    python benchmarks/tune_tracking.py --speech DIR --noise DIR --splits FILE [--into DIARIZER_FOLDER]
    python benchmarks/tune_tracking.py --speech DIR --noise DIR --splits FILE --ablate

Tuning goes through the numbers in turn and keeps a change that betters the goal: the share of active time on one's
own track, of the model's windows, half where the number of people is found out and half where it is told, less half
the false alarms (in frames, of the speech). The ablation takes away one term at a time: a weight of 0, no
cost, no averaging. ``--into`` writes the result into the folder's card as ``tracking``.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from conversations import Talk, add_arguments, conversations, stitched

from unbabble import Separator
from unbabble.tracking.activity import FRAME_S, Turn
from unbabble.tracking.parameters import Parameters

TRIED = {  # factors, or numbers to add
    "alike": (-0.1, -0.05, 0.05, 0.1),
    **dict.fromkeys(("needed_s", "needed_ratio", "piece_s", "shortest_piece_s", "alone_s"), (0.5, 0.7, 1.4, 2.0)),
    **dict.fromkeys(("speech", "several", "embedding", "estimate_embedding", "louder"), (0.5, 0.7, 1.4, 2.0)),
    **dict.fromkeys(("begin", "relay", "swap", "around_s"), (0.5, 0.7, 1.4, 2.0)),
}
ABLATED = {
    "speech": 0.0,
    "several": 0.0,
    "embedding": 0.0,
    "estimate_embedding": 0.0,
    "louder": 0.0,
    "begin": 0.0,
    "relay": 0.0,
    "swap": 0.0,
    "around_s": 0.0,
    "needed_s": 0.0,
    "shortest_piece_s": 0.1,
    "piece_s": 60.0,
}
SETS = ((2, False), (3, False), (4, False), (6, False), (1, True), (2, True), (4, True))  # people, in a room or not


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--split", default="valid")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--count", type=int, default=3, help="conversations of each number of people")
    parser.add_argument("--rounds", type=int, default=2, help="how often to go through the numbers")
    parser.add_argument("--ablate", action="store_true", help="show what each number brings, and change none")
    parser.add_argument("--into", type=Path, help="folder of the diarizer whose card is to have the numbers")
    options = parser.parse_args()
    separator = Separator(options.model, diarizer=options.diarizer)
    talks = [
        talk
        for n_people, noisy in SETS
        if options.noise or not noisy
        for talk in conversations(options, separator, options.split, n_people, options.minutes, options.count, noisy)
    ]
    if options.ablate:
        ablate(talks, separator.diarizer.parameters)
        return
    tuned = tune(talks, separator.diarizer.parameters, options.rounds)
    print(json.dumps(asdict(tuned), indent=2))
    if options.into:
        card = options.into / "model.json"
        values = json.loads(card.read_text(encoding="utf-8")) | {"tracking": asdict(tuned)}
        card.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def tune(talks: list[Talk], parameters: Parameters, rounds: int) -> Parameters:
    best = float(goals(talks, parameters).mean())
    print(f"{best:.4f} to begin with", flush=True)
    for _ in range(rounds):
        for name, steps in TRIED.items():
            now = getattr(parameters, name)
            for value in [round(now + step if name == "alike" else now * step, 3) for step in steps]:
                tried = replace(parameters, **{name: value})
                if (found := float(goals(talks, tried).mean())) > best + 2e-4:
                    best, parameters = found, tried
                    print(f"{best:.4f} with {name} {value:g}", flush=True)
    return parameters


def ablate(talks: list[Talk], parameters: Parameters) -> None:
    """A table of what the goal loses, and the standard error of that over conversations."""
    base = goals(talks, parameters)
    print(f"all terms: {base.mean():.1%}\n\n| without | goal | lost | standard error |\n|---|---|---|---|")
    for name, value in ABLATED.items():
        found = goals(talks, replace(parameters, **{name: value}))
        lost = base - found
        error = lost.std(ddof=1) / len(lost) ** 0.5
        print(f"| {name} ({value:g}) | {found.mean():.1%} | {lost.mean():+.2%} | {error:.2%} |", flush=True)


def goals(talks: list[Talk], parameters: Parameters) -> np.ndarray:
    """Of each conversation."""
    return np.array([goal(talk, parameters) for talk in talks])


def goal(talk: Talk, parameters: Parameters) -> float:
    shares = []
    for speakers in ("auto", talk.n_people):
        tracks, turns = stitched(talk.windows["model"], talk.separator, speakers, parameters)
        shares.append(talk.own_tracks(tracks)[0] - false_alarms(turns, talk) / 2)
    return float(np.mean(shares))


def false_alarms(turns: tuple[Turn, ...], talk: Talk) -> float:
    """Frames in which more people are said to talk than do, over the speech."""
    found = np.zeros(talk.truth.shape[1])
    for turn in turns:
        found[round(turn.start_s / FRAME_S) : round(turn.end_s / FRAME_S)] += 1
    return float(np.maximum(found - talk.truth.sum(0), 0).sum() / talk.truth.sum())


if __name__ == "__main__":
    main()
