"""The diarizer: counts of active speakers and speaker embeddings in each frame, by a network (ONNX Runtime)."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbabble.audio import RATES_HZ, Resampler
from unbabble.errors import ModelError
from unbabble.inference.graph import Axes, Graph, interruptible
from unbabble.inference.model_folder import check_file, find_folder, read_card
from unbabble.tracking.activity import FRAME_S

Array = NDArray[np.float32]

GRAPH = "listener.onnx"
CARD = "listener.json"
DEFAULT, OLD_DEFAULT = "diarizer", "listener"  # names of the one that comes with the package
MOST_DIMENSIONS = 4096  # of embeddings


@dataclass(frozen=True)
class DiarizerFolder:
    """A checked diarizer's folder. card: the whole of listener.json; sample_rate in Hz; embedding_size: its
    dimensions."""

    path: Path
    card: dict[str, Any]
    sample_rate: int
    embedding_size: int
    checksums: dict[str, str]


def open_diarizer(diarizer: str | Path = DEFAULT) -> DiarizerFolder:
    """Find a diarizer by its name or folder and check that it is whole. Raises ModelError where it is not."""
    folder = find_folder(DEFAULT if diarizer == OLD_DEFAULT else diarizer, CARD)
    try:
        card = read_card(folder / CARD)
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: not a diarizer's folder: it has no {CARD}; make one with train-listener"
        ) from None
    checksums = card.texts("checksums")
    opened = DiarizerFolder(
        folder,
        card.values,
        card.whole_number("sample_rate", *RATES_HZ),
        card.whole_number("voice_size", 1, MOST_DIMENSIONS),
        checksums,
    )
    check_file(folder / GRAPH, checksums, CARD)
    return opened


class Diarizer:
    """Counts of active speakers and speaker embeddings, in frames of 40 ms.

    diarizer: name of a bundled one, or a folder that ``unbabble train-listener`` has made. Raises ModelError where it
    is incomplete or damaged, or fails.
    """

    def __init__(self, diarizer: str | Path = DEFAULT) -> None:
        self.folder = open_diarizer(diarizer)
        self.sample_rate, self.embedding_size = self.folder.sample_rate, self.folder.embedding_size
        frames = "rows", "frames"
        outputs: dict[str, Axes] = {"counts": (*frames, 3), "voices": (*frames, self.embedding_size)}
        self._graph = Graph(self.folder.path / GRAPH, {"signals": ("rows", "samples")}, outputs)

    def __call__(self, signals: Array, sample_rate: int) -> tuple[Array, Array]:
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
                f"{self.folder.path / GRAPH}: gives {counts.shape[1]} frames of {n_frames}; export the diarizer again"
            )
        return counts, embeddings
