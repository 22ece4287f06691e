"""Scores of the estimates of one mixture (torchmetrics, pystoi, pesq)."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torchmetrics.functional.audio import (
    permutation_invariant_training,
    scale_invariant_signal_distortion_ratio,
    signal_distortion_ratio,
)

from unbabble.errors import MissingExtra

Samples = NDArray[np.float32]
Values = NDArray[np.float64]

LIMIT_DB = 100.0  # of SDR: beyond it there is only rounding, or an estimate that is silent


@dataclass(frozen=True)
class Metric:
    """How well estimates match sources; higher is better.

    of: estimates and sources (sources, samples) and their sample rate -> a value for each source, NaN where
    there is none. improves: the gain over the mixture itself is a score, too. package: of the extra [metrics].
    """

    label: str
    of: Callable[[Samples, Samples, int], Values]
    improves: bool = False
    package: str | None = None


def si_sdr(estimates: Samples, sources: Samples, sample_rate: int) -> Values:
    """dB, after removing means (Le Roux et al., *SDR: half-baked or well done?*, 2019)."""
    found = scale_invariant_signal_distortion_ratio(_tensor(estimates), _tensor(sources), zero_mean=True)
    return np.asarray(found, np.float64)


def sdr(estimates: Samples, sources: Samples, sample_rate: int) -> Values:
    """dB, of BSS Eval: a filter of 512 taps on the source is no distortion (Vincent et al., 2006)."""
    found = np.asarray(signal_distortion_ratio(_tensor(estimates), _tensor(sources)), np.float64)
    return np.nan_to_num(found, nan=LIMIT_DB).clip(-LIMIT_DB, LIMIT_DB)  # NaN: rounding made it perfect


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


def installed(metrics: Sequence[str] | None = None) -> tuple[str, ...]:
    """The metrics asked for and MAIN; by default all whose packages are installed.

    Raises MissingExtra where one was asked for whose package is not.
    """
    missing = {name for name, metric in METRICS.items() if metric.package and not find_spec(metric.package)}
    if metrics is None:
        return tuple(name for name in METRICS if name not in missing)
    for name in metrics:
        if name in missing:
            raise MissingExtra(f"{METRICS[name].label} ({METRICS[name].package})", "metrics")
    return tuple(name for name in METRICS if name in (MAIN, *metrics))


def read_names(text: str) -> list[str]:
    """Metrics from their names, separated by commas. Raises ValueError."""
    names = text.split(",")
    for name in names:
        if name not in METRICS:
            raise ValueError(f"no metric called {name!r}; expected some of {','.join(METRICS)}")
    return names


def columns(metrics: Sequence[str]) -> tuple[str, ...]:
    """Names of the scores that these metrics give: each, and its improvement where that is a score, too."""
    return tuple(
        column for name in metrics for column in ([name, name + IMPROVEMENT] if METRICS[name].improves else [name])
    )


def label(column: str) -> str:
    """A score's name for people."""
    return METRICS[column].label if column in METRICS else METRICS[column.removesuffix(IMPROVEMENT)].label + "i"


def digits(column: str) -> int:
    """After the point: two of decibels and of PESQ's scale to 4.64, three of what goes to 1."""
    return 3 if column in ("stoi", "estoi") else 2


def score(
    estimates: Samples,
    sources: Samples,
    mixture: Samples,
    sample_rate: int,
    metrics: Sequence[str] = (MAIN,),
) -> dict[str, float]:
    """Scores by their column, averaged over the sources, in the order of estimates that has the best SI-SDR.

    estimates, sources: (source, samples); mixture: (samples,). All are NaN where a source is silent or there
    is none, for there is nothing to be found then.
    """
    if not sources.size or not sources.any(axis=1).all():
        return dict.fromkeys(columns(metrics), math.nan)
    estimates = in_best_order(estimates, sources)
    unseparated = np.broadcast_to(mixture, sources.shape).copy()

    def scores() -> Iterator[tuple[str, float]]:
        for name in metrics:
            metric = METRICS[name]
            found = metric.of(estimates, sources, sample_rate)
            yield name, float(found.mean())
            if metric.improves:
                yield name + IMPROVEMENT, float((found - metric.of(unseparated, sources, sample_rate)).mean())

    return dict(scores())


def in_best_order(estimates: Samples, sources: Samples) -> Samples:
    """The estimates in the order of the sources, by SI-SDR; both are (source, samples)."""
    _, order = permutation_invariant_training(
        _tensor(estimates)[None],
        _tensor(sources)[None],
        scale_invariant_signal_distortion_ratio,
        eval_func="max",
        zero_mean=True,
    )
    return np.asarray(estimates[order[0].numpy()])


def _stoi(estimates: Samples, sources: Samples, sample_rate: int, extended: bool) -> Values:
    from pystoi import stoi as of_one

    def value(estimate: Samples, source: Samples) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(of_one(source, estimate, sample_rate, extended))
            except RuntimeWarning:  # too few frames: it would give 0.00001
                return math.nan

    return np.array([value(estimate, source) for estimate, source in zip(estimates, sources, strict=True)])


def _tensor(signals: Samples) -> torch.Tensor:
    """In double precision, so that the scores of good estimates are not rounding."""
    return torch.from_numpy(np.asarray(signals, np.float64))
