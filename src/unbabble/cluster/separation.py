"""Recordings separated by the tasks of a cluster, begun and ended here."""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from unbabble.base.progress import Progress
from unbabble.cluster.tasks import RETRIES, connected, in_order, n_processors
from unbabble.cluster.urls import Folder, as_path, is_url
from unbabble.cluster.workers import Work, files_of, renamed, separate_recording
from unbabble.errors import ArgumentError, OutputError, UnbabbleError
from unbabble.files import Job, Options, Outcome, Tell, find_jobs, run_jobs
from unbabble.files.results import SIDECAR, Place, recover, unfinished
from unbabble.inference.model_folder import open_diarizer, open_model

LINGERS_S = 10.0  # at most, a worker whose node has died
MOST_STRETCHES = 32  # under way for one recording, whose task holds their windows
SIDECARS = re.compile(rf"{SIDECAR}.*\.json$")


@dataclass(frozen=True)
class Spread:
    """How work is spread.

    Parameters
    ----------
    under_way
        Recordings at once; None: two for each processor of the cluster.
    retries
        How often a task is begun again whose worker has died.
    long_s
        Length from which on a recording's windows are tasks of their own, which other workers take.
    stretch
        Windows in such a task.
    """

    under_way: int | None = None
    retries: int = RETRIES
    long_s: float = 1800.0
    stretch: int = 4


@contextmanager
def separate_on(
    cluster: str, inputs: Sequence[str], out: str, options: Options, spread: Spread, progress: Progress
) -> Iterator[tuple[list[Job], Iterator[Outcome]]]:
    """The recordings there are, and what becomes of them on a cluster: as ``find_jobs`` and ``run_jobs`` give it."""
    with connected(cluster), tempfile.TemporaryDirectory(prefix="unbabble-") as scratch:
        mirrors = Mirrors(Path(scratch))
        with mirrors.named():
            jobs = mirrors.find_jobs(inputs, out, options)
        spread_all = partial(_separate_all, spread, mirrors.out)
        with closing(run_jobs(jobs, options, progress, spread_all)) as outcomes:
            yield jobs, mirrors.outcomes(outcomes)


class Mirrors:
    """Trees here that stand for folders by URL, so that recordings are found and known again as they are here."""

    def __init__(self, scratch: Path) -> None:
        self._scratch, self._urls = scratch, dict[str, str]()
        self.out: str | None = None

    def find_jobs(self, inputs: Sequence[str], out: str, options: Options) -> list[Job]:
        """As ``files.find_jobs``. Raises ArgumentError, AudioError."""
        if options.channel == "each" and any(map(is_url, inputs)):
            raise ArgumentError("channel 'each' is for files here: of URLs, take a number or 'mix'")
        places = [self._mirrored(one) if is_url(one) else as_path(one) for one in inputs]
        jobs = find_jobs(places, self._out(out), options)
        return [replace(job, place=replace(job.place, url=self.out), known_as=self._known_as(job)) for job in jobs]

    def outcomes(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """The same, with errors that name URLs."""
        with self.named():
            for outcome in outcomes:
                yield replace(outcome, error=self._told(outcome.error)) if outcome.error else outcome

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors name URLs in place of their mirrors."""
        try:
            yield
        except UnbabbleError as error:
            raise self._told(error) from error.__cause__

    def _mirrored(self, url: str) -> Path:
        here = self._scratch / f"in{len(self._urls)}"
        folder = Folder(url)
        found = folder.mirror(here, SIDECARS)
        self._urls[str(found)] = folder.url
        return found

    def _out(self, out: str) -> Path:
        if not is_url(out):
            return as_path(out)
        folder, here = Folder(out), self._scratch / "out"
        self.out = self._urls[str(here)] = folder.url
        if folder.exists():
            folder.mirror(here, SIDECARS)
        return here

    def _known_as(self, job: Job) -> str | None:
        found = str(job.source)
        here = next((here for here in self._urls if found == here or found.startswith(here + os.sep)), None)
        return None if here is None else self._urls[here] + found[len(here) :].replace(os.sep, "/")

    def _told(self, error: UnbabbleError) -> UnbabbleError:
        for here, url in self._urls.items():
            error = renamed(error, here, url)
        return error


def _separate_all(
    spread: Spread, out: str | None, jobs: Sequence[Job], options: Options, tell: Tell
) -> Generator[Outcome, None, None]:
    """What becomes of each job, in order; out: the URL of the folder for results, where that is none here."""
    import ray

    if not jobs:
        return
    model, diarizer = open_model(options.model), open_diarizer(options.diarizer)
    facts = (model.card["checksums"], diarizer.checksums, options.window_s, options.overlap_s)
    task = {
        "num_cpus": options.threads or 1,
        "num_gpus": int(options.device in ("cuda", "directml")),
        "max_retries": spread.retries,
        "scheduling_strategy": "SPREAD",
    }
    work = Work(
        options,
        [ray.put(files_of(model, diarizer))],
        hashlib.sha256(repr((*facts, options.threads, options.device)).encode()).hexdigest(),
        task,
        spread.long_s,
        spread.stretch,
        min(n_processors() + 1, MOST_STRETCHES),
    )
    separate = ray.remote(**task)(separate_recording)

    def submit(index: int) -> object:
        place = jobs[index].place
        stale = [path for path in place.everything() if path.exists()] if out else []
        return separate.remote(work, jobs[index], out, [path.relative_to(place.out).as_posix() for path in stale])

    def failed(index: int, error: UnbabbleError) -> Outcome:
        return Outcome(jobs[index], error=type(error)(f"{jobs[index].name}: {error}"))

    most = spread.under_way or 2 * n_processors()
    for index, outcome in enumerate(in_order(submit, len(jobs), most, failed)):
        yield outcome
        tell(index, 1, 1)
    _clean_up([job.place for job in jobs])


def _clean_up(places: Sequence[Place]) -> None:
    """Remove what workers have left that died, once they are gone: they end some moments after their node."""
    until = time.monotonic() + LINGERS_S
    while (left := unfinished(places)) and time.monotonic() < until:
        for place, stages in left.items():
            for stage in stages:
                with suppress(OutputError):
                    recover(stage, place)
        time.sleep(0.1)
