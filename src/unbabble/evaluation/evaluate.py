"""A model on a set of mixtures: scores of each, and what they come to."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unbabble.base.parallel import in_parallel
from unbabble.base.progress import Stage, unwatched_stage
from unbabble.errors import CorpusError
from unbabble.evaluation.bins import Bins, overlap_bins
from unbabble.evaluation.complexity import macs_of_model
from unbabble.evaluation.metrics import IMPROVEMENT, MAIN, Samples, columns, score
from unbabble.evaluation.overlap import measured_overlap
from unbabble.evaluation.results import Result, ResultTable
from unbabble.evaluation.speed import Speed, measure_speed
from unbabble.evaluation.summary import Table, summarise
from unbabble.inference.model_folder import ModelFolder, open_model
from unbabble.inference.separator import Separator
from unbabble.sets.read import MixtureFiles, MixtureSet
from unbabble.tracking.diarizer import open_diarizer


@dataclass(frozen=True)
class Judge:
    """Separates mixtures of a set by number, on one thread, and scores the estimates.

    network_only: each mixture at once, as the network gives it, without windows and diarizer.
    """

    model: Path
    mixtures: MixtureSet
    metrics: tuple[str, ...]
    network_only: bool = False

    def __call__(self, number: int) -> Result:
        mixture, sources, estimates = self.separate(number)
        return Result(
            scores=score(estimates, sources, mixture, self.mixtures.sample_rate, self.metrics),
            **self._facts(self.mixtures.items[number], sources),
        )

    def separate(self, number: int) -> tuple[Samples, Samples, Samples]:
        """Mixture (samples,), its sources and its estimates (sources, samples), in the model's order."""
        mixture, sources = self.mixtures[number]
        if not len(sources):
            return mixture, sources, sources
        if self.network_only:
            return mixture, sources, self._separator.engine(mixture[np.newaxis], len(sources))[0]
        return mixture, sources, self._separator(mixture, self.mixtures.sample_rate, len(sources))

    @cached_property
    def _separator(self) -> Separator:
        if parent_process() is not None:  # one of many processes, each of which has a core
            torch.set_num_threads(1)
        return Separator(self.model, threads=1)

    def _facts(self, item: MixtureFiles, sources: Samples) -> dict[str, Any]:
        overlap = item.overlap_ratio
        return {
            "id": item.id,
            "n_sources": len(sources),
            "overlap_ratio": measured_overlap(sources, self.mixtures.sample_rate) if overlap is None else overlap,
            "t60_s": math.nan if item.t60_s is None else item.t60_s,
            "noise_snr_db": math.nan if item.noise_snr_db is None else item.noise_snr_db,
            "genders": _genders(item.genders),
        }


@dataclass(frozen=True)
class Evaluation:
    """What came out. numbers: of the mixtures in the set, in the order of the results.

    macs_per_second: of audio; None where the model's card does not say enough.
    """

    name: str  # of the set
    model: ModelFolder
    judge: Judge
    bins: Bins
    numbers: tuple[int, ...]
    results: tuple[Result, ...]
    tables: tuple[Table, ...]
    macs_per_second: float | None
    speed: Speed

    @property
    def n_unscored(self) -> int:
        """Mixtures without talkers, or with a silent one."""
        return sum(math.isnan(one.scores[MAIN]) for one in self.results)

    @property
    def share_made_worse(self) -> float | None:
        """The share of mixtures whose estimates have a lower SI-SDR than the mixture itself."""
        gains = [one.scores[MAIN + IMPROVEMENT] for one in self.results]
        there = [gain for gain in gains if not math.isnan(gain)]
        return sum(gain < 0 for gain in there) / len(there) if there else None


def evaluate(
    model: str | Path,
    mixtures: MixtureSet,
    out: Path,
    *,
    name: str = "",
    metrics: Sequence[str] = (MAIN,),
    bins: Bins | None = None,
    speakers: int | None = None,
    limit: int | None = None,
    network_only: bool = False,
    jobs: int = 1,
    stage: Stage = unwatched_stage,
) -> Evaluation:
    """Separate and score a set of mixtures; ``out/mixtures.csv`` grows while that goes on.

    Mixtures that the table holds already are not separated again, so that a stopped run can go on. model: a
    bundled name or a folder; name: of the set, for people; metrics: see metrics.installed; bins: of the overlap
    ratio; speakers: only mixtures of so many; limit: at most so many mixtures, the first; network_only: see Judge;
    jobs: processes. Raises ModelError, CorpusError, AudioError, OutputError.
    """
    folder = open_model(model)
    numbers = _chosen(mixtures, folder, speakers, limit)
    if network_only and mixtures.sample_rate != folder.sample_rate:
        raise CorpusError(
            f"mixtures of {mixtures.sample_rate} Hz, but the network of model {folder.name} is for "
            f"{folder.sample_rate} Hz; leave --network-only out, or choose another set"
        )
    judge = Judge(folder.path, mixtures, tuple(metrics), network_only)
    diarizer = None if network_only else open_diarizer().checksums
    table = ResultTable(out, _origin(folder, diarizer, mixtures, metrics), columns(metrics))
    there = table.read()
    missing = [number for number in numbers if mixtures.items[number].id not in there]
    with stage("mixtures") as progress:
        for done, result in enumerate(in_parallel(judge, missing, jobs), len(numbers) - len(missing) + 1):
            table.append(result)
            progress(done, len(numbers))
    there = table.read()
    results = tuple(there[mixtures.items[number].id] for number in numbers)
    with stage("speed"):
        speed = measure_speed(folder.path)
    bins = bins or overlap_bins()
    tables = summarise(results, bins)
    return Evaluation(name, folder, judge, bins, tuple(numbers), results, tables, macs_of_model(folder), speed)


def _chosen(mixtures: MixtureSet, model: ModelFolder, speakers: int | None, limit: int | None) -> list[int]:
    """Numbers of the mixtures to separate, all of which the model can separate."""
    counts = [len(item.sources) for item in mixtures.items]
    numbers = [number for number, count in enumerate(counts) if speakers in (None, count)][:limit]
    if not numbers:
        there = ", ".join(str(count) for count in sorted(set(counts)))
        raise CorpusError(f"no mixtures of {speakers} speakers in the set; expected one of {there}")
    unfit = sorted({counts[number] for number in numbers} - {0, model.n_sources})
    if unfit and not model.any_sources:
        raise CorpusError(
            f"the set has mixtures of {', '.join(map(str, unfit))} speakers, but model {model.name} gives "
            f"{model.n_sources} tracks; choose the mixtures of {model.n_sources} with --speakers, or another model"
        )
    return numbers


def _origin(
    model: ModelFolder, diarizer: dict[str, str] | None, mixtures: MixtureSet, metrics: Sequence[str]
) -> dict[str, Any]:
    """What results depend on. Of the audio only the first and the last mixture are looked into."""
    facts = [
        (item.id, item.mixture.name, len(item.sources), item.overlap_ratio, item.t60_s, item.noise_snr_db)
        for item in mixtures.items
    ]
    digest = hashlib.sha256(repr(facts).encode())
    for item in (mixtures.items[0], mixtures.items[-1]):
        for path in (item.mixture, *item.sources):
            digest.update(path.read_bytes())
    return {
        "model": {"name": model.name, "version": model.version, "checksums": model.card["checksums"]},
        "listener": diarizer,
        "mixtures": digest.hexdigest()[:16],
        "metrics": list(metrics),
    }


def _genders(genders: tuple[str, ...]) -> str:
    if len(genders) != 2:
        return ""
    return "same" if genders[0] == genders[1] else "different"
