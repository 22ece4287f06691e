"""How many people talk in each frame, and whose voice it is: a trained listener (ONNX Runtime)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbabble.audio import Resampler
from unbabble.errors import ModelError
from unbabble.inference.engine import load_graph
from unbabble.inference.model_folder import BUNDLED, check_file

Array = NDArray[np.float32]

LISTENER = "listener.onnx"
CARD = "listener.json"
FOLDER = BUNDLED / "listener"


@dataclass(frozen=True)
class ListenerFolder:
    """A checked listener's folder. card: the whole of listener.json; sample_rate in Hz; voice_size: numbers that
    describe a voice."""

    path: Path
    card: dict[str, Any]
    sample_rate: int
    voice_size: int
    checksums: dict[str, str]


def open_listener(listener: str | Path | None = None) -> ListenerFolder:
    """Check the folder of a listener; None, or its name: the one that comes with the package.

    Raises ModelError where it is incomplete or damaged.
    """
    folder = FOLDER if listener is None else Path(listener)
    if str(listener) == FOLDER.name and not folder.exists():
        folder = FOLDER
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        checksums = {str(name): str(digest) for name, digest in card["checksums"].items()}
        opened = ListenerFolder(folder, card, int(card["sample_rate"]), int(card["voice_size"]), checksums)
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: not a listener's folder: it has no {CARD}; make one with train-listener"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / CARD}: damaged ({error}); get or train the listener again") from None
    check_file(folder / LISTENER, checksums, CARD)
    return opened


class Listener:
    """Hears in frames of 40 ms how many talk, and voices as directions in a space where talkers lie apart.

    listener: a folder that ``unbabble train-listener`` has made; None: the one that comes with the package. Raises
    ModelError where it is incomplete or damaged.
    """

    def __init__(self, listener: str | Path | None = None) -> None:
        self.folder = open_listener(listener)
        self.sample_rate, self.voice_size = self.folder.sample_rate, self.folder.voice_size
        self._graph = load_graph(self.folder.path / LISTENER)

    def __call__(self, signals: Array, sample_rate: int) -> tuple[Array, Array]:
        """Signals (rows, samples) at ``sample_rate`` Hz -> what is heard in each.

        Returns counts (rows, frames, 3), log-probabilities of nobody, one and more talkers, and voices (rows, frames,
        voice), whose mean over the speech of one talker has that talker's direction.
        """
        resampler = Resampler(sample_rate, self.sample_rate)
        low = np.concatenate([resampler.push(signals), resampler.finish()], axis=1)
        counts, voices = self._graph.run(None, {"signals": low})
        return counts, voices
