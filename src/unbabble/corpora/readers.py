"""How known corpora are laid out: functions from a root folder to what is found below it.

A reader finds nothing in a folder of another layout. Hidden files are passed over, macOS's ``._*`` among them.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from unbabble.audio import AUDIO_SUFFIXES
from unbabble.errors import CorpusError

GENDERS = {"f": "f", "m": "m", "female": "f", "male": "m"}
LIBRI_SUBSET = re.compile(r"(train|dev|test)-(clean|other)\b")
LIBRI_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
LIBRI_TABLES = ("SPEAKERS.TXT", "SPEAKERS.txt", "speakers.tsv")
WHAM_SPLITS = {"tr": "train", "cv": "valid", "tt": "test"}


class Found(NamedTuple):
    """A file of a corpus, not opened yet; the fields are those of a Recording."""

    name: str
    key: str
    path: Path
    split: str | None = None
    gender: str | None = None


Kind = Literal["speech", "noise"]
Reader = Callable[[Path], Iterable[Found]]


def librispeech(root: Path) -> Iterator[Found]:
    """LibriSpeech, or one subset of it: the subset gives the split, SPEAKERS.TXT the gender."""
    one_subset = LIBRI_SUBSET.match(root.name)
    genders = _libri_genders(root.parent if one_subset else root)
    for subset in [root] if one_subset else sorted(root.iterdir()):
        if kind := LIBRI_SUBSET.match(subset.name):
            for path in _audio_files(subset):
                speaker, *below = path.relative_to(subset).parts
                if below:
                    yield Found(speaker, _key(path, root), path, LIBRI_SPLITS[kind[1]], genders.get(speaker))


def libritts(root: Path) -> Iterator[Found]:
    """LibriTTS: the tree of LibriSpeech, with other files in it."""
    return librispeech(root)


def vctk(root: Path) -> Iterator[Found]:
    """VCTK 0.92, of whose two microphones the first is taken, or an older one; speaker-info.txt gives the gender."""
    genders = _vctk_genders(root)
    trimmed = root / "wav48_silence_trimmed"
    takes = trimmed if trimmed.is_dir() else root / "wav48"
    for path in _audio_files(takes):
        if takes != trimmed or path.stem.endswith("_mic1"):
            speaker = path.parent.name
            yield Found(speaker, _key(path, root), path, gender=genders.get(speaker))


def folders(root: Path) -> Iterator[Found]:
    """A folder for each speaker, with files at any depth below it."""
    for path in _audio_files(root):
        speaker, *below = path.relative_to(root).parts
        if below:
            yield Found(speaker, _key(path, root), path)


def nonspeech(root: Path) -> Iterable[Found]:
    """The 100 Nonspeech sounds, which are numbered, and nothing else."""
    return folder(root) if all(re.fullmatch(r"n\d+", path.stem) for path in _audio_files(root)) else ()


def wham(root: Path) -> Iterator[Found]:
    """The noises of WHAM!: the folder gives the split."""
    for name, split in WHAM_SPLITS.items():
        for path in _audio_files(root / name):
            yield Found(path.stem, _key(path, root), path, split)


def musan(root: Path) -> Iterator[Found]:
    """The noises of MUSAN, without its music and its speech."""
    parts = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if parts <= {"noise", "music", "speech"}:
        for path in _audio_files(root / "noise"):
            yield Found(path.stem, _key(path, root), path)


def folder(root: Path) -> Iterator[Found]:
    """Files at any depth, each a noise of its own."""
    for path in _audio_files(root):
        yield Found(path.stem, _key(path, root), path)


# The most particular first: what none of the others knows is left to the last.
LAYOUTS: dict[Kind, dict[str, Reader]] = {
    "speech": {"librispeech": librispeech, "libritts": libritts, "vctk": vctk, "folders": folders},
    "noise": {"nonspeech": nonspeech, "wham": wham, "musan": musan, "folder": folder},
}
EXPECTED = {
    "librispeech": "<subset>/<speaker>/<chapter>/<file>, or a folder named for one subset, such as train-clean-100",
    "libritts": "<subset>/<speaker>/<chapter>/<file>, or a folder named for one subset, such as train-clean-100",
    "vctk": "wav48_silence_trimmed/<speaker>/<file>_mic1.flac or wav48/<speaker>/<file>.wav",
    "folders": "<speaker>/<file>, at any depth below the speaker",
    "nonspeech": "n1.wav to n100.wav, or the like, and no other audio",
    "wham": "tr/<file>, cv/<file> and tt/<file>",
    "musan": "noise/<source>/<file>, beside music and speech only",
    "folder": "files, at any depth",
}


def find_files(root: Path, kind: Kind, layout: str) -> list[Found]:
    """What a layout finds below ``root``; "auto" takes the first layout that finds anything.

    Raises CorpusError where the folder is missing, the layout is unknown or nothing is found.
    """
    layouts = LAYOUTS[kind]
    if layout != "auto" and layout not in layouts:
        raise CorpusError(f"no layout called {layout!r}; expected auto, {', '.join(layouts)}")
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; expected a corpus folder, or a manifest (.csv, .jsonl)")
    readers = layouts.values() if layout == "auto" else [layouts[layout]]
    try:
        for read in readers:
            if found := list(read(root)):
                return found
    except OSError as error:
        raise CorpusError(f"{root}: cannot be read: {error.strerror}; check the permissions") from None
    expected = EXPECTED[list(layouts)[-1] if layout == "auto" else layout]
    what = "speakers" if kind == "speech" else "noises"
    others = f", or the layout of {', '.join(list(layouts)[:-1])}" if layout == "auto" else ""
    raise CorpusError(
        f"{root}: no {what} found (layout {layout}); expected {expected}{others}; "
        f"files of {', '.join(sorted(AUDIO_SUFFIXES))}"
    )


def _audio_files(root: Path) -> Iterator[Path]:
    """Audio files at any depth, in order. Links to folders are followed, but no folder is entered twice."""
    entered = set()
    for place, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                yield Path(place, name)


def _key(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _libri_genders(root: Path) -> dict[str, str | None]:
    rows = [re.split(r"[|\t]", line) for name in LIBRI_TABLES for line in _lines(root / name)]
    return {row[0].strip(): GENDERS.get(row[1].strip().lower()) for row in rows if len(row) > 1}


def _vctk_genders(root: Path) -> dict[str, str | None]:
    rows = [line.split() for line in _lines(root / "speaker-info.txt")]  # ID AGE GENDER ...
    genders = {row[0]: GENDERS.get(row[2].lower()) for row in rows if len(row) > 2}
    return {f"p{name}" if name.isdigit() else name: gender for name, gender in genders.items()}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
