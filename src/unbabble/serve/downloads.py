"""What can be taken away: who talks when, and all of a recording as a zip."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from unbabble.files.activity import Activity, activity_text
from unbabble.serve.separating import RTTM, SIDECAR, safe, title_of
from unbabble.serve.store import Result
from unbabble.tracking.activity import Turn

BLOCK = 1 << 18
EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can hold


def activity(result: Result, name: str) -> str:
    """The command line's turns in a format, with the recording's name and the names that talkers were given."""
    speakers, channel = list(result.tracks), result.recording.options.get("channel", "mix")
    turns = [
        Turn(speakers.index(turn["speaker"]), turn["start_s"], turn["end_s"], turn["overlapped_share"])
        for turn in result.summary["turns"]
    ]
    names, title = [result.name_of(speaker) for speaker in speakers], title_of(result.recording.name)
    said = Activity(title, 1 if channel == "mix" else channel, result.summary["duration_s"], names, turns)
    return activity_text(said, name)


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
        RTTM: activity(result, "rttm"),
        "labels.txt": activity(result, "labels"),
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
