"""Separated windows on their way from the first pass to the second: in memory while they are few, else on disk."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbabble.base.output import writing
from unbabble.errors import OutputError
from unbabble.inference.windows import Separated
from unbabble.tracking.viterbi import Observations

LARGEST = np.float32(32767)
IN_MEMORY = 64 << 20  # bytes, beyond which a nameless file takes all
BYTES_A_SAMPLE = 9.0  # of the recording at the model's rate, with two estimates and windows that share 30 %


class Spill:
    """Keeps windows and what is known of them. folder: for the file; None: where temporary files are.

    The mixture is kept as it is, all else in 16 bits: estimates as integers up to the peak of their window.
    Raises OutputError where the disk takes no more.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self._folder))  # noqa: SIM115  # closed with the object
        self._n_windows = 0

    def expect(self, n_samples: float) -> None:
        """Raise OutputError where what is needed for so many samples at the model's rate is not free on the disk."""
        needed, free = BYTES_A_SAMPLE * n_samples, shutil.disk_usage(self._folder).free
        if needed > max(free, IN_MEMORY):
            raise OutputError(
                f"{self._folder}: has {free / 1e9:.1f} GB free, but separating this recording needs "
                f"{needed / 1e9:.1f} GB until it is done; free some, or choose another --out"
            )

    def append(self, window: Separated, seen: Observations) -> None:
        """The next window."""
        peak = np.float32(np.abs(window.estimates).max(initial=1e-9))
        arrays: tuple[NDArray[Any], ...] = (
            window.mixture,
            window.gain[: 0 if (window.gain == 1).all() else None],
            np.array([peak]),
            np.rint(window.estimates * (LARGEST / peak)).astype(np.int16),
            seen.counts.astype(np.float16),
            seen.embeddings.astype(np.float16),
            seen.levels.astype(np.float16),
        )
        with writing(self._folder / "tracks"):
            for array in arrays:
                np.save(self._file, array, allow_pickle=False)
        self._n_windows += 1

    def __iter__(self) -> Iterator[tuple[Separated, Observations]]:
        """All windows, from the first."""
        self._file.seek(0)
        for _ in range(self._n_windows):
            mixture, gain, peak, *smaller = (np.load(self._file, allow_pickle=False) for _ in range(7))
            estimates, counts, embeddings, levels = (one.astype(np.float32) for one in smaller)
            yield (
                Separated(mixture, estimates * (peak / LARGEST), gain if gain.size else np.ones_like(mixture)),
                Observations(counts, embeddings, levels),
            )

    def close(self) -> None:
        """Free what is kept."""
        self._file.close()
