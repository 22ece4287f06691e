"""How many people talk in each frame, and whose voice it is: the bundled listener (ONNX Runtime)."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbabble.audio import Resampler
from unbabble.engine import load_graph
from unbabble.errors import ModelError
from unbabble.model_folder import BUNDLED, check_file

Array = NDArray[np.float32]

LISTENER = "listener.onnx"
CARD = "listener.json"
FOLDER = BUNDLED / "listener"


class Listener:
    """Hears in frames of 40 ms how many talk, and voices as directions in a space where talkers lie apart.

    folder: where ``unbabble train-listener`` has put one; by default the one that comes with the package. Raises
    ModelError where it is incomplete or damaged.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        try:
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            self.sample_rate, self.voice_size = int(card["sample_rate"]), int(card["voice_size"])
            checksums = {str(name): str(digest) for name, digest in card["checksums"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder}: not the folder of a listener ({error}); train or get it again") from None
        check_file(folder / LISTENER, checksums)
        self._graph = load_graph(folder / LISTENER)

    def __call__(self, signals: Array, sample_rate: int) -> tuple[Array, Array]:
        """Signals (rows, samples) at ``sample_rate`` Hz -> what is heard in each.

        Returns counts (rows, frames, 3), log-probabilities of nobody, one and more talkers, and voices (rows, frames,
        voice), whose mean over the speech of one talker has that talker's direction.
        """
        resampler = Resampler(sample_rate, self.sample_rate)
        low = np.concatenate([resampler.push(signals), resampler.finish()], axis=1)
        counts, voices = self._graph.run(None, {"signals": low})
        return counts, voices
