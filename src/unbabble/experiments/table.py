"""What a comparison found: a table beside the paper's, and SI-SDR against the fraction of SISO blocks."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from unbabble.base.output import whole_file, write_whole
from unbabble.base.reading import from_json
from unbabble.evaluation.bins import overlap_bins
from unbabble.evaluation.metrics import IMPROVEMENT, MAIN
from unbabble.evaluation.report import JSON
from unbabble.evaluation.results import TABLE, read_results
from unbabble.evaluation.summary import CONFIDENCE, Mean, mean_of
from unbabble.evaluation.text import markdown_table
from unbabble.networks.config import MixedDesign, SisoOnlyDesign

# arXiv 2011.08400, table 1: SI-SDR (dB) by overlap ratio in four bins, and the average.
PAPER = {
    (6, 0): (13.9, 10.0, 7.2, 4.8, 9.0),
    (5, 1): (14.0, 10.1, 7.3, 4.9, 9.1),
    (4, 2): (14.2, 10.4, 7.6, 5.0, 9.4),
    (3, 3): (14.4, 10.5, 7.6, 5.0, 9.4),
    (2, 4): (14.6, 10.6, 7.8, 4.9, 9.5),
    (1, 5): (14.3, 10.3, 7.5, 4.8, 9.2),
    (0, 6): (13.5, 9.5, 6.8, 4.5, 8.6),
}
BINS = overlap_bins()
SCORES = {MAIN: "SI-SDR", MAIN + IMPROVEMENT: "SI-SDRi"}
NOTE = (
    f"in dB of the estimates, means over the test mixtures with {CONFIDENCE} % bootstrap intervals. The difference "
    "is to the first design, mixture by mixture; an interval that holds zero means that no difference was seen. "
    "Mixtures: that the scored weights have learned from. "
    "GMAC: thousand millions of multiply-accumulates for a second of audio; RTF: real-time factor when it was scored."
)
COSTS = {  # column: name in JSON, unit, digits
    "parameters (M)": ("n_parameters", 1e6, 2),
    "GMAC": ("macs_per_second", 1e9, 2),
    "RTF": ("real_time_factor", 1, 3),
}
BESIDE = (
    " In brackets the paper's, whose networks had other data and longer training: compare differences, not levels. "
    "80 of the paper's 3000 test mixtures are of one reader with himself; of those drawn here none are."
)


class Scored(NamedTuple):
    """What has been trained. design: None for networks that differ in more; folders: of the scores of its runs;
    n_mixtures: that the scored weights have learned from, the mean of the runs."""

    name: str
    design: MixedDesign | SisoOnlyDesign | None
    folders: Sequence[Path]
    n_mixtures: float


@dataclass(frozen=True)
class Row:
    """One design. means: by bin, then the average; difference: to the first row's, None for that one; cost: of the
    network, by its name in JSON."""

    name: str
    design: MixedDesign | SisoOnlyDesign | None
    n_runs: int
    n_mixtures: float
    means: tuple[Mean | None, ...]
    difference: Mean | None
    paper: tuple[float, ...] | None
    cost: dict[str, float]

    @property
    def average(self) -> float:
        """Over all mixtures, in dB."""
        average = self.means[-1]
        assert average is not None
        return average.mean

    @property
    def siso_fraction(self) -> float | None:
        """Part of the blocks after the split; None where that is not all that sets a design apart."""
        if not isinstance(self.design, MixedDesign):
            return None
        return self.design.siso_blocks / max(1, self.design.siso_blocks + self.design.simo_blocks)


def write_table(scored: Sequence[Scored], score: str, out: Path) -> list[Path]:
    """Write table.md, table.json and, where the designs are those of the paper, curve.png. score: one of SCORES."""
    rows = rows_of(scored, score)
    content = {
        "table.md": markdown(rows, score),
        "table.json": json.dumps([_plain(row, score) for row in rows], indent=2) + "\n",
    }
    for name, text in content.items():
        write_whole(out / name, text.encode())
    written = [out / name for name in content]
    if any(row.siso_fraction is not None for row in rows):
        written.append(out / "curve.png")
        with whole_file(written[-1]) as path:
            curve(rows, score).savefig(path, dpi=110, format="png")
    return written


def rows_of(scored: Sequence[Scored], score: str = MAIN) -> list[Row]:
    """One for each design, from the scores of its mixtures, averaged over its runs."""
    rows: list[Row] = []
    first: dict[str, float] = {}
    for name, design, folders, n_mixtures in scored:
        scores, ratios = _mean_scores(folders, score)
        first = first or scores
        differences = [scores[mixture] - first[mixture] for mixture in scores if mixture in first]
        bins = {mixture: BINS.name_of(ratio) for mixture, ratio in ratios.items()}
        inside = [[scores[mixture] for mixture in scores if bins[mixture] == one] for one in BINS.names]
        paper = None
        if isinstance(design, MixedDesign) and score == MAIN:
            paper = PAPER.get((design.simo_blocks, design.siso_blocks))
        means, difference = (*map(mean_of, inside), mean_of(scores.values())), mean_of(differences) if rows else None
        rows.append(Row(name, design, len(folders), n_mixtures, means, difference, paper, _cost(folders[0])))
    return rows


def markdown(rows: Sequence[Row], score: str = MAIN) -> str:
    compared = [f"difference to {rows[0].name}", "interval"]
    header = ["design", "runs", "mixtures", *BINS.names, "average", "interval", *compared, *COSTS]
    lines = []
    for row in rows:
        beside = [f" ({one})" for one in row.paper] if row.paper else [""] * len(row.means)
        values = [f"{_number(mean)}{paper}" for mean, paper in zip(row.means, beside, strict=True)]
        change = row.difference
        shown = ["", ""] if change is None else [f"{change.mean:+.2f}", f"{change.low:+.2f} to {change.high:+.2f}"]
        average = row.means[-1]
        interval = "" if average is None else f"{average.low:.2f} to {average.high:.2f}"
        costs = [f"{row.cost[key] / unit:.{digits}f}" for key, unit, digits in COSTS.values()]
        lines.append([row.name, str(row.n_runs), f"{row.n_mixtures:.0f}", *values, interval, *shown, *costs])
    table = markdown_table(header, lines)
    return f"{table}\n\n{SCORES[score]} {NOTE}{BESIDE if any(row.paper for row in rows) else ''}\n"


def curve(rows: Sequence[Row], score: str = MAIN) -> Figure:
    """Average score against the fraction of SISO blocks, a line for each depth; other designs as levels."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    depths: dict[int, list[tuple[float, Mean]]] = {}
    for row in rows:
        if isinstance(row.design, MixedDesign) and row.siso_fraction is not None and row.means[-1]:
            depth = row.design.simo_blocks + row.design.siso_blocks
            depths.setdefault(depth, []).append((row.siso_fraction, row.means[-1]))
    for depth, points in depths.items():
        points.sort(key=itemgetter(0))
        fractions, means = zip(*points, strict=True)
        ends = [[mean.mean - mean.low for mean in means], [mean.high - mean.mean for mean in means]]
        axis.errorbar(fractions, [mean.mean for mean in means], ends, marker="o", label=f"here, {depth} blocks")
    for row in rows:
        if row.siso_fraction is None:
            axis.axhline(row.average, color="#009e73", linestyle=":", linewidth=1)
            axis.annotate(row.name, (0.01, row.average), fontsize=8, color="#009e73", va="bottom")
    if score == MAIN:
        paper = sorted((siso / (simo + siso), values[-1]) for (simo, siso), values in PAPER.items())
        axis.plot(*zip(*paper, strict=True), marker="s", color="0.6", label="paper")
    axis.set_xlabel("fraction of blocks that are SISO")
    axis.set_ylabel(f"average {SCORES[score]} (dB)")
    axis.legend()
    return figure


def _mean_scores(folders: Sequence[Path], score: str) -> tuple[dict[str, float], dict[str, float]]:
    """Score (dB) and overlap ratio of each mixture that every run has, the first averaged over the runs."""
    runs = [read_results(folder / TABLE, (score,)) for folder in folders]
    shared = [mixture for mixture in runs[0] if all(mixture in run for run in runs)]
    means = {mixture: float(np.mean([run[mixture].scores[score] for run in runs])) for mixture in shared}
    scored = {mixture: mean for mixture, mean in means.items() if not math.isnan(mean)}
    return scored, {mixture: runs[0][mixture].overlap_ratio for mixture in scored}


def _cost(folder: Path) -> dict[str, float]:
    summary = from_json((folder / JSON).read_text(encoding="utf-8"))
    return {key: summary[key] for key, *_ in COSTS.values()}


def _number(mean: Mean | None) -> str:
    return "none" if mean is None else f"{mean.mean:.2f}"


def _plain(row: Row, score: str) -> dict[str, Any]:
    names = (*BINS.names, "average")
    return {
        "name": row.name,
        "design": row.design and asdict(row.design),
        "runs": row.n_runs,
        "mixtures": row.n_mixtures,
        **row.cost,
        score: {name: mean and asdict(mean) for name, mean in zip(names, row.means, strict=True)},
        "difference": row.difference and asdict(row.difference),
        "paper": row.paper and dict(zip(names, row.paper, strict=True)),
    }
