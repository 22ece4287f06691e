"""A model folder as a function: mixtures in, estimates out (ONNX Runtime)."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from unbabble.errors import ModelError
from unbabble.model_folder import ModelFolder

Samples = NDArray[np.float32]


class Engine:
    """Runs the graphs of a model folder.

    threads: processor threads to use; None leaves the choice to ONNX Runtime. Raises ModelError where a
    graph cannot be loaded.
    """

    def __init__(self, folder: ModelFolder, threads: int | None = None) -> None:
        self.folder = folder
        self._graphs = {role: _load(path, threads) for role, path in folder.graphs.items()}

    def __call__(self, mixtures: Samples, n_sources: int | None = None) -> Samples:
        """Separate mixtures (batch, samples) at the model's rate -> estimates (batch, source, samples).

        n_sources: how many to give; raises ModelError where the model cannot give that many.
        """
        wanted = self.folder.n_tracks(n_sources)
        if self.folder.any_sources:
            return self._step_by_step(mixtures, wanted)
        estimates: Samples = self._graphs["separator"].run(None, {"mixture": mixtures})[0]
        return estimates

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


def _load(path: Path, threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many kinds without a common base
        raise ModelError(f"{path}: not a graph that ONNX Runtime can load ({error})") from None
