"""A recording as one track per talker: decode, window, separate, stitch, resample. Read this first."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unbabble.inference.engine import Engine
from unbabble.inference.model_folder import open_model
from unbabble.inference.stream import Stream
from unbabble.tracking.listener import Listener

Samples = NDArray[np.float32]

SHORTEST_WINDOW_S = 0.5


class Separator:
    """Separates recordings with one model.

    model: a name that comes with the package, or a model folder; window_s, overlap_s: how much is separated
    at once, and what neighbouring windows share, in seconds (by default the model's); threads: windows
    separated side by side, each by a processor (by default one a core); listener: folder of the network
    that hears who talks (by default the one that comes with the package). Raises ModelError where one of
    the two cannot be used.

    >>> tracks = Separator()(samples, sample_rate)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path = "default",
        *,
        window_s: float | None = None,
        overlap_s: float | None = None,
        threads: int | None = None,
        listener: str | Path | None = None,
    ) -> None:
        self.model = open_model(model)
        self.window_s = self.model.window_s if window_s is None else window_s
        if overlap_s is None:
            overlap_s = min(self.model.overlap_s, self.window_s / 4)
        self.overlap_s = overlap_s
        if not SHORTEST_WINDOW_S <= self.window_s < math.inf:
            raise ValueError(f"window_s must be at least {SHORTEST_WINDOW_S} s, not {self.window_s}")
        if not 0.01 <= self.overlap_s <= self.window_s / 2:
            raise ValueError(
                f"overlap_s must lie between 0.01 s and half of window_s ({self.window_s} s), not {self.overlap_s}"
            )
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.engine, self.listener = Engine(self.model, threads), Listener(listener)

    def __call__(self, samples: ArrayLike, sample_rate: int, n_sources: int | None = None) -> Samples:
        """Separate a recording that is in memory.

        samples: (n_samples,) floats, full scale 1; sample_rate: 8000 to 192000 Hz; n_sources: how many
        tracks to give, by default as many as the model was trained for. Returns float32
        (n_sources, n_samples) at the same rate and at the levels that the talkers have in the mixture.
        Raises AudioError where the samples are not fit, ModelError where the model cannot give n_sources.
        """
        return np.concatenate(list(self.separate_blocks([samples], sample_rate, n_sources)), axis=1)

    def separate_blocks(
        self, blocks: Iterable[ArrayLike], sample_rate: int, n_sources: int | None = None
    ) -> Iterator[Samples]:
        """Separate a recording that comes in blocks: (samples,) or (1, samples) in, (n_sources, samples) out.

        Blocks may have any size; together the output has exactly the length of the input. Errors as above.
        """
        stream = self.stream(sample_rate, n_sources, self.engine.at_once)
        for block in blocks:
            yield stream.push(block)
        yield stream.finish()

    def stream(self, sample_rate: int, n_sources: int | None = None, at_once: int = 1) -> Stream:
        """Begin a recording that comes block by block, live or not, and whose tracks are wanted as they are ready.

        sample_rate: 8000 to 192000 Hz; n_sources: how many tracks to give; None: as many as the model was trained
        for, of which ``Stream.heard`` tells the ones in which anybody talks; at_once: windows separated side by side,
        each of which adds to the delay. Raises AudioError, ModelError.
        """
        return Stream(self, sample_rate, n_sources, at_once)
