"""Corpora as tables, one recording a line: .csv or .jsonl."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unbabble.base.output import write_whole
from unbabble.base.reading import from_json
from unbabble.corpora.corpus import Corpus, Recording
from unbabble.corpora.readers import GENDERS
from unbabble.errors import CorpusError

MANIFEST_SUFFIXES = (".csv", ".jsonl")
COLUMNS = ("name", "key", "path", "duration_s", "split", "gender")
EXPECTED = "name, path and duration_s"


def read_manifest(path: Path) -> Corpus:
    """A corpus from a table with the columns name (or speaker), path, duration_s; also key, split and gender.

    Relative paths are taken from the manifest's folder. Without a key, that is a relative path as it stands and
    otherwise ``name/file``. Other columns are ignored, and no audio is opened.
    Raises CorpusError, with the line, where the file cannot be read or a value is missing or wrong.
    """
    rows = _csv_rows if _suffix(path) == ".csv" else _json_rows
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")  # file names may be any bytes
    except OSError as error:
        raise CorpusError(f"{path}: not a readable manifest: {error.strerror}; check the path") from None
    folder = path.absolute().parent
    return Corpus(tuple(_recording(row, folder, where) for where, row in rows(text, path)))


def write_manifest(corpus: Corpus, path: Path) -> None:
    """Write a corpus, whole or not at all; ``read_manifest`` gives an equal one, but with absolute paths.

    Parameters
    ----------
    corpus
        Its paths below the manifest's folder are written relative to it, so that the two can move together.
    path
        Of the manifest.

    Raises
    ------
    CorpusError
        Where the suffix is neither .csv nor .jsonl.
    OutputError
        Where the file cannot be written.
    """
    folder = path.absolute().parent
    rows = [[_value(recording, column, folder) for column in COLUMNS] for recording in corpus.recordings]
    if _suffix(path) == ".csv":
        table = io.StringIO(newline="")
        csv.writer(table).writerows([COLUMNS, *rows])
        text = table.getvalue()
    else:
        text = "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows)
    write_whole(path, text.encode("utf-8", "surrogateescape"))


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        raise CorpusError(f"{path}: not the name of a manifest; expected one that ends in .csv or .jsonl")
    return suffix


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows, each with the place to name in errors."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            yield f"{path}, line {reader.line_num}", row
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: not CSV ({error}); expected {EXPECTED}") from None


def _json_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            row = from_json(line)
        except ValueError as error:
            raise CorpusError(f"{where}: not JSON ({error}); expected an object with {EXPECTED}") from None
        if not isinstance(row, dict):
            raise CorpusError(f"{where}: not a JSON object; expected one with {EXPECTED}")
        yield where, row


def _recording(row: dict[str, Any], folder: Path, where: str) -> Recording:
    name = _text(row, "name", where) or _text(row, "speaker", where)
    path = _text(row, "path", where)
    if name is None or path is None:
        raise CorpusError(f"{where}: no {'path' if name else 'name'}; expected {EXPECTED}")
    key = _text(row, "key", where) or (f"{name}/{Path(path).name}" if Path(path).is_absolute() else path)
    gender = GENDERS.get((_text(row, "gender", where) or "").lower())
    return Recording(name, key, folder / path, _duration_s(row, where), _text(row, "split", where), gender)


def _text(row: dict[str, Any], column: str, where: str) -> str | None:
    """A value as text, None where it is empty; speakers are often numbers."""
    value = row.get(column)
    if value is None or value == "":
        return None
    if not isinstance(value, str | int):
        raise CorpusError(f"{where}: {column} is {value!r}; expected text")
    return str(value)


def _duration_s(row: dict[str, Any], where: str) -> float:
    try:
        duration_s = float(row.get("duration_s", ""))
    except (TypeError, ValueError):
        duration_s = math.nan
    if not 0 < duration_s < math.inf:
        raise CorpusError(f"{where}: duration_s is {row.get('duration_s')!r}; expected seconds above 0")
    return duration_s


def _value(recording: Recording, column: str, folder: Path) -> str | float | None:
    if column != "path":
        value: str | float | None = getattr(recording, column)
        return value
    path = recording.path.absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
