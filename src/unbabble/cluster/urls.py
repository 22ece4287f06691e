"""Files by URL (fsspec): a folder there as its mirror here, files fetched and put."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from unbabble.base.reading import from_json
from unbabble.errors import AudioError, ClusterError, OutputError, UnbabbleError, in_one_line

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
LOCAL = re.compile(r"(file|local)://", re.IGNORECASE)
TIMES = ("LastModified", "mtime", "updated", "last_modified", "created")  # by which file systems know changes
READ_AT_ONCE = 256  # small files
OBJECT_STORES = frozenset({"s3", "gs", "abfs", "oss", "oci", "r2"})
MARKER = ".part-000000000000"  # ends the name of what lists an upload that goes on


def is_url(text: str) -> bool:
    """Whether a text is a URL of another place than this machine's file system."""
    return bool(URL.match(text)) and not LOCAL.match(text)


def as_path(text: str) -> Path:
    """The path that a text, or a file:// URL, stands for."""
    return Path(LOCAL.sub("", text))


class Folder:
    """A folder, or a file, by its URL. Raises ClusterError where there is no file system for it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:  # of fsspec, or of what it needs for this kind of URL
            raise ClusterError(f"{url}: {error}; install it here and on every node") from None
        except ValueError as error:
            raise ClusterError(f"{url}: {error}; expected s3://, gs:// or another URL that fsspec knows") from None

    def mirror(self, here: Path, contents: re.Pattern[str]) -> Path:
        """Make the same tree here, of files that are as large and as old, but empty; those whose names match have
        their contents. What was put there by half is left out. Returns the path of what the URL names.

        Raises AudioError.
        """
        with told(self.url, "read", AudioError):
            found = self._files.find(self._root, detail=True)
            if not found and not self._files.exists(self._root):
                raise AudioError(f"{self.url}: no such file or folder; check the address")
        is_file = list(found) == [self._root]
        inside = str(PurePosixPath(self._root).parent) if is_file else self._root
        names = {path[len(inside) :].lstrip("/"): path for path in found}
        wanted = []
        for name, path in names.items():
            if not name or ".." in PurePosixPath(name).parts:
                continue
            place = here / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                file.truncate(int(found[path].get("size") or 0))
            if contents.search(name) or name.endswith(MARKER):
                wanted.append((path, place))
            _set_time(place, found[path])
        for start in range(0, len(wanted), READ_AT_ONCE):
            self._read_all(dict(wanted[start : start + READ_AT_ONCE]), found)
        for marker in list(here.rglob(f"*{MARKER}")):  # of which folders are removed
            for name in _listed(marker):
                (here / name).unlink(missing_ok=True)
            marker.unlink()
            with suppress(OSError):  # others are in it
                marker.parent.rmdir()
        return here / next(iter(names)) if is_file else here

    def exists(self) -> bool:
        """Raises OutputError where that cannot be asked."""
        with told(self.url, "read", OutputError):
            return bool(self._files.exists(self._root))

    def fetch(self, place: Path) -> Path:
        """Copy a file to a place here, which is as old. Raises AudioError."""
        with told(self.url, "read", AudioError):
            facts = self._files.info(self._root)
            self._files.get_file(self._root, str(place))
        _set_time(place, facts)
        return place

    def put(self, files: Mapping[str, Path], stale: Iterable[str] = ()) -> None:
        """Copy files into the folder by their names in it, the last of which tells that all are there.

        stale: names to be removed first. While this goes on, a marker lists what is being written, so that half of it
        is known for what it is (see ``mirror``). Raises OutputError.
        """
        *_, last = files
        marker = f"{self._root}/{last}{MARKER}"
        with told(self.url, "written", OutputError):
            self._make_parent(marker)
            self._files.pipe_file(marker, json.dumps(list(files)).encode())
            for name in stale:
                if self._files.exists(f"{self._root}/{name}"):
                    self._files.rm_file(f"{self._root}/{name}")
            for name, path in files.items():
                self._make_parent(f"{self._root}/{name}")
                self._files.put_file(str(path), f"{self._root}/{name}")
            self._files.rm_file(marker)

    def _make_parent(self, path: str) -> None:
        """Of object stores, which have no folders, this could make a bucket."""
        names = self._files.protocol
        if OBJECT_STORES.isdisjoint([names] if isinstance(names, str) else names):
            self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)

    def _read_all(self, wanted: dict[str, Path], found: dict[str, Any]) -> None:
        with told(self.url, "read", AudioError):
            contents = self._files.cat(list(wanted)) if wanted else {}
        for path, place in wanted.items():
            place.write_bytes(contents[path])
            _set_time(place, found[path])


@contextmanager
def told(url: str, doing: str, kind: type[UnbabbleError]) -> Iterator[None]:
    """What a file system raises, each its own errors, as one of ours."""
    try:
        yield
    except UnbabbleError:
        raise
    except FileNotFoundError:
        raise kind(f"{url}: cannot be {doing}: there is no such file, folder or bucket; check the address") from None
    except Exception as error:
        reason = in_one_line(error) or type(error).__name__
        raise kind(f"{url}: cannot be {doing}: {reason}; check permissions, credentials and the address") from None


def _listed(marker: Path) -> list[str]:
    """Names in a marker; one that was put by half lists nothing that was begun."""
    try:
        names = from_json(marker.read_bytes())
        return [name for name in names if isinstance(name, str) and ".." not in PurePosixPath(name).parts]
    except (ValueError, TypeError):
        return []


def _set_time(place: Path, facts: dict[str, Any]) -> None:
    """That of the file there, by which a later run knows it again."""
    changed = next((facts[name] for name in TIMES if facts.get(name)), 0)
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed.replace("Z", "+00:00"))
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    os.utime(place, ns=(round(seconds * 1000) * 10**6,) * 2)
