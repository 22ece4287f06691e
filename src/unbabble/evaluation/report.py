"""What an evaluation found as files: Markdown, JSON, and a page with plots and what to listen to."""

import math
from dataclasses import dataclass
from pathlib import Path

from unbabble.base.output import write_whole
from unbabble.evaluation.evaluate import Evaluation
from unbabble.evaluation.metrics import IMPROVEMENT, MAIN, columns, digits, in_best_order, label
from unbabble.evaluation.plots import by_overlap, distribution
from unbabble.evaluation.results import Result
from unbabble.evaluation.summary import cell
from unbabble.evaluation.text import ABOUT, as_json, costs, counts, markdown, title
from unbabble.sets.page import Signals, fill, show
from unbabble.sets.read import MixtureFiles

MARKDOWN, JSON, PAGE = "summary.md", "summary.json", "report.html"
WORST = 5


@dataclass(frozen=True)
class Example:
    """A mixture to listen to. signals: the mixture, then of each talker the truth and the estimate."""

    result: Result
    item: MixtureFiles
    signals: Signals


def write_report(evaluation: Evaluation, out: Path) -> list[Path]:
    """Write all three; returns their paths, the page last. Raises OutputError, AudioError."""
    content = {MARKDOWN: markdown(evaluation).encode(), JSON: as_json(evaluation).encode(), PAGE: page(evaluation)}
    for name, text in content.items():
        write_whole(out / name, text)
    return [out / name for name in content]


def page(evaluation: Evaluation) -> bytes:
    """One HTML file that needs nothing else."""
    scored = [one for one in evaluation.results if not math.isnan(one.scores[MAIN])]
    return fill(
        "evaluation/report.html.jinja",
        title=title(evaluation),
        about=ABOUT,
        facts={**counts(evaluation), **costs(evaluation)},
        tables=evaluation.tables,
        columns=columns(evaluation.evaluator.metrics),
        plots=[by_overlap(scored, evaluation.tables[0], evaluation.bins), distribution(scored)] if scored else [],
        worst=worst(evaluation),
        label=label,
        digits=digits,
        cell=cell,
    )


def worst(evaluation: Evaluation) -> list[Example]:
    """The mixtures with the lowest SI-SDRi, the lowest first, separated once more."""
    gains = [one.scores[MAIN + IMPROVEMENT] for one in evaluation.results]
    scored = [place for place, gain in enumerate(gains) if not math.isnan(gain)]
    return [_example(evaluation, place) for place in sorted(scored, key=lambda place: gains[place])[:WORST]]


def _example(evaluation: Evaluation, place: int) -> Example:
    evaluator, number = evaluation.evaluator, evaluation.numbers[place]
    mixture, sources = evaluator.mixtures[number]
    estimates = in_best_order(evaluator.estimate(mixture, len(sources)), sources)
    signals = [mixture, *(signal for pair in zip(sources, estimates, strict=True) for signal in pair)]
    shown = show(signals, evaluator.mixtures.sample_rate)
    return Example(evaluation.results[place], evaluator.mixtures.items[number], shown)
