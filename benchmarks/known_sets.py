"""The table of docs/results/known-sets.md: a model on the test sets that papers report, as they lie on disk.

    python benchmarks/known_sets.py MODEL --out RESULTS [--libri2mix DIR] [--libri3mix DIR] [--wsj0-2mix DIR]
        [--wham DIR] [--whamr DIR] [--libricss DIR] [--page docs/results/known-sets.md] [--jobs N] [--limit N]
        [--device NAME]

DIR is the folder that a corpus' own scripts have written: that with wav16k or wav8k in it, of LibriCSS for_release.
Each set is separated as papers do, a mixture at once (--network-only of `unbabble evaluate`), at the model's sample
rate, and its scores stay in RESULTS, where a run that was stopped goes on. The table has all that lies in RESULTS;
rows of which there is nothing say so. Sets that the model is not for, such as three talkers for a network of two, are
named and left out.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from unbabble.base.output import write_whole
from unbabble.errors import UnbabbleError
from unbabble.evaluation.evaluate import evaluate
from unbabble.evaluation.metrics import installed
from unbabble.evaluation.report import JSON, write_report
from unbabble.evaluation.text import markdown_table
from unbabble.inference.model_folder import open_model
from unbabble.sets.read import read_set

BEGIN, END = "<!-- table: benchmarks/known_sets.py -->\n", "<!-- end -->\n"
COLUMNS = {"si_sdr": "SI-SDR", "si_sdri": "SI-SDRi", "sdri": "SDRi"}


class Row(NamedTuple):
    """A test set: the flag for its folder, where it lies in it, and which of its mixtures are taken."""

    title: str
    flag: str
    subset: str
    mixture: str | None = None

    @property
    def folder(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


ROWS = (
    Row("Libri2Mix, clean", "libri2mix", "wav{khz}k/min/test", "mix_clean"),
    Row("Libri2Mix, noisy", "libri2mix", "wav{khz}k/min/test", "mix_both"),
    Row("Libri3Mix, clean", "libri3mix", "wav{khz}k/min/test", "mix_clean"),
    Row("Libri3Mix, noisy", "libri3mix", "wav{khz}k/min/test", "mix_both"),
    Row("WSJ0-2mix", "wsj0_2mix", "wav{khz}k/min/tt"),
    Row("WHAM!", "wham", "wav{khz}k/min/tt", "mix_both"),
    Row("WHAMR!", "whamr", "wav{khz}k/min/tt", "mix_both_reverb"),
    *(Row(f"LibriCSS {part}, played", "libricss", part) for part in ("OV10", "OV20", "OV30", "OV40")),
)


def main() -> None:
    options = parse()
    given = {row: getattr(options, row.flag) for row in ROWS}
    failures = [failure for row, root in given.items() if root and (failure := scored(row, root, options))]
    table = as_table(options.out)
    print(table)
    if options.page:
        before, _, rest = options.page.read_text(encoding="utf-8").partition(BEGIN)
        write_whole(options.page, f"{before}{BEGIN}\n{table}\n\n{END}{rest.partition(END)[2]}".encode())
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    sys.exit(bool(failures))


def scored(row: Row, root: Path, options: argparse.Namespace) -> str | None:
    """Score a row; a line where that cannot be."""
    out = options.out / row.folder
    try:
        khz = open_model(options.model).sample_rate // 1000
        mixtures = read_set(root / row.subset.format(khz=khz), mixture=row.mixture)
        limits = {"limit": options.limit, "jobs": options.jobs, "device": options.device}
        chosen = {"name": row.title, "metrics": installed(("si_sdr", "sdr")), "network_only": True}
        write_report(evaluate(options.model, mixtures, out, **chosen, **limits), out)
    except UnbabbleError as error:
        return f"{row.title}: {' '.join(str(error).split())}"
    return None


def as_table(results: Path) -> str:
    rows = []
    for row in ROWS:
        path = results / row.folder / JSON
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        means = [found.get("average", {}).get(column) for column in COLUMNS]
        cells = [f"{mean['mean']:.1f} [{mean['low']:.1f}, {mean['high']:.1f}]" if mean else "" for mean in means]
        model = found.get("model", {})
        what = f"{model['name']} {model['version']}" if model else "not run"
        rows.append([row.title, what, str(found.get("count", "")), *cells])
    return markdown_table(["set", "model", "mixtures", *COLUMNS.values()], rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--device", default="auto")
    for flag in dict.fromkeys(row.flag for row in ROWS):
        parser.add_argument(f"--{flag.replace('_', '-')}", type=Path, metavar="DIR")
    return parser.parse_args()


if __name__ == "__main__":
    main()
