"""How well a model separates: SI-SDR on mixtures of speakers that it has not heard.

    python benchmarks/quality.py --speech DIR --speech DIR --noise DIR --splits FILE

Prints a table; --json FILE writes the figures, --card puts them into the model's own card. Two conditions:
clean and fully overlapped (no room, no noise, both talkers all the time), and the paper's recipe (room, noise,
any overlap), each for every speech folder by itself and for all together.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from unbabble import Separator
from unbabble.corpora.corpora import scan_corpora
from unbabble.corpora.decoded import DecodedAudio
from unbabble.evaluation.evaluate import Result, evaluate
from unbabble.evaluation.overlap import mean_by_bin
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import MixtureRecipe, Overlap, SharedRecipe
from unbabble.model_folder import CARD

CLEAN = MixtureRecipe(timeline=Overlap(ratios=((1.0, 1.0),)), noise_snr_db=None, room=None)
PAPER = MixtureRecipe()


def main() -> None:
    options = parse()
    separator = Separator(options.model)
    corpora = {"all": options.speech}
    if len(options.speech) > 1:
        corpora |= {folder.name: [folder] for folder in options.speech}
    conditions = {"clean, fully overlapped": CLEAN}
    if options.noise:
        conditions["the paper's recipe"] = PAPER

    audio = DecodedAudio(CLEAN.sample_rate)
    scores = {}
    print(
        f"model {separator.model.name} {separator.model.version}; {options.count} mixtures of 4 s in each row, ",
        end="",
    )
    print(f"seed {options.seed}, split {options.split}; dB\n")
    print("| condition | speech | speakers | SI-SDR | SI-SDRi | SI-SDRi < 0 | SI-SDR by overlap |")
    print("|---|---|---|---|---|---|---|")
    for condition, recipe in conditions.items():
        for corpus, folders in corpora.items():
            heard = scan_corpora(folders, options.noise or [])
            if options.splits:
                heard = heard.in_split(options.split, options.splits)
            parts = (SharedRecipe(1.0, recipe),)
            mixer = Mixer(heard.speech, heard.noise, parts, audio, options.seed)
            results = evaluate(separator, mixer, recipe.sample_rate, options.count, report)
            summary = summarise(results)
            scores.setdefault(condition, {})[corpus] = {"speakers": len(heard.speech.names), **summary}
            bins = ", ".join(f"{name}: {value:.1f}" for name, value in summary["si_sdr_by_overlap"].items())
            print(
                f"| {condition} | {corpus} | {len(heard.speech.names)} | {summary['si_sdr']:.2f} | "
                f"{summary['si_sdr_improvement']:.2f} | {summary['share_made_worse']:.0%} | {bins} |",
                flush=True,
            )
    protocol = {"count": options.count, "seed": options.seed, "split": options.split, "duration_s": CLEAN.duration_s}
    save({"protocol": protocol, **scores}, options, separator.model.path / CARD)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a bundled model's name, or a model folder")
    parser.add_argument("--speech", type=Path, action="append", required=True, help="folder of <speaker>/<files>")
    parser.add_argument("--noise", type=Path, action="append", help="folder of noises, for the paper's recipe")
    parser.add_argument("--splits", type=Path, help="JSON {split: {corpus: [name, ...]}}")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=100, help="mixtures in each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--card", action="store_true", help="put the figures into the model's card")
    return parser.parse_args()


def summarise(results: list[Result]) -> dict[str, object]:
    gains = [one.scores.si_sdr_improvement for one in results]
    return {
        "si_sdr": round(statistics.fmean(one.scores.si_sdr for one in results), 2),
        "si_sdr_improvement": round(statistics.fmean(gains), 2),
        "share_made_worse": round(sum(gain < 0 for gain in gains) / len(gains), 3),
        "si_sdr_by_overlap": {
            name: round(value, 2)
            for name, value in mean_by_bin((one.plan.overlap_ratio, one.scores.si_sdr) for one in results).items()
        },
    }


def save(figures: dict[str, object], options: argparse.Namespace, card: Path) -> None:
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.card:
        content = json.loads(card.read_text(encoding="utf-8"))
        content["scores"] = figures
        card.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def report(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
