"""What runs on the workers of a cluster: a recording from its place to its place, and windows of long ones.

A worker keeps its separator, whose models come with the first task: nodes need no models of their own.
"""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbabble import __version__
from unbabble.audio import open_recording
from unbabble.cluster.urls import Folder
from unbabble.errors import ClusterError, UnbabbleError
from unbabble.files import Job, Options, Outcome
from unbabble.files.one import separate_one
from unbabble.inference.model_folder import CARD, OLD_CARD, DiarizerFolder, ModelFolder
from unbabble.inference.separator import Separator

Samples = NDArray[np.float32]
Described = tuple[Samples, Samples]  # counts and embeddings, as a diarizer gives them
Files = dict[str, dict[str, bytes]]  # of the folders of both models, by name

_separators: dict[str, Separator] = {}  # that of this worker, by Work.key
_folders: list[tempfile.TemporaryDirectory[str]] = []  # which last as long as the worker


@dataclass(frozen=True)
class Work:
    """What all tasks of a run have in common.

    models: a reference to the files of both, in a list, so that they are not sent with every task; key: names both
    and how they are used; task: settings of Ray for each task; long_s: length from which on a recording is spread;
    stretch: windows in a task; stretches: such tasks under way for one recording; version: of unbabble, where the run
    began.
    """

    options: Options
    models: list[Any]
    key: str
    task: dict[str, Any]
    long_s: float
    stretch: int
    stretches: int
    version: str = __version__


def files_of(model: ModelFolder, diarizer: DiarizerFolder) -> Files:
    """What workers need of both."""
    cards = [path for name in (CARD, OLD_CARD) if (path := diarizer.path / name).exists()]
    return {
        "model": {path.name: path.read_bytes() for path in (model.path / CARD, *model.graphs.values())},
        "diarizer": {path.name: path.read_bytes() for path in (*cards, diarizer.graph)},
    }


def separate_recording(work: Work, job: Job, out: str | None, stale: Sequence[str]) -> Outcome:
    """Separate one recording, which is fetched where the job knows it by a URL.

    out: the URL of the folder for the results, where that is none here; stale: names in it to be removed.
    """
    try:
        separator = _separator(work)
        with tempfile.TemporaryDirectory(prefix="unbabble-") as scratch:
            here = job
            if job.known_as is not None and job.source is not None:
                here = replace(here, source=Folder(job.known_as).fetch(Path(scratch, job.source.name)))
            if out is not None:
                here = replace(here, place=replace(job.place, out=Path(scratch, "out")))
            chosen = SpreadSeparator(separator, work) if _is_long(here, work) else separator
            outcome = separate_one(here, chosen, work.options, lambda done, total: None)
            if out is not None and outcome.summary is not None:
                sidecar, *others = (path for path in here.place.everything() if path.exists())
                made = {path.relative_to(here.place.out).as_posix(): path for path in (*others, sidecar)}
                Folder(out).put(made, stale)
    except UnbabbleError as error:
        return Outcome(job, error=error)
    if outcome.error is not None:
        return Outcome(job, error=renamed(outcome.error, str(here.source), job.name))
    return replace(outcome, job=job)


def renamed(error: UnbabbleError, here: str, known_as: str) -> UnbabbleError:
    """The same error of what a user knows by another name."""
    if here == known_as or here not in str(error):
        return error
    told = type(error)(str(error).replace(here, known_as))
    told.__cause__ = error.__cause__
    return told


def separate_windows(
    work: Work, windows: Sequence[Samples], n_sources: int
) -> list[tuple[Samples, Described]] | UnbabbleError:
    """Estimates (1, estimates, samples) of windows (1, samples), and what the diarizer says of them."""
    try:
        separator = _separator(work)
        under_way = [separator.engine.submit(window, n_sources) for window in windows]
        estimates = [one.result() for one in under_way]
        rate, describe = separator.model.sample_rate, separator.diarizer
        return [
            (estimate, describe(np.vstack([window, estimate[0]]), rate))
            for window, estimate in zip(windows, estimates, strict=True)
        ]
    except UnbabbleError as error:
        return error


class SpreadSeparator(Separator):
    """A separator of one recording, whose windows are separated, and described, by other tasks."""

    def __init__(self, separator: Separator, work: Work) -> None:
        self.model, self.window_s, self.overlap_s = separator.model, separator.window_s, separator.overlap_s
        self.engine = self.diarizer = Windows(work, separator.diarizer)  # type: ignore[assignment]


class Windows:
    """Windows of a recording, separated in stretches: in place of an engine, and of a diarizer.

    The diarizer is asked of the window whose estimates were taken last.
    """

    def __init__(self, work: Work, diarizer: Any) -> None:
        self.folder, self.embedding_size = diarizer.folder, diarizer.embedding_size
        self.parameters = diarizer.parameters
        self.at_once = work.stretch * work.stretches
        self._work, self._stretch = work, Stretch()
        self.described: Described | None = None

    def submit(self, mixtures: Samples, n_sources: int) -> "Window":
        """Begin to separate a window (1, samples), once its stretch is full or its estimates are waited for."""
        if self._stretch.begun is not None:
            self._stretch = Stretch()
        window = Window(self, self._stretch, len(self._stretch.windows))
        self._stretch.windows.append(mixtures)
        self._stretch.n_sources = n_sources
        if len(self._stretch.windows) == self._work.stretch:
            self.begin(self._stretch)
        return window

    def begin(self, stretch: "Stretch") -> None:
        """Begin a stretch that has not begun."""
        import ray

        if stretch.begun is None:
            task = ray.remote(**self._work.task)(separate_windows)
            stretch.begun = task.remote(self._work, stretch.windows, stretch.n_sources)

    def __call__(self, signals: Samples, sample_rate: int) -> Described:
        assert self.described is not None
        return self.described


@dataclass
class Stretch:
    """Windows that one task separates. begun: a reference to what it gives."""

    windows: list[Samples]
    n_sources: int = 0
    begun: Any = None
    given: Any = None

    def __init__(self) -> None:
        self.windows = []


class Window:
    """Estimates of a window that are on their way."""

    def __init__(self, windows: Windows, stretch: Stretch, index: int) -> None:
        self._windows, self._stretch, self._index = windows, stretch, index

    def result(self) -> Samples:
        """(1, estimates, samples). Raises what separating them raises."""
        import ray

        self._windows.begin(self._stretch)
        if self._stretch.given is None:
            self._stretch.given = ray.get(self._stretch.begun)
        if isinstance(self._stretch.given, UnbabbleError):
            raise self._stretch.given
        estimates, self._windows.described = self._stretch.given[self._index]
        return np.asarray(estimates)

    def stop(self) -> None:
        """Nobody waits for them any more."""
        import ray

        if self._stretch.begun is not None:
            with suppress(Exception):  # it is done
                ray.cancel(self._stretch.begun)


def _is_long(job: Job, work: Work) -> bool:
    """Whether a recording says that it is long, and has anything to separate."""
    if job.source is None or work.options.bounds.most == 1:
        return False
    try:
        with open_recording(job.source, work.options.max_hours) as recording:
            return (recording.duration_s or 0) >= work.long_s
    except UnbabbleError:
        return False  # which is told when it is separated


def _separator(work: Work) -> Separator:
    """The separator of this worker, made with its first task. Raises ClusterError, ModelError."""
    import ray

    if work.version != __version__:
        raise ClusterError(
            f"a worker of the cluster has unbabble {__version__}, this program {work.version}; install the same"
        )
    if work.key not in _separators:
        folder = tempfile.TemporaryDirectory(prefix="unbabble-models-")
        for name, files in ray.get(work.models[0]).items():
            Path(folder.name, name).mkdir()
            for file, content in files.items():
                Path(folder.name, name, file).write_bytes(content)
        model, diarizer = Path(folder.name, "model"), Path(folder.name, "diarizer")
        options = replace(work.options, model=model, diarizer=diarizer)
        made = options.separator(options.threads or 1)
        for old in _separators.values():
            old.close()
        _separators.clear()
        _folders[:] = [folder]
        _separators[work.key] = made
    return _separators[work.key]
