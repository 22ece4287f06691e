"""What can be taken away: who talks when, and all of a recording as a zip."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from unbabble.serve.separating import RTTM, SIDECAR, safe, title_of
from unbabble.serve.store import RESULT, Result

BLOCK = 1 << 18
EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can hold


def rttm(result: Result) -> str:
    """The command line's turns, with the recording's name and the names that talkers were given."""
    lines = (result.folder / RESULT / RTTM).read_text(encoding="utf-8").splitlines()
    title = _one_word(title_of(result.recording.name))
    rows = [line.split(" ") for line in lines]
    return "".join(
        " ".join([row[0], title, *row[2:7], _one_word(result.name_of(row[7])), *row[8:]]) + "\n" for row in rows
    )


def labels(result: Result) -> str:
    """Turns as label tracks of Audacity: start, end, name."""
    return "".join(
        f"{turn['start_s']:.3f}\t{turn['end_s']:.3f}\t{result.name_of(turn['speaker'])}\n"
        for turn in result.summary["turns"]
    )


def track_name(result: Result, speaker: str) -> str:
    """The name of a talker's file, with its suffix."""
    return safe(result.name_of(speaker).replace("/", "_")) + result.tracks[speaker].suffix


def named(result: Result, suffix: str) -> str:
    """The name of a file of the whole recording."""
    return f"{title_of(result.recording.name)}{suffix}"


def zipped(result: Result) -> Iterator[bytes]:
    """A zip of all tracks, turns and the sidecar, as it is made."""
    summary = {**result.summary, "input": result.recording.name}
    summary["source"] = {**summary["source"], "name": result.recording.name}
    texts = {
        SIDECAR: json.dumps(summary, indent=2) + "\n",
        RTTM: rttm(result),
        "labels.txt": labels(result),
    }
    out, folder = _Chunks(), title_of(result.recording.name)
    with zipfile.ZipFile(out, "w") as archive:
        for name, path in _apart(result).items():
            with archive.open(_entry(f"{folder}/{name}"), "w", force_zip64=True) as entry, path.open("rb") as file:
                while data := file.read(BLOCK):
                    entry.write(data)
                    yield out.taken()
        for name, text in texts.items():
            archive.writestr(_entry(f"{folder}/{name}"), text)
    yield out.taken()


def _apart(result: Result) -> dict[str, Path]:
    """Tracks by their names in a zip, of which no two are equal, whatever talkers are called."""
    files: dict[str, Path] = {}
    for speaker, path in result.tracks.items():
        name = track_name(result, speaker)
        taken = name.casefold() in (other.casefold() for other in files)
        files[f"{path.stem} {name}" if taken else name] = path
    return files


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, EARLIEST)


def _one_word(text: str) -> str:
    """As the fields of RTTM must be."""
    return "_".join(text.split())


class _Chunks(io.RawIOBase):
    """A file that cannot be gone back in, and is emptied as it is filled."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._data += data
        return len(data)

    def taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
