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
from unbabble.inference.model_folder import CARD, DIARIZATION, Card, check_file, find_folder, read_card, read_json
from unbabble.tracking.activity import FRAME_S

Array = NDArray[np.float32]

GRAPH = "diarizer.onnx"
DEFAULT, OLD_DEFAULT = "diarizer", "listener"  # names of the one that comes with the package
OLD_CARD, OLD_GRAPH = "listener.json", "listener.onnx"  # of before there was one kind of folder for all networks
MOST_DIMENSIONS = 4096  # of embeddings


@dataclass(frozen=True)
class DiarizerFolder:
    """A checked folder of a diarizer.

    card: the whole of its JSON; sample_rate in Hz; embedding_size: dimensions; embeddings: what its graph calls them.
    """

    path: Path
    card: dict[str, Any]
    sample_rate: int
    embedding_size: int
    graph: Path
    embeddings: str
    checksums: dict[str, str]


def open_diarizer(diarizer: str | Path = DEFAULT) -> DiarizerFolder:
    """Find a diarizer by its name or folder and check that it is whole. Raises ModelError where it is not."""
    folder = find_folder(DEFAULT if diarizer == OLD_DEFAULT else diarizer, DIARIZATION)
    is_old = not (folder / CARD).exists() and (folder / OLD_CARD).exists()
    if is_old:
        card = Card(folder / OLD_CARD, read_json(folder / OLD_CARD))
        size_key, graph, embeddings = "voice_size", OLD_GRAPH, "voices"
    else:
        card = read_card(folder, DIARIZATION)
        size_key, graph, embeddings = "embedding_size", GRAPH, "embeddings"
    opened = DiarizerFolder(
        folder,
        card.values,
        card.whole_number("sample_rate", *RATES_HZ),
        card.whole_number(size_key, 1, MOST_DIMENSIONS),
        folder / graph,
        embeddings,
        card.texts("checksums"),
    )
    check_file(opened.graph, opened.checksums, card.path.name)
    return opened


class Diarizer:
    """Counts of active speakers and speaker embeddings, in frames of 40 ms.

    diarizer: name of a bundled one, or a folder that ``unbabble train`` has made by a recipe of that kind. Raises
    ModelError where it is incomplete or damaged, or fails.
    """

    def __init__(self, diarizer: str | Path = DEFAULT) -> None:
        self.folder = open_diarizer(diarizer)
        self.sample_rate, self.embedding_size = self.folder.sample_rate, self.folder.embedding_size
        frames = "rows", "frames"
        outputs: dict[str, Axes] = {
            "counts": (*frames, 3),
            self.folder.embeddings: (*frames, self.embedding_size),
        }
        self._graph = Graph(self.folder.graph, {"signals": ("rows", "samples")}, outputs)

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
                f"{self.folder.graph}: gives {counts.shape[1]} frames of {n_frames}; export the diarizer again"
            )
        return counts, embeddings
