"""Scores of the estimates of one mixture (torchmetrics, pystoi, pesq).

No score is paid for silence: a talker without a track is scored as if the mixture were the track (``is_silent``).
Names of metrics are known without PyTorch, which takes seconds to import.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import soxr
from numpy.typing import NDArray

from unbabble.errors import ArgumentError, MissingExtra, ModelError

if TYPE_CHECKING:
    from torch import Tensor

Samples = NDArray[np.float32]
Values = NDArray[np.float64]

LIMIT_DB = 100.0  # of SI-SDR and SDR: beyond it there is only rounding
SILENT_DB = -60.0  # of an estimate, about its mean and relative to the mixture: below it there is no track


@dataclass(frozen=True)
class Metric:
    """How well estimates match sources; higher is better.

    Parameters
    ----------
    of : estimates and sources (source, samples), sample rate (Hz) -> a value for each source, NaN where there is none
    improves : the gain over the mixture itself is a score, too
    package : of the extra [metrics]
    """

    label: str
    of: Callable[[Samples, Samples, int], Values]
    improves: bool = False
    package: str | None = None


def si_sdr(estimates: Samples, sources: Samples, sample_rate: int) -> Values:
    """Scale-invariant SDR in dB, within +-LIMIT_DB, after removing means (arXiv 1811.02508, section 2)."""
    return np.asarray(_si_sdr(_tensor(estimates), _tensor(sources)))


def sdr(estimates: Samples, sources: Samples, sample_rate: int) -> Values:
    """SDR of BSS Eval in dB, within +-LIMIT_DB: a filter of 512 taps is no distortion (Vincent et al., 2006)."""
    from torchmetrics.functional.audio import signal_distortion_ratio

    found = np.asarray(signal_distortion_ratio(_tensor(estimates), _tensor(sources)), np.float64)
    rounded = np.isnan(found) & np.isfinite(estimates).all(axis=1)  # a perfect estimate, but for rounding
    return np.where(rounded, LIMIT_DB, found).clip(-LIMIT_DB, LIMIT_DB)


def stoi(estimates: Samples, sources: Samples, sample_rate: int) -> Values:
    """0 to 1 (Taal et al., 2011); NaN where a source is too short for it."""
    return _stoi(estimates, sources, sample_rate, extended=False)


def estoi(estimates: Samples, sources: Samples, sample_rate: int) -> Values:
    """0 to 1 (Jensen and Taal, 2016); NaN where a source is too short for it."""
    return _stoi(estimates, sources, sample_rate, extended=True)


def pesq(estimates: Samples, sources: Samples, sample_rate: int) -> Values:
    """ITU-T P.862: at 8 kHz narrow band, else wide band at 16 kHz; NaN where it finds no utterance."""
    from pesq import PesqError
    from pesq import pesq as of_one

    rate, mode = (8000, "nb") if sample_rate == 8000 else (16000, "wb")

    def value(estimate: Samples, source: Samples) -> float:
        try:
            return float(of_one(rate, source, estimate, mode))
        except (PesqError, ValueError):  # ValueError: a silent estimate
            return math.nan

    at_rate = (soxr.resample(signals.T, sample_rate, rate).T for signals in (estimates, sources))
    return np.array([value(estimate, source) for estimate, source in zip(*at_rate, strict=True)])


METRICS = {
    "si_sdr": Metric("SI-SDR", si_sdr, improves=True),
    "sdr": Metric("SDR", sdr, improves=True),
    "stoi": Metric("STOI", stoi, package="pystoi"),
    "estoi": Metric("ESTOI", estoi, package="pystoi"),
    "pesq": Metric("PESQ", pesq, package="pesq"),
}
MAIN = "si_sdr"  # always computed: it finds which estimate is whose
IMPROVEMENT = "i"  # ends the name of the score that is the gain over the mixture
OVERLOOKED = "overlooked"  # the fraction of a mixture's talkers that have no track


def installed(metrics: Sequence[str] | None = None) -> tuple[str, ...]:
    """The metrics asked for and MAIN; by default all whose packages are installed.

    Raises
    ------
    ArgumentError
        Where there is none of a name.
    MissingExtra
        Where one was asked for whose package is not installed.
    """
    missing = {name for name, metric in METRICS.items() if metric.package and not find_spec(metric.package)}
    if metrics is None:
        return tuple(name for name in METRICS if name not in missing)
    for name in metrics:
        if name not in METRICS:
            raise ArgumentError(f"no metric called {name!r}; expected some of {','.join(METRICS)}")
        if name in missing:
            raise MissingExtra(f"{METRICS[name].label} ({METRICS[name].package})", "metrics")
    return tuple(name for name in METRICS if name in (MAIN, *metrics))


def columns(metrics: Sequence[str]) -> tuple[str, ...]:
    """Names of the scores that these metrics give: each, its improvement where that is a score, too, OVERLOOKED."""
    found = [[name, name + IMPROVEMENT] if METRICS[name].improves else [name] for name in metrics]
    return (*(column for names in found for column in names), OVERLOOKED)


def label(column: str) -> str:
    """A score's name for people."""
    if column == OVERLOOKED:
        return column
    return METRICS[column].label if column in METRICS else METRICS[column.removesuffix(IMPROVEMENT)].label + "i"


def digits(column: str) -> int:
    """After the point: two of decibels and of PESQ's scale to 4.64, three of what goes to 1."""
    return 3 if column in ("stoi", "estoi", OVERLOOKED) else 2


def score(
    estimates: Samples,
    sources: Samples,
    mixture: Samples,
    sample_rate: int,
    metrics: Sequence[str] = (MAIN,),
) -> dict[str, float]:
    """Scores by column (see ``columns``), averaged over the sources in the permutation that has the best SI-SDR.

    Parameters
    ----------
    estimates, sources : (source, samples)
    mixture : (samples,)
    sample_rate : Hz
    metrics : names of METRICS

    Returns
    -------
    Scores by column. All are NaN where a source is silent or there is none, for there is nothing to be found then.

    Raises
    ------
    ModelError
        Where an estimate holds what is not a number: no mean over other mixtures shall hide that.
    """
    if not np.isfinite(estimates).all():
        raise ModelError("the model's estimates hold values that are not numbers; choose or export another model")
    if not sources.size or not np.ptp(sources, axis=1).all():
        return dict.fromkeys(columns(metrics), math.nan)
    silent = is_silent(estimates, mixture)
    unseparated = np.broadcast_to(mixture, sources.shape).copy()
    estimates = in_best_order(np.where(silent[:, np.newaxis], unseparated, estimates), sources)

    def scores() -> Iterator[tuple[str, float]]:
        for name in metrics:
            metric = METRICS[name]
            found = metric.of(estimates, sources, sample_rate)
            yield name, float(found.mean())
            if metric.improves:
                yield name + IMPROVEMENT, float((found - metric.of(unseparated, sources, sample_rate)).mean())
        yield OVERLOOKED, float(silent.mean())

    return dict(scores())


def is_silent(estimates: Samples, mixture: Samples) -> NDArray[np.bool_]:
    """Which estimates (source, samples) are no track: nothing but a constant, or SILENT_DB below the mixture's power.

    SI-SDR knows no levels, and torchmetrics gives 0 dB for silence, which is more than most mixtures have: a talker
    who was muted would be rewarded. Without a track the mixture is what a listener is left with, so that it is
    scored in its place: an improvement of 0.
    """
    power = np.var(estimates, axis=1, dtype=np.float64)
    return np.asarray(power <= np.var(mixture, dtype=np.float64) * 10 ** (SILENT_DB / 10))


def in_best_order(estimates: Samples, sources: Samples) -> Samples:
    """The estimates in the order of the sources, by SI-SDR; both are (source, samples)."""
    from torchmetrics.functional.audio import permutation_invariant_training

    _, order = permutation_invariant_training(
        _tensor(estimates)[None], _tensor(sources)[None], _si_sdr, eval_func="max"
    )
    return np.asarray(estimates[order[0].numpy()])


def _stoi(estimates: Samples, sources: Samples, sample_rate: int, extended: bool) -> Values:
    from pystoi import stoi as of_one

    def value(estimate: Samples, source: Samples) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(of_one(source, estimate, sample_rate, extended))
            except (RuntimeWarning, np.exceptions.AxisError):  # too few frames (0.00001), or not even one
                return math.nan

    return np.array([value(estimate, source) for estimate, source in zip(estimates, sources, strict=True)])


def _si_sdr(estimates: "Tensor", sources: "Tensor") -> "Tensor":
    """Signals (..., samples) -> dB (...)."""
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    return scale_invariant_signal_distortion_ratio(estimates, sources, zero_mean=True).clip(-LIMIT_DB, LIMIT_DB)


def _tensor(signals: Samples) -> "Tensor":
    """In double precision, so that the scores of good estimates are not rounding."""
    import torch

    return torch.from_numpy(np.asarray(signals, np.float64))
