"""What a server is told when it starts, and how it refuses."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from unbabble.errors import UnbabbleError

MB, GB = 10**6, 10**9


class Refused(UnbabbleError):
    """A request that is not served. status: of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    max_mb: of one upload; max_hours: of one recording; max_queued: recordings that wait, or are being sent;
    max_disk_gb: of all that is kept; keep_hours: how long a recording is kept.
    """

    max_mb: float = 2000
    max_hours: float = 6
    max_queued: int = 100
    max_disk_gb: float = 50
    keep_hours: float = 24

    @property
    def upload_bytes(self) -> int:
        return round(self.max_mb * MB)

    @property
    def disk_bytes(self) -> int:
        return round(self.max_disk_gb * GB)


@dataclass(frozen=True)
class Settings:
    """A server.

    data: folder for recordings; models: names and folders of those that may be chosen, the first by default; jobs:
    recordings separated at the same time, each with so many threads; token: what a client must know, None for
    nothing; host_names: names by which the server is called, beside localhost and numeric addresses.
    """

    data: Path
    models: tuple[str, ...] = ("default",)
    diarizer: str = "diarizer"
    jobs: int = 2
    threads: int | None = None
    token: str | None = None
    host_names: tuple[str, ...] = ()
    limits: Limits = Limits()


def data_folder() -> Path:
    """Where programs of this system keep what is the user's."""
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Application Support"
    else:
        home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "unbabble"
