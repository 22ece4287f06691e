"""Recordings on disk become tracks on disk: the front door of both the program and Python.

Recordings that are done are left, the others are separated, in several processes if wanted.
"""

import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from unbabble.base.progress import UNWATCHED, Advance, Progress
from unbabble.errors import OutputError, UnbabbleError
from unbabble.files.activity import ACTIVITY
from unbabble.files.jobs import Job, Options, check_places, find_jobs
from unbabble.files.one import Outcome, named_errors, opened, separate_into_pipe, separate_one
from unbabble.files.results import SIDECAR, Place, earlier_result, recover, unfinished
from unbabble.inference.engine import usable_cores
from unbabble.inference.model_folder import DiarizerFolder, ModelFolder, open_diarizer, open_model
from unbabble.inference.separator import Separator

__all__ = ["Job", "Options", "Outcome", "Tell", "find_jobs", "run_jobs", "separate", "separate_into_pipe"]

LOOKS_S = 0.2  # between two looks at what other processes have done

Tell = Callable[[int, float, float | None], None]
"""Told of a job, by its place in the list, how much is done and of how much."""

SeparateAll = Callable[[Sequence[Job], Options, Tell], Generator[Outcome, None, None]]
"""What becomes of jobs, in order, as soon as it is known."""


def separate(
    inputs: str | Path | Sequence[str | Path], out: str | Path, *, progress: Progress = UNWATCHED, **options: Any
) -> list[Outcome]:
    """Separate files and folders; every input is tried, whatever became of the others.

    Writes, for each recording, ``<out>/<relative path without suffix>/speaker1.wav ...`` and ``separation.json``,
    whole or not at all. What is done already is left as it is.

    Parameters
    ----------
    inputs
        Audio and video files, and folders that are walked.
    out
        Folder for the results, made where it is missing.
    progress
        Told what goes on.
    **options
        The fields of ``Options``, which are the flags of the program.

    Returns
    -------
    list of Outcome
        One for each recording, in order: what was written, or what is wrong with it.

    Raises
    ------
    ModelError
        Where the model cannot be used.
    OutputError
        Where two results would have one name.
    ValueError
        For options that cannot be.

    Examples
    --------
    >>> separate(["talk.m4a", "meetings"], "out", speakers=2, jobs=4)  # doctest: +SKIP
    """
    chosen = Options(**options)
    given = [inputs] if isinstance(inputs, str | Path) else inputs
    return list(run_jobs(find_jobs(given, Path(out), chosen), chosen, progress))


def run_jobs(
    jobs: Sequence[Job],
    options: Options,
    progress: Progress = UNWATCHED,
    separate_all: "SeparateAll | None" = None,
) -> Generator[Outcome, None, None]:
    """What becomes of each job that ``find_jobs`` has found, in order, as soon as it is known.

    separate_all: separates those that are to be done now; None: as ``options.jobs`` says.

    Raises
    ------
    ModelError, OutputError, ValueError
        As ``separate``.
    """
    check_places(jobs, options.filename)
    model, diarizer = open_model(options.model), open_diarizer(options.diarizer)
    left = unfinished([job.place for job in jobs])
    known = {
        index: outcome
        for index, job in enumerate(jobs)
        if (outcome := _settled(job, options, model, diarizer, left.get(job.place, []))) is not None
    }
    to_do = [job for index, job in enumerate(jobs) if index not in known]
    with _tasks(to_do, progress) as tell, closing((separate_all or _separate_all)(to_do, options, tell)) as outcomes:
        for index in range(len(jobs)):
            yield known[index] if index in known else next(outcomes)
    for place, stages in left.items():  # of processes that ran on for a moment
        for stage in stages:
            with suppress(OutputError):
                recover(stage, place)


def _settled(
    job: Job, options: Options, model: ModelFolder, diarizer: DiarizerFolder, stages: Sequence[Path]
) -> Outcome | None:
    """What is known of a job before anything is separated: it cannot be done, or is done already."""
    if job.error is not None:
        return Outcome(job, error=job.error)
    try:
        for stage in stages:
            recover(stage, job.place)
        if job.source is not None and not os.path.exists(job.source):
            with named_errors(job), opened(job, options):  # says what is wrong, before a model is loaded
                return None
        if options.force:
            return None
        decided = job.decided(options, model, diarizer)
        earlier = earlier_result(job.place, decided, _planned(job.place, options))
    except UnbabbleError as error:
        return Outcome(job, error=error)
    return Outcome(job, earlier, earlier=True) if earlier else None


def _planned(place: Place, options: Options) -> list[Path]:
    """The files that separating would write, if as many people talk as may."""
    ext = options.track_format.suffix[1:]
    tracks = [place.path(place.speaker(number), ext) for number in range(options.bounds.most)]
    return [place.sidecar, *tracks, *(place.path(SIDECAR, ACTIVITY[name]) for name in options.activity)]


@contextmanager
def _tasks(jobs: Sequence[Job], progress: Progress) -> Iterator[Tell]:
    """A task for each job that is begun, and one for several together, in which each counts by its size."""
    sizes, done_sizes, tasks = [job.size for job in jobs], [0.0] * len(jobs), dict[int, Advance]()
    with ExitStack() as stack:
        whole = stack.enter_context(progress.task(f"{len(jobs)} recordings")) if len(jobs) > 1 else None

        def tell(index: int, done: float, total: float | None) -> None:
            if index not in tasks:
                tasks[index] = stack.enter_context(progress.task(jobs[index].name))
            tasks[index](done, total)
            done_sizes[index] = sizes[index] * min(1.0, done / total) if total else 0.0
            if whole is not None:
                whole(sum(done_sizes), sum(sizes))

        yield tell


def _separate_all(jobs: Sequence[Job], options: Options, tell: Tell) -> Generator[Outcome, None, None]:
    processes = min(options.jobs, len(jobs))
    if processes > 1:
        yield from _in_processes(jobs, options, processes, tell)
    elif jobs:
        separator = options.separator(options.threads)
        for index, job in enumerate(jobs):
            yield separate_one(job, separator, options, partial(tell, index))
            tell(index, 1, 1)


def _in_processes(jobs: Sequence[Job], options: Options, processes: int, tell: Tell) -> Iterator[Outcome]:
    import multiprocessing  # takes a while, and is not needed for one job at a time

    from unbabble.base.parallel import in_parallel

    progress = multiprocessing.RawArray("d", 2 * len(jobs))  # no lock that a killed process could keep
    work = _Work(jobs, options, max(1, (options.threads or usable_cores()) // processes), progress)
    with _looking_at(progress, tell):
        yield from in_parallel(work, range(len(jobs)), processes)


@dataclass
class _Work:
    """What a process does with a job's number. progress: how much of each is done, and of how much (0: unknown)."""

    jobs: Sequence[Job]
    options: Options
    threads: int
    progress: Any
    separator: Separator | None = field(default=None, init=False)

    def __call__(self, index: int) -> Outcome:
        def note(done: float, total: float | None) -> None:
            self.progress[2 * index : 2 * index + 2] = done, total or 0.0

        self.separator = self.separator or self.options.separator(self.threads)
        outcome = separate_one(self.jobs[index], self.separator, self.options, note)
        note(1, 1)
        return outcome


@contextmanager
def _looking_at(progress: Any, tell: Tell) -> Iterator[None]:
    """Tell what the processes note, now and then."""
    ended = threading.Event()
    told: dict[int, tuple[float, float]] = {}

    def look() -> None:
        while not ended.wait(LOOKS_S):
            for index in range(len(progress) // 2):
                done, total = progress[2 * index], progress[2 * index + 1]
                if done and told.get(index) != (done, total):
                    told[index] = done, total
                    tell(index, done, total or None)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
