"""A recording as one track per talker: resample, window, separate, stitch, resample back. Read this first."""

import os
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unbabble.audio import RATES_HZ, SHORTEST_S, HighPass, Resampler, check_numbers
from unbabble.audio.filters import KERNEL_S
from unbabble.errors import ArgumentError, AudioError
from unbabble.inference.devices import AUTO
from unbabble.inference.engine import Diarizer, Engine
from unbabble.inference.model_folder import DIARIZER, SHORTEST_OVERLAP_S, WINDOWS_S, open_model, portable
from unbabble.inference.windows import Known, LongSeparation
from unbabble.tracking.activity import Turn
from unbabble.tracking.stitch import Stitcher

Samples = NDArray[np.float32]

RESAMPLING_S = 0.1  # that both resamplers hold back, at most


class Separator(AbstractContextManager["Separator"]):
    """Separates recordings with one model.

    It can be used by several threads at once, and in processes forked from the one that made it. It can be pickled
    and copied: that gives another with the same settings. ``with`` or ``close`` ends its threads.

    Parameters
    ----------
    model
        Name of a bundled model, or a model folder (``./default`` and every Path is one), or ``OWNER/NAME`` or
        ``OWNER/NAME@REVISION`` on the Hugging Face Hub, where nothing here is called OWNER.
    window_s, overlap_s
        How much is separated at once, and what neighbouring windows share, in seconds; None: the model's.
    threads
        Windows separated side by side, each by a processor; None: one a core.
    diarizer
        The network that finds the active speakers: likewise.
    device
        What runs both: "cpu", "cuda", "coreml" or "directml", of which all but the first need another package of ONNX
        Runtime; "auto": a GPU by cuda or directml where that is installed, else the processor. On a GPU, windows are
        separated as batches, and estimates differ by up to 1e-4.
    listener
        Old name of ``diarizer``.

    Raises
    ------
    ModelError
        Where one of the two, or the device, cannot be used.
    ValueError
        Where a number is out of range.

    Examples
    --------
    >>> tracks = Separator()(samples, sample_rate)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path = "default",
        *,
        window_s: float | None = None,
        overlap_s: float | None = None,
        threads: int | None = None,
        diarizer: str | Path = DIARIZER,
        device: str = AUTO,
        listener: str | Path | None = None,
    ) -> None:
        self.model = open_model(model)
        self.window_s = _in_range("window_s", self.model.window_s if window_s is None else window_s, WINDOWS_S)
        if overlap_s is None:
            overlap_s = min(self.model.overlap_s, self.window_s / 4)
        self.overlap_s = _in_range(
            "overlap_s (at most half of window_s)", overlap_s, (SHORTEST_OVERLAP_S, self.window_s / 2)
        )
        if threads is not None and not (_is_whole(threads) and threads >= 1):
            raise ArgumentError(f"threads must be a whole number from 1, not {threads!r}")
        self._threads, self._device = threads, device
        self.engine = Engine(self.model, threads, device)
        self.diarizer = Diarizer(diarizer if listener is None else listener, device)

    def __call__(self, samples: ArrayLike, sample_rate: int, n_sources: int | None = None) -> Samples:
        """Separate a recording that is in memory.

        Parameters
        ----------
        samples
            (n_samples,) floats, full scale 1.
        sample_rate
            8000 to 192000 Hz.
        n_sources
            How many tracks to give; None: as many as the model was trained for.

        Returns
        -------
        array
            float32 (n_sources, n_samples) at the same rate and at the levels that the talkers have in the mixture.

        Raises
        ------
        AudioError
            Where the samples are not fit.
        ModelError
            Where the model cannot give n_sources, or fails.
        ValueError
            Where the separator is closed.
        """
        return np.concatenate(list(self.separate_blocks([samples], sample_rate, n_sources)), axis=1)

    def separate_blocks(
        self, blocks: Iterable[ArrayLike], sample_rate: int, n_sources: int | None = None
    ) -> Iterator[Samples]:
        """Separate a recording that comes in blocks: (samples,) or (1, samples) in, (n_sources, samples) out.

        Blocks may have any size; together the output has exactly the length of the input. Errors as above.
        """
        with self.stream(sample_rate, n_sources, self.engine.at_once) as stream:
            for block in blocks:
                yield stream.push(block)
            yield stream.finish()

    def stream(self, sample_rate: int, n_sources: int | None = None, at_once: int = 1) -> "Stream":
        """Begin a recording that comes block by block, live or not, and whose tracks are wanted as they are ready.

        Parameters
        ----------
        sample_rate
            8000 to 192000 Hz.
        n_sources
            How many tracks to give; None: as many as the model was trained for, of which ``Stream.active_speakers``
            tells the ones in which anybody talks.
        at_once
            Windows separated side by side, each of which adds to the delay.

        Raises
        ------
        AudioError, ModelError, ValueError
            As above.
        """
        return Stream(self, sample_rate, n_sources, at_once)

    def close(self) -> None:
        """End what is under way, and the threads; it then separates no more."""
        self.engine.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        model, diarizer = (portable(folder) for folder in (self.model.path, self.diarizer.folder.path))
        settings: dict[str, Any] = {"window_s": self.window_s, "overlap_s": self.overlap_s}
        settings |= {"threads": self._threads, "device": self._device}
        return _separator, (model, diarizer, settings)


def _separator(model: str | Path, diarizer: str | Path, settings: dict[str, Any]) -> Separator:
    """One that has been pickled or copied."""
    return Separator(model, diarizer=diarizer, **settings)


class Stream(AbstractContextManager["Stream"]):
    """Blocks of a recording in, blocks of its tracks out; made by ``Separator.stream``.

    ``with`` or ``close`` gives up what is under way where the recording is not finished. It is of the
    process in which it began, and cannot be copied.

    Attributes
    ----------
    n_tracks : int
        How many there are.
    delay_s : float
        A sample comes back, at the latest, once so much more of the recording has been pushed: a window, or
        ``at_once`` of them where so many are separated side by side.

    Examples
    --------
    >>> stream = Separator().stream(sample_rate=48000)  # doctest: +SKIP
    >>> tracks = stream.push(block)  # doctest: +SKIP
    """

    def __init__(
        self, separator: Separator, sample_rate: int, n_sources: int | None = None, at_once: int = 1
    ) -> None:
        self.sample_rate = checked_rate(sample_rate)
        if not _is_whole(at_once) or at_once < 1:
            raise ArgumentError(f"at_once must be a whole number from 1, not {at_once!r}")
        model = separator.model
        self.n_tracks = model.n_tracks(n_sources)
        self.delay_s = (
            separator.window_s * at_once + KERNEL_S + RESAMPLING_S * (self.sample_rate != model.sample_rate)
        )
        self._to_model = Resampler(self.sample_rate, model.sample_rate)
        self._high_pass = HighPass(model.sample_rate)
        self._from_model = Resampler(model.sample_rate, self.sample_rate)
        window, overlap = (round(length * model.sample_rate) for length in (separator.window_s, separator.overlap_s))
        self._stitcher = Stitcher(self.n_tracks, model.sample_rate, overlap, separator.diarizer)
        submit = partial(separator.engine.submit, n_sources=self.n_tracks) if self.n_tracks > 1 else _as_it_is
        self._separation = LongSeparation(
            window, overlap, model.sample_rate, submit, self._stitcher, self.n_tracks, at_once
        )
        self._n_in = self._n_out = 0
        self._process: int | None = os.getpid()  # None: finished

    def push(self, block: ArrayLike) -> Samples:
        """The next samples of the recording.

        Parameters
        ----------
        block
            (samples,) or (1, samples) floats, full scale 1.

        Returns
        -------
        array
            As many samples of the tracks as are ready: (n_tracks, samples).

        Raises
        ------
        AudioError
            Where the samples are not fit.
        ModelError
            Where the model fails.
        ValueError
            Where the stream is finished or closed, after an error too, or has begun in another process.
        """
        self._check_open()
        samples = checked_samples(block)
        self._n_in += samples.shape[1]
        try:
            heard = self._high_pass.push(self._to_model.push(samples))
            return self._fitted(self._from_model.push(self._separation.push(heard)))
        except BaseException:  # a window is missing
            self.close()
            raise

    def finish(self) -> Samples:
        """The rest of the tracks: in all as many samples as were pushed. Raises AudioError where they are too few."""
        self._check_open()
        if self._n_in < SHORTEST_S * self.sample_rate:
            self.close()
            raise AudioError(
                f"too short: {self._n_in} samples; expected at least {SHORTEST_S * 1000:.0f} ms of audio; "
                "record it again"
            )
        with self:
            heard = [self._high_pass.push(self._to_model.finish()), self._high_pass.finish()]
            tracks = [*map(self._separation.push, heard), self._separation.finish()]
            rest = [*map(self._from_model.push, tracks), self._from_model.finish()]
        fitted = self._fitted(np.concatenate(rest, axis=1))
        missing = np.zeros((self.n_tracks, self._n_in - self._n_out), np.float32)
        return np.concatenate([fitted, missing], axis=1)

    @property
    def active_speakers(self) -> tuple[int, ...]:
        """The tracks (0-based) in which somebody talks, as far as tracks have come back."""
        return tuple(sorted({turn.speaker for turn in self.turns}))

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who has talked when, so far, in order of their start."""
        return self._stitcher.turns

    def close(self) -> None:
        """Give up what is under way; the stream then takes no more."""
        self._process = None
        self._separation.stop()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a stream cannot be copied or pickled; begin another with Separator.stream")

    def _check_open(self) -> None:
        if self._process is None:
            raise ValueError("the stream is finished; begin another with Separator.stream")
        if self._process != os.getpid():
            raise ValueError("the stream has begun in another process; begin one in this with Separator.stream")

    def _fitted(self, tracks: Samples) -> Samples:
        """No more of the tracks than was pushed: resampling may give a sample too many."""
        tracks = tracks[:, : self._n_in - self._n_out]
        self._n_out += tracks.shape[1]
        return tracks


def checked_samples(block: ArrayLike) -> Samples:
    """One channel, (samples,) or (1, samples), of floats as (1, samples). Raises AudioError for anything else."""
    expected = "expected floats of full scale 1 in an array (n_samples,)"
    if isinstance(block, str | bytes | os.PathLike):
        raise AudioError(f"samples are {reprlib.repr(block)}; {expected}; unbabble.separate takes files")
    try:
        array = np.asarray(block)
    except Exception as error:  # lists of lists, tensors of other libraries: each raises what it likes
        reason = " ".join(str(error).split())
        raise AudioError(f"samples of {type(block)} are not read as an array ({reason}); {expected}") from None
    if isinstance(block, np.ma.MaskedArray):
        raise AudioError(f"samples with a mask; {expected}; fill what is masked first")
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"samples of type {array.dtype}; {expected}; convert them first")
    if array.ndim not in (1, 2) or (array.ndim == 2 and len(array) != 1):
        raise AudioError(f"samples of shape {array.shape}; expected one channel, (n_samples,); average the others")
    check_numbers(array.astype(np.result_type(array, np.float32), copy=False))  # half floats end before LOUDEST
    return np.atleast_2d(array).astype(np.float32)


def checked_rate(sample_rate: float) -> int:
    """A sample rate of a recording in Hz. Raises AudioError for what is none."""
    is_whole = _is_whole(sample_rate) or (isinstance(sample_rate, Real) and float(sample_rate).is_integer())
    if not is_whole or not RATES_HZ[0] <= sample_rate <= RATES_HZ[1]:
        raise AudioError(
            f"sample rate {sample_rate!r}; expected a whole number from {RATES_HZ[0]} to {RATES_HZ[1]} Hz; "
            "resample the recording first"
        )
    return int(sample_rate)


def _as_it_is(window: Samples) -> Known:
    """For one track: nothing is to be separated."""
    return Known(window[np.newaxis])


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _in_range(name: str, value: object, bounds: tuple[float, float]) -> float:
    if not isinstance(value, Real) or not bounds[0] <= float(value) <= bounds[1]:
        raise ArgumentError(f"{name} must be a number of seconds from {bounds[0]:g} to {bounds[1]:g}, not {value!r}")
    return float(value)
