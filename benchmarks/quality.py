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
from unbabble.corpora.corpora import Corpora, scan_corpora
from unbabble.corpora.decoded import DecodedAudio
from unbabble.evaluation.bins import mean_by_bin, overlap_bins
from unbabble.evaluation.metrics import score
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import MixtureRecipe, Overlap, SharedRecipe
from unbabble.model_folder import CARD

Result = tuple[float, dict[str, float]]  # overlap ratio, scores

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

    heard_of = {name: scan(folders, options) for name, folders in corpora.items()}
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
        for corpus, heard in heard_of.items():
            parts = (SharedRecipe(1.0, recipe),)
            mixer = Mixer(heard.speech, heard.noise, parts, audio, options.seed)
            results = [separate_and_score(separator, mixer, recipe.sample_rate, i) for i in range(options.count)]
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


def scan(folders: list[Path], options: argparse.Namespace) -> Corpora:
    """The speech of the folders and the noise, as far as they are in the split."""
    heard = scan_corpora(folders, options.noise or [])
    return heard.in_split(options.split, options.splits) if options.splits else heard


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


def separate_and_score(separator: Separator, mixer: Mixer, sample_rate: int, number: int) -> Result:
    report(number)
    drawn = mixer(number)
    estimates = separator(drawn.mixture, sample_rate, len(drawn.sources))
    return drawn.plan.overlap_ratio, score(estimates, drawn.sources, drawn.mixture, sample_rate)


def summarise(results: list[Result]) -> dict[str, object]:
    gains = [scores["si_sdri"] for _, scores in results]
    by_overlap = mean_by_bin(((ratio, scores["si_sdr"]) for ratio, scores in results), overlap_bins())
    return {
        "si_sdr": round(statistics.fmean(scores["si_sdr"] for _, scores in results), 2),
        "si_sdr_improvement": round(statistics.fmean(gains), 2),
        "share_made_worse": round(sum(gain < 0 for gain in gains) / len(gains), 3),
        "si_sdr_by_overlap": {name: round(value, 2) for name, value in by_overlap.items()},
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
