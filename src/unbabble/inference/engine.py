"""Model folders as functions: mixtures in, estimates out; signals in, active speakers and their embeddings out."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from unbabble.audio import Resampler
from unbabble.errors import ModelError
from unbabble.inference.batches import Batches, Waiting
from unbabble.inference.devices import AUTO, PROCESSOR
from unbabble.inference.graph import Axes, Graph, Run, interruptible
from unbabble.inference.model_folder import DIARIZER, ModelFolder, open_diarizer
from unbabble.tracking.activity import FRAME_S

Samples = NDArray[np.float32]

MOST_AT_ONCE = 8  # windows: more need memory, and are done sooner than a recording can be read and written
MIXTURE: Axes = ("batch", "samples")
GRID: Axes = ("batch", "rows", None, None)


class Engine(AbstractContextManager["Engine"]):
    """Runs the graphs of a model folder.

    It can be used by several threads at once, and in processes forked from the one that made it. It can be pickled
    and copied: that gives an engine of its own for the same folder.

    Parameters
    ----------
    folder
        The model, as ``open_model`` gives it.
    threads
        Windows separated side by side, each on a thread of its own: the steps of an LSTM are too short to be shared
        out among threads, which would mostly wait for one another. None: one a core. Estimates do not depend on it.
    device
        What runs the graphs (``devices.find_device``). On a GPU, windows of one length are run as batches.

    Attributes
    ----------
    device : Device
        What runs them.
    at_once : int
        How many windows are worth submitting before the first estimate is waited for.

    Raises
    ------
    ModelError
        Where a graph cannot be loaded, or is not one of such a model, or there is no such device here.
    """

    def __init__(self, folder: ModelFolder, threads: int | None = None, device: str = AUTO) -> None:
        self.folder, self._threads, self._asked = folder, threads, device
        self._graphs = {role: Graph(path, *_signature(role, folder), device) for role, path in folder.graphs.items()}
        self.device = next(iter(self._graphs.values())).device
        on_processor = self.device is PROCESSOR
        self.at_once = min(threads or usable_cores(), MOST_AT_ONCE) if on_processor else self.device.at_once
        self._closed = False
        self._begin()

    def __call__(self, mixtures: Samples, n_sources: int | None = None) -> Samples:
        """Separate mixtures.

        Parameters
        ----------
        mixtures
            (batch, samples) at the model's rate.
        n_sources
            How many estimates to give; None: as many as the model was trained for.

        Returns
        -------
        array
            Estimates (batch, source, samples).

        Raises
        ------
        ModelError
            Where the model cannot give that many, or fails.
        ValueError
            Where the engine is closed.
        """
        return self.submit(mixtures, n_sources).result()

    def submit(self, mixtures: Samples, n_sources: int | None = None) -> Run[Samples] | Waiting:
        """Begin to separate, beside what was submitted before; the result, or error, is that of a call.

        mixtures must not be written to before it is there. Whoever submits bounds how many are under way. Raises
        ValueError where the engine is closed.
        """
        if self._closed:
            raise ValueError("the engine is closed; make another")
        if self._process != os.getpid():  # threads are not copied into a forked process
            self._begin()
        run = self._submit(mixtures, n_sources)
        self._runs.add(run)
        return run

    def close(self) -> None:
        """End what is under way, and the threads."""
        self._closed = True
        for run in self._runs:
            run.stop()
        if self._process == os.getpid():
            self._workers.shutdown()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, (self.folder, self._threads, self._asked)

    def _begin(self) -> None:
        n_threads = self.at_once if self.device is PROCESSOR else 1
        self._workers = ThreadPoolExecutor(n_threads, thread_name_prefix="unbabble")
        self._batches = Batches(self._separate, self.device.at_once, self._workers)
        self._runs: WeakSet[Run[Samples] | Waiting] = WeakSet()
        self._process = os.getpid()

    def _submit(self, mixtures: Samples, n_sources: int | None) -> Run[Samples] | Waiting:
        if self.device is PROCESSOR:
            return Run(self._workers, partial(self._separate, mixtures, n_sources))
        return self._batches.submit(mixtures, n_sources)

    def _separate(self, mixtures: Samples, n_sources: int | None, options: Any) -> Samples:
        wanted = self.folder.n_tracks(n_sources)
        if self.folder.any_sources:
            return self._step_by_step(mixtures, wanted, options)
        return self._graphs["separator"]({"mixture": mixtures}, options)[0]

    def _step_by_step(self, mixtures: Samples, n_sources: int, options: Any) -> Samples:
        (latent,) = self._graphs["encoder"]({"mixture": mixtures}, options)
        previous, estimates = np.zeros_like(latent), []
        for _ in range(n_sources):
            arrays = {"mixture": mixtures, "latent": latent, "previous": previous}
            estimate, previous = self._graphs["decoder"](arrays, options)
            estimates.append(estimate)
        return np.stack(estimates, axis=1)


class Diarizer:
    """Counts active speakers and gives speaker embeddings, in frames of 40 ms.

    diarizer: name of a bundled one, or a folder that ``unbabble train`` has made by a recipe of that kind; device:
    what runs it. Raises ModelError where it is incomplete or damaged, or fails.
    """

    def __init__(self, diarizer: str | Path = DIARIZER, device: str = AUTO) -> None:
        self.folder = open_diarizer(diarizer)
        self.sample_rate, self.embedding_size = self.folder.sample_rate, self.folder.embedding_size
        self.parameters = self.folder.tracking
        frames = "rows", "frames"
        outputs: dict[str, Axes] = {"counts": (*frames, 3), self.folder.embeddings: (*frames, self.embedding_size)}
        self._graph = Graph(self.folder.graph, {"signals": ("rows", "samples")}, outputs, device)

    def __call__(self, signals: Samples, sample_rate: int) -> tuple[Samples, Samples]:
        """Signals (rows, samples) at ``sample_rate`` Hz -> counts and embeddings of each.

        Returns counts (rows, frames, 3), log-probabilities of no, one and more talkers, and embeddings (rows, frames,
        embedding), whose mean over the speech of one talker, scaled to length 1, is that talker's.
        """
        resampler = Resampler(sample_rate, self.sample_rate)
        low = np.concatenate([resampler.push(signals), resampler.finish()], axis=1)
        counts, embeddings = interruptible(partial(self._graph, {"signals": low}))
        n_frames = -(-signals.shape[1] // round(FRAME_S * sample_rate))
        if counts.shape[1] < n_frames:
            raise ModelError(
                f"{self.folder.graph}: gives {counts.shape[1]} frames of {n_frames}; export the diarizer again"
            )
        return counts, embeddings


def usable_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _signature(role: str, folder: ModelFolder) -> tuple[dict[str, Axes], dict[str, Axes]]:
    """Inputs and outputs of a graph of a model folder."""
    mixture = {"mixture": MIXTURE}
    if role == "separator":
        return mixture, {"estimates": ("batch", folder.n_sources, "samples")}
    if role == "encoder":
        return mixture, {"latent": GRID}
    return mixture | {"latent": GRID, "previous": GRID}, {"estimate": MIXTURE, "grid": GRID}
