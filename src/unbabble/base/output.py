"""Results appear whole or not at all: written beside their place, then moved into it."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import soundfile

from unbabble.errors import OutputError

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where nobody can remove what another process has open
    fcntl = None  # type: ignore[assignment]

# What ends the name of what a process is still writing, or has left; once with the number of the process.
UNFINISHED = re.compile(r"\.part-(?:\d+|[0-9a-f]{12})$")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A fresh folder to write into, which becomes ``folder`` when the block ends without an error.

    Where ``folder`` exists, files of the same names are replaced and all others stay. Raises OutputError.
    """
    folder = folder.absolute()
    place = beside(folder)
    try:
        with writing(folder):
            place.mkdir(parents=True)
        with held(place):
            yield place
            with writing(folder):
                if folder.exists():
                    for path in place.iterdir():
                        path.replace(folder / path.name)
                else:
                    place.rename(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write a file at, which becomes ``path`` when the block ends without an error.

    An older file stays until then. Raises OutputError.
    """
    place = beside(path)
    try:
        with writing(path):
            place.touch()
        with held(place), writing(path):
            yield place
            place.replace(path)
    finally:
        with suppress(OSError):  # which has been told already
            place.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file; an older one stays until the new one is complete. Raises OutputError."""
    with whole_file(path) as place:
        place.write_bytes(content)


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


def beside(path: Path) -> Path:
    """A name that nobody else has, for what is to become ``path``."""
    return path.with_name(f"{path.name}.part-{secrets.token_hex(6)}")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """A lock on a file or folder that ends with this process, however it ends."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # file systems without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a process that lives has the lock on a file or folder, or that cannot be told."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
