"""Results on disk: names that every system can hold, whole or not at all, recognised when they are there already.

All of one recording is first written into a folder beside its place, the sidecar last; then each file goes to its
place, the sidecar last again. Of a process that was killed before the sidecar was written, nothing is used; of one
that was killed later, the next run moves the rest.
"""

import os
import re
import shutil
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path, PureWindowsPath
from typing import Any

from unbabble.base.output import UNFINISHED, beside, differing, held, is_held, writing
from unbabble.base.reading import from_json
from unbabble.errors import ArgumentError, OutputError
from unbabble.files.activity import ACTIVITY
from unbabble.tracking.people import MOST_PEOPLE

FILENAME = "{track}/{speaker}.{ext}"
FIELDS = ("track", "speaker", "ext", "channel")
SIDECAR = "separation"  # stands in the place of the speaker
FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')  # by Windows, in any name
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
STAGE = re.compile(rf"\.json{UNFINISHED.pattern}")  # ends the name of a folder that a process fills
STAGED_SIDECAR = f"{SIDECAR}.json"


class Template:
    """Names of results, such as ``{track}/{speaker}.{ext}``: relative, with a speaker, ending in ``.{ext}``.

    track: the input's name without suffix, below the folders that it has in the folder given; speaker: speaker1 ...
    or a name (``separation`` for what is written of all together); ext: wav, flac, json, rttm ...; channel: mix,
    channel1 ...
    Raises ValueError for any other.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        wrong = _wrong_with(text)
        if wrong:
            raise ArgumentError(f"filename {text!r} {wrong}; expected one like {FILENAME}")
        self.fields = {field for _, field, _, _ in string.Formatter().parse(text) if field}

    def path(self, **fields: str) -> Path:
        """A relative path that never leads upwards and that every system can hold."""
        return Path(*map(safe, Path(self._text.format(**fields)).parts))


def _wrong_with(text: str) -> str | None:
    try:
        pieces = [piece for piece in string.Formatter().parse(text) if piece[1] is not None]
    except ValueError as error:
        return f"cannot be read: {error}"
    if any(field not in FIELDS or form or conversion for _, field, form, conversion in pieces):
        return f"has a field that is not one of {', '.join(f'{{{name}}}' for name in FIELDS)}"
    if "speaker" not in {field for _, field, _, _ in pieces} or not text.endswith(".{ext}"):
        return "lacks {speaker}, or .{ext} at the end"
    if PureWindowsPath(text).anchor or ".." in PureWindowsPath(text).parts:
        return "leads out of the folder for the results"
    return None


@dataclass(frozen=True)
class Place:
    """Where the results of one recording go. out: the folder for all; track, channel: as in the template; names: of
    the people, in order of appearance; url: what a user calls the folder, where that is not its path."""

    out: Path
    template: Template
    track: str
    channel: str
    names: tuple[str, ...] = ()
    url: str | None = None

    def speaker(self, number: int) -> str:
        """Who is heard as number 0, 1 ...: the name, or speaker1 ... where there is none."""
        return self.names[number] if number < len(self.names) else f"speaker{number + 1}"

    def path(self, name: str, ext: str) -> Path:
        """Of a speaker's track, or of what is written of all (SIDECAR)."""
        return self.out / self.template.path(track=self.track, channel=self.channel, speaker=name, ext=ext)

    @property
    def sidecar(self) -> Path:
        return self.path(SIDECAR, "json")

    def shown(self, path: Path) -> str:
        """What a user calls a file of the results."""
        if self.url is None:
            return str(path)
        return f"{self.url}/{Path(os.path.relpath(path, self.out)).as_posix()}"

    def everything(self) -> Iterator[Path]:
        """All paths at which any separation could leave a result."""
        yield from (self.path(SIDECAR, ext) for ext in ("json", *ACTIVITY.values()))
        yield from (self.path(self.speaker(n), ext) for n in range(MOST_PEOPLE) for ext in ("wav", "flac"))


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError for names of people that no file can have, that are given twice, or are too many."""
    if len(names) > MOST_PEOPLE:
        raise ArgumentError(f"there are {len(names)} names; expected {MOST_PEOPLE} at most")
    taken = [SIDECAR, *(f"speaker{number + 1}" for number in range(MOST_PEOPLE))]
    for name in names:
        if safe(name) != name or "/" in name:
            raise ArgumentError(f"the name {name!r} cannot be that of a file; leave out what is special in it")
        if same(name) in taken:
            raise ArgumentError(f"the name {name!r} is given twice, or stands for something else; choose another")
        taken.append(same(name))


def track_of(relative: Path) -> str:
    """The name of a recording's track: its path without suffix, fit for every system and library: all UTF-8."""
    readable = (os.fsencode(part).decode("utf-8", errors="replace") for part in relative.with_suffix("").parts)
    return "/".join(map(safe, readable))


def free(track: str, taken: set[str]) -> str:
    """The name, or the first of name-2, name-3 ... that no other recording has; it is taken then."""
    number, name = 1, track
    while same(name) in taken:
        number += 1
        name = f"{track}-{number}"
    taken.add(same(name))
    return name


def same(path: str | Path) -> str:
    """Equal for names that some file system takes for one: by case, or by the way that accents are written."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def safe(part: str) -> str:
    """A name in a path as one that Windows takes as well; others stay as they are."""
    part = FORBIDDEN.sub("_", part).rstrip(". ") or "_"
    return f"_{part}" if RESERVED.fullmatch(part) else part


def read_sidecar(path: Path) -> dict[str, Any]:
    """A sidecar's content; empty where there is none or it is not one of ours."""
    try:
        content = from_json(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) and all(track["file"] for track in content["tracks"]) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def tracks_listed(sidecar: Path) -> list[Path]:
    """The tracks that a sidecar says were made, in order."""
    return [sidecar.parent / str(track["file"]) for track in read_sidecar(sidecar).get("tracks", ())]


def earlier_result(place: Place, decided: dict[str, Any], planned: Iterable[Path]) -> dict[str, Any] | None:
    """The sidecar of a result that is there already and is the one wanted; None where nothing is there.

    decided: what the sidecar must say of input and settings; planned: the files that are to be written. Raises
    OutputError where one of them is there and is not such a result.
    """
    content = read_sidecar(place.sidecar)
    other = differing({name: content.get(name) for name in decided}, decided)
    missing = [path for path in tracks_listed(place.sidecar) if not path.exists()]
    if content and not other and not missing:
        return content
    lying = next((path for path in planned if os.path.lexists(path)), None)
    if lying is None:
        return None
    reason = ""
    if content:
        reason = f" with other {' and '.join(other)}" if other else f", but {missing[0].name} is missing"
    raise OutputError(f"{lying}: is there already{reason}; choose another --out, or --force to replace it")


@contextmanager
def staged(place: Place) -> Iterator[Path]:
    """A fresh folder to fill with speaker1.wav ..., at last separation.json; in the end all goes to its place.

    Where the block ends with an error, nothing is left. Raises OutputError.
    """
    stage = beside(place.sidecar)
    kept = place.out if os.path.exists(place.out) else place.out.parent
    try:
        with writing(place.sidecar):
            stage.mkdir(parents=True)
        with held(stage):
            yield stage
            publish(stage, place)
    except BaseException as error:
        shutil.rmtree(stage, ignore_errors=True)
        with suppress(OSError):  # where another recording's are in it
            for folder in takewhile(lambda folder: folder != kept, stage.parents):
                folder.rmdir()
        if isinstance(error, OutputError):
            raise _naming_the_place(error, stage, place) from error
        raise


def publish(stage: Path, place: Place) -> None:
    """Move all to its place, the sidecar last, after what it replaces is gone. OutputError leaves nothing of it.

    Killed at any point, it can be called again to go on.
    """
    moved: list[Path] = []
    try:
        _remove_earlier(place)
        for path in sorted(stage.iterdir(), key=lambda path: (path.name == STAGED_SIDECAR, path.name)):
            target = place.path(path.stem, path.suffix[1:])
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
            moved.append(target)
    except OutputError:
        for path in moved:
            path.unlink(missing_ok=True)
        shutil.rmtree(stage, ignore_errors=True)
        raise
    shutil.rmtree(stage, ignore_errors=True)


def _remove_earlier(place: Place) -> None:
    """Remove what an earlier run left, its sidecar last; of what that lists only what could be ours."""
    content = read_sidecar(place.sidecar)
    if not content:
        return
    named = replace(place, names=tuple(str(track.get("speaker")) for track in content["tracks"]))
    possible = {os.path.normpath(path) for path in (*place.everything(), *named.everything())}
    activity = [place.path(SIDECAR, ext) for ext in ACTIVITY.values()]
    for path in [*tracks_listed(place.sidecar), *activity, place.sidecar]:
        if os.path.normpath(path) in possible:
            with writing(path):
                path.unlink(missing_ok=True)


def unfinished(places: Iterable[Place]) -> dict[Place, list[Path]]:
    """What processes that were killed, or still run, have beside the places."""
    by_sidecar = {place.sidecar: place for place in places}
    found: dict[Place, list[Path]] = {}
    for folder in {sidecar.parent for sidecar in by_sidecar}:
        with suppress(OSError):
            for path in folder.iterdir():
                place = by_sidecar.get(path.with_name(UNFINISHED.sub("", path.name)))
                if place is not None and STAGE.search(path.name):
                    found.setdefault(place, []).append(path)
    return found


def recover(stage: Path, place: Place) -> None:
    """Finish or remove what a process has left; nothing where it still runs. Raises OutputError."""
    if is_held(stage) or not stage.exists():
        return
    with held(stage):
        if read_sidecar(stage / STAGED_SIDECAR):
            publish(stage, place)
        shutil.rmtree(stage, ignore_errors=True)


def _naming_the_place(error: OutputError, stage: Path, place: Place) -> OutputError:
    """The error as it is for the user, who knows nothing of the folder beside."""
    inside = f"{UNFINISHED.sub('', str(stage))}{os.sep}"
    name, _, reason = str(error).removeprefix(inside).partition(": ")
    return OutputError(f"{place.path(*name.rsplit('.', 1))}: {reason}") if str(error).startswith(inside) else error
