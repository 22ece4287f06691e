"""Results on disk: whole or not at all, and never mixed with those of another origin.

What is written lies beside its place until it is complete. Work that was stopped goes on in the folder that it has
claimed, which states what the results depend on.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import soundfile

from unbabble.base.reading import from_json
from unbabble.errors import OutputError, UnbabbleError

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where nobody can remove what another process has open
    fcntl = None  # type: ignore[assignment]

NAME = re.compile(r"[\w][\w.+-]*")  # fit for a folder on every system
# What ends the name of what a process is still writing, or has left; once with the number of the process.
UNFINISHED = re.compile(r"\.part-(?:\d+|[0-9a-f]{12})$")
ORIGIN = "origin.json"  # in a folder that is claimed

Origin = Mapping[str, Any]
"""All that results depend on, by name."""


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


def claim(
    folder: Path, origin: Origin, holds: str, entries: Collection[str] = (), known: Callable[[Origin], Origin] = dict
) -> None:
    """Begin work in a folder, or go on with it where the folder was begun for the same origin.

    Parameters
    ----------
    folder
        Made where it is missing. What a killed process has left unfinished in it is removed.
    origin
        What the results depend on, fit for JSON; the folder states it.
    holds
        What the results are, in a word for the error.
    entries
        Names in the folder that the work is going to write.
    known
        Brings an origin that an older version has written up to date; it may raise what it likes.

    Raises
    ------
    OutputError
        Where the folder was begun for another origin, or states none and has some of the entries.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / ORIGIN
    if path.exists():
        try:
            stated = known(from_json(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError, UnbabbleError):
            stated = {}
        check_origin(folder, stated, known(origin), f"{holds} (see {ORIGIN})")
    else:
        if (foreign := next((name for name in entries if (folder / name).exists()), None)) is not None:
            raise OutputError(f"{folder / foreign}: is there already, from elsewhere; choose another --out")
        write_whole(path, (json.dumps(origin, indent=2) + "\n").encode())
    for left in folder.iterdir():
        if UNFINISHED.search(left.name) and not is_held(left):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def check_origin(
    folder: Path, stated: Origin, wanted: Origin, holds: str, error: type[UnbabbleError] = OutputError
) -> None:
    """Raise ``error`` where a folder was begun for another origin, with the names of what differs."""
    if other := differing(stated, wanted):
        raise error(
            f"{folder}: holds {holds} with other {', '.join(other)}; choose another --out, or give the same settings "
            "to go on with it"
        )


def differing(stated: Origin, wanted: Origin) -> list[str]:
    """The names of what only one of them states, or they state differently."""
    return [
        name for name in {**stated, **wanted} if (name in stated) != (name in wanted) or stated[name] != wanted[name]
    ]
