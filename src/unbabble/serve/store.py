"""Recordings on disk, each in a folder of its own, whose name nobody can guess."""

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from unbabble.base.output import UNFINISHED, held, is_held, whole_folder, write_whole, writing
from unbabble.base.reading import from_json
from unbabble.errors import OutputError
from unbabble.serve.separating import SIDECAR
from unbabble.serve.settings import Limits, Refused

State = Literal["queued", "running", "done", "failed"]
ENDED = ("done", "failed")

SOURCE, RESULT, MIXTURE, PEAKS = "source", "result", "mixture.wav", "peaks.npy"  # in the folder of a recording
LONGEST_NAME = 200  # characters
MOST_STARTS = 3


@dataclass(frozen=True)
class Recording:
    """What is kept of a recording beside its sound; the file of this is the truth after a restart.

    id: 32 hexadecimal digits; name: the file's, as it was sent; created: seconds since 1970; options: as ``Models``
    made them; error, notices: one line each; names: of talkers who were given one; starts: how often it was begun.
    """

    id: str
    name: str
    created: float
    options: dict[str, Any]
    state: State = "queued"
    error: str | None = None
    notices: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    starts: int = 0


@dataclass(frozen=True)
class Result:
    """What was made of a recording, on disk. summary: what the separator says of it."""

    recording: Recording
    folder: Path
    summary: dict[str, Any]

    @property
    def tracks(self) -> dict[str, Path]:
        """The talkers' files by ``speaker1`` ..., in order."""
        return {entry["speaker"]: self.folder / RESULT / str(entry["file"]) for entry in self.summary["tracks"]}

    @property
    def lanes(self) -> dict[str, Path]:
        """The mixture and the tracks."""
        return {"mixture": self.folder / MIXTURE, **self.tracks}

    def name_of(self, speaker: str) -> str:
        """What a talker is called in what is downloaded."""
        return self.recording.names.get(speaker, speaker)


class Store:
    """All recordings of a server. Threads may share it.

    Raises
    ------
    OutputError
        Where the folder cannot be written, or another server has it.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._limits, self._lock = limits, threading.RLock()
        self._uploads: list[int] = []
        self._known: dict[str, Recording] = {}
        self._summaries: dict[str, dict[str, Any]] = {}  # which pages ask for again and again
        self.uploads = folder / "uploads"
        self._folder = folder / "recordings"
        with writing(folder):
            for place in (folder, self._folder, self.uploads):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "lock").touch()
        if is_held(folder / "lock"):
            raise OutputError(f"{folder}: another server has this folder; choose another --data")
        self._held = ExitStack()
        self._held.enter_context(held(folder / "lock"))
        for place in self._folder.iterdir():
            if UNFINISHED.search(place.name):
                shutil.rmtree(place, ignore_errors=True)
            elif (recording := _read(place)) is not None:
                self._known[recording.id] = recording

    def close(self) -> None:
        """Leave the folder to the next server."""
        self._held.close()

    def all(self) -> list[Recording]:
        """The newest first."""
        with self._lock:
            return sorted(self._known.values(), key=lambda recording: recording.created, reverse=True)

    def get(self, id_: str) -> Recording:
        """Raises Refused where there is none of this id."""
        try:
            return self._known[id_]
        except KeyError:
            raise Refused(404, "no such recording; it may have been deleted") from None

    def folder(self, id_: str) -> Path:
        """Of a recording that is known."""
        return self._folder / self.get(id_).id

    def result(self, id_: str) -> "Result":
        """What was made of a recording. Raises Refused where it is not separated (yet)."""
        recording = self.get(id_)
        if recording.state != "done":
            raise Refused(409, recording.error or f"{recording.name}: not separated yet; ask again later")
        if id_ not in self._summaries:
            text = (self.folder(id_) / RESULT / SIDECAR).read_text(encoding="utf-8")
            self._summaries[id_] = from_json(text)
        return Result(recording, self.folder(id_), self._summaries[id_])

    @contextmanager
    def upload(self, n_bytes: int) -> Iterator[None]:
        """Room for an upload until the block ends. Raises Refused where there is none."""
        with self._lock:
            if self.waiting() + len(self._uploads) >= self._limits.max_queued:
                raise Refused(503, f"{self._limits.max_queued} recordings wait already; try again later")
            if self.used_bytes() + sum(self._uploads) + n_bytes > self._limits.disk_bytes:
                raise Refused(
                    507, f"the server keeps {self._limits.max_disk_gb:g} GB at most; delete some recordings"
                )
            self._uploads.append(n_bytes)
        try:
            yield
        finally:
            with self._lock:
                self._uploads.remove(n_bytes)

    def add(self, name: str, options: dict[str, Any], file: BinaryIO) -> Recording:
        """Keep an upload. Raises OutputError."""
        recording = Recording(secrets.token_hex(16), clean_name(name), time.time(), options)
        with whole_folder(self._folder / recording.id) as place, writing(place):
            with (place / SOURCE).open("wb") as source:
                shutil.copyfileobj(file, source, 1 << 20)
            _write(place, recording)
        with self._lock:
            self._known[recording.id] = recording
        return recording

    def update(self, id_: str, **changes: Any) -> Recording:
        """Change what is kept of a recording. Raises Refused where it is gone, OutputError."""
        with self._lock:
            recording = self._known[id_] = replace(self.get(id_), **changes)
            _write(self.folder(id_), recording)
        return recording

    def remove(self, id_: str) -> None:
        """Delete a recording and all that was made of it."""
        with self._lock:
            folder = self.folder(id_)
            del self._known[id_]
            self._summaries.pop(id_, None)
        shutil.rmtree(folder, ignore_errors=True)

    def begin(self, id_: str) -> Recording:
        """Note that a recording is being separated; what an interrupted server left of it goes."""
        remove_results(self.folder(id_))
        return self.update(id_, state="running", starts=self.get(id_).starts + 1)

    def unfinished(self) -> list[Recording]:
        """What an interrupted server left to do, the oldest first; what it began too often is reported instead."""
        left = [recording for recording in reversed(self.all()) if recording.state not in ENDED]
        for recording in left:
            if recording.starts >= MOST_STARTS:
                error = (
                    f"{recording.name}: the server was interrupted {recording.starts} times while it was separated"
                )
                self.update(recording.id, state="failed", error=f"{error}; send it again")
        return [self.update(one.id, state="queued") for one in left if one.starts < MOST_STARTS]

    def expired(self, now: float) -> list[Recording]:
        """Recordings that have been kept long enough."""
        kept_s = 3600 * self._limits.keep_hours
        return [one for one in self.all() if one.state in ENDED and one.created + kept_s < now]

    def waiting(self) -> int:
        """How many recordings are queued."""
        with self._lock:
            return sum(recording.state == "queued" for recording in self._known.values())

    def used_bytes(self) -> int:
        """What all that is kept takes of the disk."""
        return folder_bytes(self._folder)

    def room_bytes(self) -> int:
        """What may still be written."""
        with self._lock:
            return max(0, self._limits.disk_bytes - self.used_bytes() - sum(self._uploads))


def remove_results(folder: Path) -> None:
    """Leave of a recording's folder what was there before it was separated."""
    for path in folder.iterdir():
        if path.name == RESULT:
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith((MIXTURE, PEAKS)):
            path.unlink(missing_ok=True)


def folder_bytes(folder: Path) -> int:
    """The size of all files in a folder; files and folders may vanish meanwhile."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(inside, name)).st_size
    return total


def clean_name(name: str) -> str:
    """A file's name for people: no folders, no control characters, not endless. It never becomes a path."""
    last = re.split(r"[/\\]", name)[-1]
    printable = "".join(character if character.isprintable() else " " for character in last)
    return " ".join(printable.split())[-LONGEST_NAME:].lstrip(".") or "recording"


def _read(folder: Path) -> Recording | None:
    """What a folder says of itself; None where it is none of ours."""
    known = {one.name for one in fields(Recording)}
    try:
        values = from_json((folder / "recording.json").read_text(encoding="utf-8"))
        recording = Recording(**{name: value for name, value in values.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return recording if recording.id == folder.name else None


def _write(folder: Path, recording: Recording) -> None:
    write_whole(folder / "recording.json", json.dumps(asdict(recording), indent=2).encode())
