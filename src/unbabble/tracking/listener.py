"""How many people talk in each frame, and whose voice it is: a trained listener (ONNX Runtime)."""

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

Array = NDArray[np.float32]

LISTENER = "listener.onnx"
CARD = "listener.json"
LARGEST_VOICE = 4096  # numbers


@dataclass(frozen=True)
class ListenerFolder:
    """A checked listener's folder. card: the whole of listener.json; sample_rate in Hz; voice_size: numbers that
    describe a voice."""

    path: Path
    card: dict[str, Any]
    sample_rate: int
    voice_size: int
    checksums: dict[str, str]


def open_listener(listener: str | Path = "listener") -> ListenerFolder:
    """Find a listener by its name or folder and check that it is whole. Raises ModelError where it is not."""
    folder = find_folder(listener, CARD)
    try:
        card = read_card(folder / CARD)
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: not a listener's folder: it has no {CARD}; make one with train-listener"
        ) from None
    checksums = card.texts("checksums")
    opened = ListenerFolder(
        folder,
        card.values,
        card.whole_number("sample_rate", *RATES_HZ),
        card.whole_number("voice_size", 1, LARGEST_VOICE),
        checksums,
    )
    check_file(folder / LISTENER, checksums, CARD)
    return opened


class Listener:
    """Hears in frames of 40 ms how many talk, and voices as directions in a space where talkers lie apart.

    listener: name of a bundled one, or a folder that ``unbabble train-listener`` has made. Raises ModelError where it
    is incomplete or damaged, or fails.
    """

    def __init__(self, listener: str | Path = "listener") -> None:
        self.folder = open_listener(listener)
        self.sample_rate, self.voice_size = self.folder.sample_rate, self.folder.voice_size
        frames = "rows", "frames"
        outputs: dict[str, Axes] = {"counts": (*frames, 3), "voices": (*frames, self.voice_size)}
        self._graph = Graph(self.folder.path / LISTENER, {"signals": ("rows", "samples")}, outputs)

    def __call__(self, signals: Array, sample_rate: int) -> tuple[Array, Array]:
        """Signals (rows, samples) at ``sample_rate`` Hz -> what is heard in each.

        Returns counts (rows, frames, 3), log-probabilities of nobody, one and more talkers, and voices (rows, frames,
        voice), whose mean over the speech of one talker has that talker's direction.
        """
        resampler = Resampler(sample_rate, self.sample_rate)
        low = np.concatenate([resampler.push(signals), resampler.finish()], axis=1)
        counts, voices = interruptible(partial(self._graph, {"signals": low}))
        return counts, voices
