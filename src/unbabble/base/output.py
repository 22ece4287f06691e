"""Results appear whole or not at all: written beside their place, then moved into it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from unbabble.errors import OutputError

UNFINISHED = re.compile(r"\.part-\d+$")  # ends the name of what a process is still writing


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A fresh folder to write into, which becomes ``folder`` when the block ends without an error.

    Where ``folder`` exists, files of the same names are replaced and all others stay. Raises OutputError.
    """
    folder = folder.absolute()
    beside = _beside(folder)
    try:
        with writing(folder):
            beside.mkdir(parents=True)
        yield beside
        with writing(folder):
            if folder.exists():
                for path in beside.iterdir():
                    path.replace(folder / path.name)
            else:
                beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write a file at, which becomes ``path`` when the block ends without an error.

    An older file stays until then. Raises OutputError.
    """
    beside = _beside(path)
    try:
        with writing(path):
            yield beside
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file; an older one stays until the new one is complete. Raises OutputError."""
    with whole_file(path) as beside:
        beside.write_bytes(content)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while ``path`` is written into an OutputError."""
    try:
        yield
    except (OSError, soundfile.SoundFileError, AssertionError) as error:  # soundfile asserts that all was taken
        reason = getattr(error, "strerror", None) or _full(path) or str(error) or "the disk takes no more data"
        final = Path(*(UNFINISHED.sub("", part) for part in path.parts))
        raise OutputError(
            f"{final}: cannot be written: {reason}; check the free space and the permissions, or choose another --out"
        ) from error


def _full(path: Path) -> str | None:
    """Libraries that write audio tell of a full disk in other words."""
    there = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    return "No space left on device" if there and shutil.disk_usage(there).free < 1 << 16 else None


def prepare(path: Path) -> None:
    """Make the folder of a file that takes long to make, before that is begun. Raises OutputError."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.part-{os.getpid()}")
