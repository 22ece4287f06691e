"""What is to be done: the options, which recordings there are, and where the results of each go."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import InitVar, asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from unbabble.audio import AUDIO_SUFFIXES, RawFormat, TrackFormat, open_recording
from unbabble.errors import ArgumentError, AudioError, OutputError, UnbabbleError
from unbabble.files.activity import check_formats
from unbabble.files.results import (
    FILENAME,
    SIDECAR,
    STAGE,
    Place,
    Template,
    check_names,
    free,
    same,
    track_of,
    tracks_listed,
)
from unbabble.inference.devices import AUTO, check_device
from unbabble.inference.model_folder import DIARIZER, DiarizerFolder, ModelFolder
from unbabble.inference.separator import Separator
from unbabble.tracking.people import Bounds

STDIN = "-"


@dataclass(frozen=True)
class Options:
    """How recordings are separated and what is written: the flags of ``unbabble separate``.

    Parameters
    ----------
    model
        Name of a bundled model, a model folder, or ``OWNER/NAME`` on the Hub.
    speakers
        How many people talk, each of whom gets a track: a number, bounds such as ``(2, 6)`` or ``"2-6"``, or
        ``"auto"`` for up to 10.
    channel
        ``"mix"`` averages all channels, a number (1 is the first) takes that one, ``"each"`` separates every channel
        by itself.
    audio_format, bits
        ``"wav"`` of 16, 24 or 32 bits (floats, the default), or ``"flac"`` of 24.
    filename
        Where tracks go below the folder for the results, with the fields track, speaker, ext and channel.
    activity
        Write who speaks when, too: names of formats, in a list or as ``"rttm,labels,textgrid,csv"``.
    names
        Of the people, in order of appearance, in a list or as ``"Anna,Ben"``; others are speaker3 ...
    force
        Replace results that are there.
    window_s, overlap_s, diarizer, device
        As of ``Separator``; ``listener`` is the old name of ``diarizer``.
    jobs, threads
        Recordings separated at the same time, and the processor threads that they share; None: one a core.
    raw
        How to read standard input that has no header.
    max_hours
        How long a recording may be; None: as long as its size makes likely.

    Raises
    ------
    ValueError
        Where one of them cannot be.
    """

    model: str | Path = "default"
    speakers: int | str | tuple[int, int] = "auto"
    channel: int | Literal["mix", "each"] = "mix"
    audio_format: str = "wav"
    bits: int | None = None
    filename: str = FILENAME
    activity: str | Sequence[str] = ()
    names: str | Sequence[str] = ()
    force: bool = False
    window_s: float | None = None
    overlap_s: float | None = None
    jobs: int = 1
    threads: int | None = None
    raw: RawFormat | None = None
    max_hours: float | None = None
    diarizer: str | Path = DIARIZER
    device: str = AUTO
    listener: InitVar[str | Path | None] = None  # the old name of diarizer

    def __post_init__(self, listener: str | Path | None) -> None:
        if listener is not None:
            object.__setattr__(self, "diarizer", listener)
        Template(self.filename)
        check_device(self.device)
        TrackFormat.of(self.audio_format, self.bits)
        if self.max_hours is not None and not self.max_hours > 0:
            raise ArgumentError(f"max_hours {self.max_hours} is not a number above 0")
        for name in ("activity", "names"):
            value = getattr(self, name)
            value = "rttm" if value is True else value  # activity was a flag
            value = "rttm" if value is True else value  # what it was before there were other formats
            listed = value.split(",") if isinstance(value, str) else value
            object.__setattr__(self, name, tuple(one.strip() for one in listed) if value else ())
        Bounds.of(self.speakers)
        check_formats(self.activity)
        check_names(self.names)
        for name, words in (("channel", ("mix", "each")), ("jobs", ())):
            value = getattr(self, name)
            if value not in words and not (isinstance(value, int) and value >= 1):
                raise ArgumentError(f"{name} {value!r} is not {' or '.join((*words, 'a number from 1'))}")

    @property
    def track_format(self) -> TrackFormat:
        """How tracks are written."""
        return TrackFormat.of(self.audio_format, self.bits)

    @property
    def bounds(self) -> Bounds:
        """How many people there may be."""
        return Bounds.of(self.speakers)

    def separator(self, threads: int | None) -> Separator:
        """A separator as chosen. Raises ModelError; ValueError for the window."""
        return Separator(
            self.model,
            window_s=self.window_s,
            overlap_s=self.overlap_s,
            threads=threads,
            diarizer=self.diarizer,
            device=self.device,
        )

    def deciding(self, model: ModelFolder, diarizer: DiarizerFolder) -> dict[str, Any]:
        """All of them that decide what is written, for the sidecar."""
        return {
            "model": model.card["checksums"],
            "listener": diarizer.checksums,
            "tracking": asdict(diarizer.tracking),
            "speakers": [self.bounds.least, self.bounds.most],
            "format": self.track_format.name,
            "window_s": self.window_s,
            "overlap_s": self.overlap_s,
            "activity": list(self.activity),
            "names": list(self.names),
        }


@dataclass(frozen=True)
class Job:
    """A recording to separate, or one channel of it.

    source: None is standard input; channel: the first is 0, None is the average of all; error: what is wrong with
    the input already; known_as: what a user calls the source, where that is not its path.
    """

    source: Path | None
    place: Place
    channel: int | None = None
    error: UnbabbleError | None = None
    known_as: str | None = None

    @property
    def name(self) -> str:
        """What a user knows it by."""
        name = self.known_as or ("standard input" if self.source is None else str(self.source))
        return name if self.channel is None else f"{name} (channel {self.channel + 1})"

    @property
    def size(self) -> int:
        """In bytes, to guess at the time that it takes."""
        try:
            return max(1, self.source.stat().st_size) if self.source else 1
        except OSError:
            return 1

    def decided(self, options: Options, model: ModelFolder, diarizer: DiarizerFolder) -> dict[str, Any]:
        """All that decides what the result is, for the sidecar: where it is the same, so is the result."""
        settings = {**options.deciding(model, diarizer), "channel": self.place.channel}
        if self.source is None or not self.source.is_file():  # comes once, and never the same
            return {"source": {"name": self.name, "read_ns": time.time_ns()}, "settings": settings}
        status = self.source.stat()
        source = {"name": self.source.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
        return {"source": source, "settings": settings}


def find_jobs(inputs: Sequence[str | Path], out: Path, options: Options) -> list[Job]:
    """The recordings named, and those in the folders named, each with a name of its own for the results."""
    template, taken = Template(options.filename), set[str]()
    return [
        Job(source, Place(out, template, track, label, tuple(options.names)), channel, error)
        for given in inputs
        for source, relative, found_error in _recordings_of(given)
        for track, label, channel, error in _channels(source, free(track_of(relative), taken), found_error, options)
    ]


def check_places(jobs: Sequence[Job], filename: str) -> None:
    """Raise OutputError where two recordings would have one result, or one would replace an input."""
    inputs = {_identity(job.source): job for job in jobs if job.source is not None}
    results: dict[str, Job] = {}
    for job in jobs:
        if job.error is not None:
            continue
        for path in job.place.everything():
            other = results.setdefault(same(path), job)
            if other is not job:
                raise OutputError(
                    f"{path}: both {other.name} and {job.name} would be written there by --filename {filename!r}; "
                    "put {track} in it"
                )
            if (identity := _identity(path)) is not None and identity in inputs:
                raise OutputError(
                    f"{path}: a result would be written onto the input {inputs[identity].name}; "
                    "choose another --out or --filename"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells whether two names are those of one file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


Found = tuple[Path | None, Path, UnbabbleError | None]  # a recording, its name below the input, what is wrong with it


def _recordings_of(given: str | Path) -> Iterator[Found]:
    if given == STDIN:
        yield None, Path("stdin"), None
        return
    path = Path(given)
    try:
        is_folder = path.is_dir()
    except OSError as error:
        yield path, Path(path.name), _unreadable(path, error)
        return
    yield from _in_folder(path) if is_folder else [(path, Path(path.name), None)]


def _in_folder(folder: Path) -> Iterator[Found]:
    """All audio in a folder and below that is not a result of unbabble, finished or not."""
    failures: list[OSError] = []
    files = list(_files_below(folder, failures))
    sidecars = [path for path in files if path.suffix == ".json" and SIDECAR in str(path.relative_to(folder))]
    results = {os.path.normpath(track) for path in sidecars for track in tracks_listed(path)}
    recordings = [path for path in files if _is_recording(path) and os.path.normpath(path) not in results]
    for path in recordings:
        yield path, path.relative_to(folder), None
    for error in failures:
        path = Path(error.filename)
        yield path, Path(path.name or "folder"), _unreadable(path, error)
    if not recordings and not failures:
        expected = ", ".join(sorted(AUDIO_SUFFIXES))
        error_ = AudioError(f"{folder}: a folder without audio; expected files of {expected}")
        yield folder, Path(folder.name or "folder"), error_


def _files_below(folder: Path, failures: list[OSError]) -> Iterator[Path]:
    """Files in the order of their names. Links to folders are followed, but no folder is entered twice."""
    entered = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=failures.append):
        identity = _identity(Path(here))
        if identity in entered:
            folders.clear()
            continue
        entered.add(identity)
        folders[:] = sorted(name for name in folders if not STAGE.search(name))
        yield from (Path(here, name) for name in sorted(files))


def _is_recording(path: Path) -> bool:
    """Audio by its name; a link that leads nowhere is one too, so that its user is told."""
    return path.suffix.lower() in AUDIO_SUFFIXES and (path.is_file() or not path.exists())


def _unreadable(path: Path, error: OSError) -> AudioError:
    return AudioError(f"{path}: cannot be read: {error.strerror}; check the name and the permissions")


Channel = tuple[str, str, int | None, UnbabbleError | None]  # its track, its name, its number, what is wrong


def _channels(source: Path | None, track: str, error: UnbabbleError | None, options: Options) -> Iterable[Channel]:
    """What is to be separated of a recording: the average of its channels, one, or each by itself."""
    if error is not None or options.channel == "mix":
        return [(track, "mix", None, error)]
    if isinstance(options.channel, int):
        return [(track, f"channel{options.channel}", options.channel - 1, None)]
    if source is None or source.is_fifo():
        error = AudioError(f"{source or 'standard input'}: comes once; choose one channel, or mix, or name a file")
        return [(track, "mix", None, error)]
    try:
        with open_recording(source) as recording:
            labels = [f"channel{number + 1}" for number in range(recording.n_channels)]
    except UnbabbleError as unreadable:
        return [(track, "mix", None, unreadable)]
    apart = "channel" in Template(options.filename).fields
    return [(track if apart else f"{track}/{label}", label, index, None) for index, label in enumerate(labels)]
