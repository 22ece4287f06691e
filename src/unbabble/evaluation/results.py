"""The scores of mixtures in a table on disk that grows during the run, so that a stopped one can go on."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbabble.base.output import Origin, claim, write_whole, writing
from unbabble.errors import OutputError
from unbabble.evaluation.escape import in_csv

TABLE = "mixtures.csv"
FACTS = ("id", "n_sources", "overlap_ratio", "t60_s", "noise_snr_db", "genders")


@dataclass(frozen=True)
class Result:
    """What one mixture was and how well it was separated.

    Parameters
    ----------
    id : in a result that was read back as it stands in the table (see escape.in_csv)
    t60_s, noise_snr_db : NaN where not known
    genders : "same", "different", or empty where not known or there are not two
    scores : by column (see metrics.columns), NaN where there is none
    """

    id: str
    n_sources: int
    overlap_ratio: float
    t60_s: float
    noise_snr_db: float
    genders: str
    scores: dict[str, float]


class ResultTable:
    """``out/mixtures.csv``, a line for each mixture, and beside it which model, set and metrics these are.

    Parameters
    ----------
    out : the folder; made where missing
    origin : what the results depend on
    columns : of the scores

    Raises
    ------
    OutputError
        Where the folder holds results of another origin.
    """

    def __init__(self, out: Path, origin: dict[str, Any], columns: Sequence[str]) -> None:
        self.path, self.columns = out / TABLE, tuple(columns)
        claim(out, origin, "scores", [TABLE], _with_known_names)
        if self.path.exists():
            _cut_unfinished_line(self.path)
        else:
            write_whole(self.path, _lines([(*FACTS, *self.columns)]).encode())

    def append(self, result: Result) -> None:
        facts = (getattr(result, fact) for fact in FACTS)
        cells = (_cell(value) for value in (*facts, *(result.scores[column] for column in self.columns)))
        with writing(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines([cells]))

    def read(self) -> dict[str, Result]:
        """All results by id."""
        return read_results(self.path, self.columns)


def read_results(path: Path, columns: Sequence[str]) -> dict[str, Result]:
    """Results by id, with the scores of some columns. Raises OutputError where the file is no table of results."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["id"]: _result(row, columns) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise OutputError(f"{path}: not a table of results ({error}); choose another --out, or remove it") from None


def _result(row: dict[str, str], columns: Sequence[str]) -> Result:
    return Result(
        row["id"],
        int(row["n_sources"]),
        float(row["overlap_ratio"]),
        _number(row["t60_s"]),
        _number(row["noise_snr_db"]),
        row["genders"],
        {column: _number(row[column]) for column in columns},
    )


def _with_known_names(origin: Origin) -> Origin:
    """The same, though the diarizer was called a listener when it was written."""
    return {"diarizer" if name == "listener" else name: value for name, value in origin.items()}


def _cut_unfinished_line(path: Path) -> None:
    """Remove what a killed process has left of its last line."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_whole(path, whole)


def _lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.4f}" if math.isfinite(value) else ""
    return in_csv(value) if isinstance(value, str) else value


def _number(text: str) -> float:
    return float(text) if text else math.nan
