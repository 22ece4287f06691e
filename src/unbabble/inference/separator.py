"""A recording as one track per talker: resample, window, separate, stitch, resample back. Read this first."""

import math
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
from unbabble.errors import ArgumentError, AudioError, in_one_line
from unbabble.inference.devices import AUTO
from unbabble.inference.engine import Diarizer, Engine
from unbabble.inference.model_folder import DIARIZER, SHORTEST_OVERLAP_S, WINDOWS_S, open_model, portable
from unbabble.inference.spill import Spill
from unbabble.inference.windows import Known, Separated, SeparatedWindows, WindowJoiner
from unbabble.tracking.activity import Turn
from unbabble.tracking.people import Bounds, KnownPeople, Pieces, find_people, pieces_of
from unbabble.tracking.stitch import Stitcher, WindowFrames, observe
from unbabble.tracking.viterbi import Observations

Samples = NDArray[np.float32]

Speakers = int | str | tuple[int, int] | None
"""How many people talk: a number, bounds such as ``(2, 6)`` or ``"2-6"``, ``"auto"``; None: the model's number."""

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

    def __call__(self, samples: ArrayLike, sample_rate: int, n_sources: Speakers = None) -> Samples:
        """Separate a recording that is in memory, with hindsight: all of it decides who talks when.

        Parameters
        ----------
        samples
            (n_samples,) floats, full scale 1.
        sample_rate
            8000 to 192000 Hz.
        n_sources
            How many people talk, each of whom gets a track: a number, bounds such as ``(2, 6)`` or ``"2-6"``, or
            ``"auto"`` for up to 10. None: as many tracks as the model was trained for, silent where fewer talk.

        Returns
        -------
        array
            float32 (tracks, n_samples) at the same rate and at the levels that the talkers have in the mixture, in
            the order in which they are first heard.

        Raises
        ------
        AudioError
            Where the samples are not fit.
        ModelError
            Where the model cannot give n_sources, or fails.
        ValueError
            Where the separator is closed.
        """
        with self.two_pass(sample_rate, n_sources) as passes:
            passes.push(samples)
            passes.finish()
            tracks = np.concatenate(list(passes.tracks()), axis=1)
            return tracks[list(passes.by_appearance)]

    def separate_blocks(
        self, blocks: Iterable[ArrayLike], sample_rate: int, n_sources: Speakers = None
    ) -> Iterator[Samples]:
        """Separate a recording that comes in blocks, as ``stream`` does: (samples,) or (1, samples) in, (tracks,
        samples) out.

        Blocks may have any size; together the output has exactly the length of the input. Errors as above.
        """
        with self.stream(sample_rate, n_sources, self.engine.at_once) as stream:
            for block in blocks:
                yield stream.push(block)
            yield stream.finish()

    def stream(self, sample_rate: int, n_sources: Speakers = None, at_once: int = 1) -> "Stream":
        """Begin a recording that comes block by block, live or not, and whose tracks are wanted as they are ready.

        Parameters
        ----------
        sample_rate
            8000 to 192000 Hz.
        n_sources
            How many people there may be, as above: there are as many tracks from the beginning, of which
            ``Stream.active_speakers`` tells the ones in which anybody has talked. A person who is first heard gets
            the next of them, and keeps it.
        at_once
            Windows separated side by side, each of which adds to the delay.

        Raises
        ------
        AudioError, ModelError, ValueError
            As above.
        """
        return Stream(self, sample_rate, n_sources, at_once)

    def two_pass(self, sample_rate: int, n_sources: Speakers = None, folder: Path | None = None) -> "TwoPass":
        """Begin a recording that comes block by block, and whose tracks are wanted when all of it is known.

        Parameters
        ----------
        sample_rate, n_sources
            As above.
        folder
            For a nameless file of 0.5 MB a second at 16 kHz where the recording is longer than 2 minutes; None:
            where temporary files are.

        Raises
        ------
        AudioError, ModelError, OutputError, ValueError
            As above, and where the disk takes no more.
        """
        return TwoPass(self, sample_rate, n_sources, folder)

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


class _Recording(AbstractContextManager[Any]):
    """Blocks of a recording in, its separated windows out: what a stream and the first of two passes share."""

    def __init__(self, separator: Separator, sample_rate: int, n_sources: Speakers, at_once: int) -> None:
        self.sample_rate = checked_rate(sample_rate)
        if not _is_whole(at_once) or at_once < 1:
            raise ArgumentError(f"at_once must be a whole number from 1, not {at_once!r}")
        self._model, self._diarizer = separator.model, separator.diarizer
        rate = self._model.sample_rate
        self.bounds = Bounds(0, self._model.n_sources) if n_sources is None else Bounds.of(n_sources)
        window, self._overlap = (round(length * rate) for length in (separator.window_s, separator.overlap_s))
        submit = _as_it_is if self.bounds.most == 1 else partial(separator.engine.submit, n_sources=self._n_estimates)
        self._to_model, self._high_pass = Resampler(self.sample_rate, rate), HighPass(rate)
        self._windows = SeparatedWindows(window, self._overlap, rate, submit, at_once)
        self._frames = WindowFrames(rate, window, self._overlap)
        self._stitcher = Stitcher(self._frames, self._diarizer.parameters)
        self._joiner, self._from_model = WindowJoiner(self._overlap), Resampler(rate, self.sample_rate)
        self._n_windows = self._n_in = self._n_out = 0
        self._process: int | None = os.getpid()  # None: finished

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Who has talked when, so far, in order of their start."""
        return self._stitcher.turns(self._n_in / self.sample_rate)

    @property
    def active_speakers(self) -> tuple[int, ...]:
        """The tracks (0-based) in which somebody talks, as far as tracks have come back."""
        return tuple(sorted({turn.speaker for turn in self.turns}))

    def close(self) -> None:
        """Give up what is under way; no more can be pushed."""
        self._process = None
        self._windows.stop()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a recording under way cannot be copied or pickled; begin another with Separator.stream")

    @property
    def _n_estimates(self) -> int:
        n_sources = self._model.n_sources
        return min(self.bounds.most, n_sources) if self._model.any_sources else n_sources

    def _pushed(self, block: ArrayLike) -> Iterator[tuple[Separated, Observations, Pieces]]:
        """With the next samples of the recording, the windows that are ready and what is known of them."""
        self._check_open()
        samples = checked_samples(block)
        self._n_in += samples.shape[1]
        try:
            yield from self._observed(self._windows.push(self._high_pass.push(self._to_model.push(samples))))
        except BaseException:  # a window is missing
            self.close()
            raise

    def _finished(self) -> Iterator[tuple[Separated, Observations, Pieces]]:
        """The rest of the windows. Raises AudioError where the recording is too short."""
        self._check_open()
        if self._n_in < SHORTEST_S * self.sample_rate:
            self.close()
            raise AudioError(
                f"too short: {self._n_in} samples; expected at least {SHORTEST_S * 1000:.0f} ms of audio; "
                "record it again"
            )
        try:
            for heard in (self._high_pass.push(self._to_model.finish()), self._high_pass.finish()):
                yield from self._observed(self._windows.push(heard))
            yield from self._observed(self._windows.finish())
        finally:
            self.close()

    def _observed(self, windows: Iterable[Separated]) -> Iterator[tuple[Separated, Observations, Pieces]]:
        for window in windows:
            seen = observe(window.mixture, window.estimates, self._model.sample_rate, self._diarizer)
            yield window, seen, pieces_of(seen, self._frames.unheard(self._n_windows), self._diarizer.parameters)
            self._n_windows += 1

    def _stitched(self, window: Separated, seen: Observations, people: Samples, n_tracks: int) -> Samples:
        """What is ready of the tracks with the next window: (n_tracks, samples)."""
        tracks = self._stitcher.push(window.mixture, window.estimates, seen, people) / window.gain
        silent = np.zeros((n_tracks - len(people), window.mixture.size), np.float32)
        return self._fitted(self._from_model.push(self._joiner.push(np.concatenate([tracks, silent]))))

    def _rest(self, n_tracks: int) -> Samples:
        """The end of the tracks: in all as many samples as were pushed."""
        tail = self._joiner.finish()
        rest = [] if tail is None else [self._from_model.push(tail), self._from_model.finish()]
        fitted = self._fitted(np.concatenate([np.zeros((n_tracks, 0), np.float32), *rest], axis=1))
        return np.pad(fitted, ((0, 0), (0, self._n_in - self._n_out)))

    def _fitted(self, tracks: Samples) -> Samples:
        """No more of the tracks than was pushed: resampling may give a sample too many."""
        tracks = tracks[:, : self._n_in - self._n_out]
        self._n_out += tracks.shape[1]
        return tracks

    def _check_open(self) -> None:
        if self._process is None:
            raise ArgumentError("the recording is finished; begin another with the Separator")
        if self._process != os.getpid():
            raise ArgumentError("the recording has begun in another process; begin one in this with the Separator")


class Stream(_Recording):
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

    def __init__(self, separator: Separator, sample_rate: int, n_sources: Speakers = None, at_once: int = 1) -> None:
        super().__init__(separator, sample_rate, n_sources, at_once)
        resampling_s = RESAMPLING_S * (self.sample_rate != self._model.sample_rate)
        self.n_tracks, self.delay_s = self.bounds.most, separator.window_s * at_once + KERNEL_S + resampling_s
        self._people = KnownPeople(self.n_tracks, self._diarizer.parameters, self._diarizer.embedding_size)

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
        return self._tracks(self._pushed(block))

    def finish(self) -> Samples:
        """The rest of the tracks: in all as many samples as were pushed. Raises AudioError where they are too few."""
        return np.concatenate([self._tracks(self._finished()), self._rest(self.n_tracks)], axis=1)

    def _tracks(self, windows: Iterable[tuple[Separated, Observations, Pieces]]) -> Samples:
        tracks = [np.zeros((self.n_tracks, 0), np.float32)]
        for window, seen, pieces in windows:
            self._people.hear(pieces)
            tracks.append(self._stitched(window, seen, self._people.embeddings, self.n_tracks))
        return np.concatenate(tracks, axis=1)


class TwoPass(_Recording):
    """A recording in blocks in; then, decided with hindsight, its tracks out; made by ``Separator.two_pass``.

    ``with`` or ``close`` gives up what is under way, and frees what was kept.

    Examples
    --------
    >>> with Separator().two_pass(48000, "auto") as passes:  # doctest: +SKIP
    ...     for block in blocks:
    ...         passes.push(block)
    ...     n_tracks = passes.finish()
    ...     for tracks in passes.tracks():
    ...         ...
    """

    def __init__(
        self, separator: Separator, sample_rate: int, n_sources: Speakers = None, folder: Path | None = None
    ) -> None:
        super().__init__(separator, sample_rate, n_sources, separator.engine.at_once)
        self._n_tracks = self._model.n_sources if n_sources is None else self.bounds.least
        self._spill, self._pieces = Spill(folder), list[Pieces]()

    def expect(self, duration_s: float) -> None:
        """Raise OutputError where the disk has no room for a recording of that length."""
        self._spill.expect(duration_s * self._model.sample_rate)

    def push(self, block: ArrayLike) -> None:
        """The next samples, as for ``Stream.push``. Raises the same, and OutputError."""
        self._keep(self._pushed(block))

    def finish(self) -> int:
        """End the first pass: how many tracks there are. Raises AudioError where the recording is too short."""
        self._keep(self._finished())
        pieces = Pieces.joined(self._pieces, self._diarizer.embedding_size)
        self._people = find_people(pieces, self.bounds, self._diarizer.parameters)
        self._n_tracks = max(self._n_tracks, len(self._people))
        return self._n_tracks

    @property
    def by_appearance(self) -> tuple[int, ...]:
        """All tracks (0-based) in order of who is heard first, as far as tracks have come back."""
        first = {turn.speaker: turn.start_s for turn in reversed(self.turns)}
        return tuple(sorted(range(self._n_tracks), key=lambda track: first.get(track, math.inf)))

    def tracks(self) -> Iterator[Samples]:
        """Blocks of the tracks: (tracks, samples); in all as many samples as were pushed."""
        for window, seen in self._spill:
            yield self._stitched(window, seen, self._people, self._n_tracks)
        yield self._rest(self._n_tracks)

    def __exit__(self, *_: object) -> None:
        self.close()
        self._spill.close()

    def _keep(self, windows: Iterable[tuple[Separated, Observations, Pieces]]) -> None:
        for window, seen, pieces in windows:
            self._spill.append(window, seen)
            self._pieces.append(pieces)


def checked_samples(block: ArrayLike) -> Samples:
    """One channel, (samples,) or (1, samples), of floats as (1, samples). Raises AudioError for anything else."""
    expected = "expected floats of full scale 1 in an array (n_samples,)"
    if isinstance(block, str | bytes | os.PathLike):
        raise AudioError(f"samples are {reprlib.repr(block)}; {expected}; unbabble.separate takes files")
    try:
        array = np.asarray(block)
    except Exception as error:  # lists of lists, tensors of other libraries: each raises what it likes
        reason = in_one_line(error)
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
