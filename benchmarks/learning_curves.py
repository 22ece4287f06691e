"""Learning curves: how well networks separate, against the time, the size and the data that they had.

    python benchmarks/learning_curves.py --time 15 SUMMARY --time 124 SUMMARY --size 1.5 SUMMARY --data 5.5 SUMMARY \\
        --out learning-curves.png

SUMMARY is the summary.json of `unbabble evaluate` or of a network of `unbabble compare`; all of them are to be of one
set of mixtures, or the curves would show what the sets are. Prints the points as a table and draws a panel for each
of the three.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unbabble.evaluation.text import markdown_table
from unbabble.output import whole_file

SCORE = "si_sdri"
UNITS = {"time": "minutes of a core", "size": "million parameters", "data": "hours of speech to train on"}


class Point(NamedTuple):
    """What a network had, in the unit of its curve, and its scores."""

    amount: float
    summary: dict[str, Any]


def main() -> None:
    options = parse()
    curves = {}
    for name in UNITS:
        given = getattr(options, name) or []
        points = [Point(float(amount), json.loads(Path(file).read_text(encoding="utf-8"))) for amount, file in given]
        if points:
            curves[name] = sorted(points, key=lambda point: point.amount)
    print("\n\n".join(table(name, points) for name, points in curves.items()))
    figure = Figure(figsize=(4 * len(curves), 3.6), layout="constrained")
    for axis, (name, points) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        draw(axis, name, points)
    with whole_file(options.out) as path:
        figure.savefig(path, dpi=110, format="png")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, unit in UNITS.items():
        parser.add_argument(f"--{name}", action="append", nargs=2, metavar=("AMOUNT", "SUMMARY"), help=unit)
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    options = parser.parse_args()
    if not any(getattr(options, name) for name in UNITS):
        parser.error("nothing to draw; give points, such as --time 15 SUMMARY")
    return options


def table(name: str, points: list[Point]) -> str:
    bins = list(points[0].summary["by_overlap"])
    lines = []
    for amount, summary in points:
        inside = [f"{summary['by_overlap'][one][SCORE]['mean']:.2f}" for one in bins]
        average = summary["average"][SCORE]
        interval = f"{average['low']:.2f} to {average['high']:.2f}"
        lines.append([f"{amount:g}", *inside, f"{average['mean']:.2f}", interval])
    return markdown_table([UNITS[name], *bins, "average", "interval"], lines)


def draw(axis: Axes, name: str, points: list[Point]) -> None:
    """The average with its interval, and thinner the means by overlap."""
    amounts = [point.amount for point in points]
    averages = [point.summary["average"][SCORE] for point in points]
    ends = [[one["mean"] - one["low"] for one in averages], [one["high"] - one["mean"] for one in averages]]
    axis.errorbar(amounts, [one["mean"] for one in averages], ends, marker="o", color="black", label="average")
    for one in points[0].summary["by_overlap"]:
        means = [point.summary["by_overlap"][one][SCORE]["mean"] for point in points]
        axis.plot(amounts, means, marker=".", linewidth=1, label=one)
    axis.set_xscale("log")
    axis.set_xticks(amounts, [f"{amount:g}" for amount in amounts], rotation=45)
    axis.minorticks_off()
    axis.set_xlabel(UNITS[name])
    axis.set_ylabel("SI-SDRi (dB)")
    axis.grid(alpha=0.3)
    if name == next(iter(UNITS)):
        axis.legend(fontsize=7, title="overlap", title_fontsize=7)


if __name__ == "__main__":
    main()
