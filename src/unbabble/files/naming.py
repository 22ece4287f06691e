"""Where results go: names that every system can hold, by a template."""

import os
import re
import string
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from unbabble.inference.model_folder import MOST_SOURCES

FILENAME = "{track}/{speaker}.{ext}"
FIELDS = ("track", "speaker", "ext", "channel")
SIDECAR = "separation"  # stands in the place of the speaker
FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')  # by Windows, in any name
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)


class Template:
    """Names of results, such as ``{track}/{speaker}.{ext}``: relative, with a speaker, ending in ``.{ext}``.

    track: the input's name without suffix, below the folders that it has in the folder given; speaker: speaker1 ...
    (``separation`` for what is written of all together); ext: wav, flac, json or rttm; channel: mix, channel1 ...
    Raises ValueError for any other.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        wrong = _wrong_with(text)
        if wrong:
            raise ValueError(f"filename {text!r} {wrong}; expected one like {FILENAME}")
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
    """Where the results of one recording go. out: the folder for all; track, channel: as in the template."""

    out: Path
    template: Template
    track: str
    channel: str

    def path(self, name: str, ext: str) -> Path:
        """Of a speaker's track, or of what is written of all (SIDECAR)."""
        return self.out / self.template.path(track=self.track, channel=self.channel, speaker=name, ext=ext)

    @property
    def sidecar(self) -> Path:
        return self.path(SIDECAR, "json")

    def everything(self) -> Iterator[Path]:
        """All paths at which any separation could leave a result."""
        yield from (self.path(SIDECAR, ext) for ext in ("json", "rttm"))
        yield from (self.path(f"speaker{n + 1}", ext) for n in range(MOST_SOURCES) for ext in ("wav", "flac"))


def track_of(relative: Path) -> str:
    """The name of a recording's track: its path without suffix, fit for every system."""
    parts = (safe(readable(part)) for part in relative.with_suffix("").parts)
    return "/".join(parts)


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


def readable(name: str) -> str:
    """The name with whatever in it is not UTF-8 replaced, so that every library can write there."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def safe(part: str) -> str:
    """A name in a path as one that Windows takes as well; others stay as they are."""
    part = FORBIDDEN.sub("_", part).rstrip(". ") or "_"
    return f"_{part}" if RESERVED.fullmatch(part) else part
