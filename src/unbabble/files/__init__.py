"""Recordings on disk: find them, separate each, write its tracks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unbabble.files.finding import find_jobs
from unbabble.files.many import run_jobs
from unbabble.files.one import Outcome
from unbabble.files.options import Options

__all__ = ["Options", "Outcome", "separate"]


def separate(inputs: str | Path | Sequence[str | Path], out: str | Path, **options: Any) -> list[Outcome]:
    """Separate files and folders; every input is tried, whatever became of the others.

    inputs: audio files, and folders that are walked; out: the folder for the results, made where missing;
    options: the fields of ``Options``, which are the flags of the program. Writes, for each recording,
    ``<out>/<relative path without suffix>/speaker1.wav ...`` and ``separation.json``, whole or not at all. What is
    done already is left as it is. Raises ValueError for options that cannot be, ModelError where the model cannot
    be used, OutputError where two results would have one name; what is wrong with one recording is in its outcome.

    >>> separate(["talk.m4a", "meetings"], "out", speakers=2, jobs=4)  # doctest: +SKIP
    """
    chosen = Options(**options)
    given = [inputs] if isinstance(inputs, str | Path) else inputs
    return list(run_jobs(find_jobs(given, Path(out), chosen), chosen))
