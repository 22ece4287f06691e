"""A model folder as a function: mixtures in, estimates out (ONNX Runtime)."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from unbabble.errors import ModelError
from unbabble.inference.model_folder import ModelFolder

Samples = NDArray[np.float32]

MOST_AT_ONCE = 8  # windows: more need memory, and are done sooner than a recording can be read and written


class Engine:
    """Runs the graphs of a model folder.

    threads: processor threads to use; None: one a core. Each separates a window of its own: the steps of an LSTM
    are too short to be shared out among threads, which would mostly wait for one another. Estimates do not depend
    on their number. Raises ModelError where a graph cannot be loaded.

    at_once: how many windows are worth submitting before the first estimate is waited for.
    """

    def __init__(self, folder: ModelFolder, threads: int | None = None) -> None:
        self.folder = folder
        self.at_once = min(threads or usable_cores(), MOST_AT_ONCE)
        self._workers = ThreadPoolExecutor(self.at_once, thread_name_prefix="unbabble")
        self._graphs = {role: load_graph(path) for role, path in folder.graphs.items()}

    def __call__(self, mixtures: Samples, n_sources: int | None = None) -> Samples:
        """Separate mixtures (batch, samples) at the model's rate -> estimates (batch, source, samples).

        n_sources: how many to give; raises ModelError where the model cannot give that many.
        """
        wanted = self.folder.n_tracks(n_sources)
        if self.folder.any_sources:
            return self._step_by_step(mixtures, wanted)
        estimates: Samples = self._graphs["separator"].run(None, {"mixture": mixtures})[0]
        return estimates

    def submit(self, mixtures: Samples, n_sources: int | None = None) -> Future[Samples]:
        """Begin to separate, beside what was submitted before; the result, or error, is that of a call.

        mixtures must not be written to before it is there. Whoever submits bounds how many are under way.
        """
        return self._workers.submit(self, mixtures, n_sources)

    def _step_by_step(self, mixtures: Samples, n_sources: int) -> Samples:
        (latent,) = self._graphs["encoder"].run(None, {"mixture": mixtures})
        previous = np.zeros_like(latent)
        estimates = []
        for _ in range(n_sources):
            estimate, previous = self._graphs["decoder"].run(
                None, {"mixture": mixtures, "latent": latent, "previous": previous}
            )
            estimates.append(estimate)
        return np.stack(estimates, axis=1)


def usable_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_graph(path: Path) -> Any:
    """An ONNX graph, to be run on one thread at a time. Raises ModelError where it cannot be loaded."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False  # else a block of memory is kept for every length that comes
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many kinds without a common base
        raise ModelError(f"{path}: not a graph that ONNX Runtime can load ({error})") from None
