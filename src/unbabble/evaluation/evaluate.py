"""A model on a set of mixtures: scores of each, and their means."""

import hashlib
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unbabble.base.parallel import in_parallel
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.errors import AudioError, CorpusError, in_one_line
from unbabble.evaluation.bins import Bins, overlap_bins
from unbabble.evaluation.complexity import macs_of_model
from unbabble.evaluation.escape import in_csv
from unbabble.evaluation.metrics import IMPROVEMENT, MAIN, OVERLOOKED, Samples, columns, score
from unbabble.evaluation.overlap import measured_overlap
from unbabble.evaluation.results import Result, ResultTable
from unbabble.evaluation.speed import Speed, measure_speed
from unbabble.evaluation.summary import Table, summarise
from unbabble.inference.devices import AUTO, find_device
from unbabble.inference.model_folder import ModelFolder, open_diarizer, open_model
from unbabble.inference.separator import Separator
from unbabble.sets.read import MixtureFiles, MixtureSet

SCORING = 2  # of the rules for scores: results by others are not mixed with these


@dataclass(frozen=True)
class Unreadable:
    """A mixture that was left out. reason: one line that names the file."""

    reason: str


@dataclass(frozen=True)
class Evaluator:
    """Separates mixtures of a set by number, on one thread, and scores the estimates.

    network_only: each mixture at once, as the network gives it, without windows and diarizer.
    """

    model: Path
    mixtures: MixtureSet
    metrics: tuple[str, ...]
    network_only: bool = False
    device: str = AUTO

    def __call__(self, number: int) -> Result | Unreadable:
        try:
            mixture, sources = self.mixtures[number]
        except (AudioError, CorpusError) as error:
            return Unreadable(in_one_line(error))
        estimates = self.estimate(mixture, len(sources))
        return Result(
            scores=score(estimates, sources, mixture, self.mixtures.sample_rate, self.metrics),
            **self._facts(self.mixtures.items[number], sources),
        )

    def estimate(self, mixture: Samples, n_sources: int) -> Samples:
        """Mixture (samples,) -> estimates (source, samples), in the model's order."""
        if not n_sources:
            return np.zeros((0, mixture.size), np.float32)
        if self.network_only:
            return np.asarray(self._separator.engine(mixture[np.newaxis], n_sources)[0])
        return self._separator(mixture, self.mixtures.sample_rate, n_sources)

    @cached_property
    def _separator(self) -> Separator:
        if parent_process() is not None:  # one of many processes, each of which has a core
            torch.set_num_threads(1)
        return Separator(self.model, threads=1, device=self.device)

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
    """What came out.

    Parameters
    ----------
    name : of the set
    numbers : of the mixtures in the set, in the order of the results
    unreadable : mixtures that were left out, one line each
    macs_per_second : of audio; None where the model's card does not say enough
    """

    name: str
    model: ModelFolder
    evaluator: Evaluator
    bins: Bins
    numbers: tuple[int, ...]
    results: tuple[Result, ...]
    unreadable: tuple[str, ...]
    tables: tuple[Table, ...]
    macs_per_second: float | None
    speed: Speed

    @property
    def n_unscored(self) -> int:
        """Mixtures without talkers, or with a silent one."""
        return sum(math.isnan(one.scores[MAIN]) for one in self.results)

    @property
    def made_worse(self) -> float | None:
        """The fraction of mixtures whose estimates have a lower SI-SDR than the mixture itself."""
        gains = [one.scores[MAIN + IMPROVEMENT] for one in self.results]
        there = [gain for gain in gains if not math.isnan(gain)]
        return sum(gain < 0 for gain in there) / len(there) if there else None

    @property
    def n_overlooked(self) -> int:
        """Talkers without a track (see metrics.is_silent), in mixtures that have scores."""
        scored = [one for one in self.results if not math.isnan(one.scores[MAIN])]
        return round(sum(one.n_sources * one.scores[OVERLOOKED] for one in scored))


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
    device: str = AUTO,
    progress: Progress = UNWATCHED,
) -> Evaluation:
    """Separate and score a set of mixtures; ``out/mixtures.csv`` grows while that goes on.

    Mixtures that the table holds already are not separated again, so that a stopped run can go on. A mixture whose
    files cannot be read is left out and named in the result. For the rest see ``unbabble.evaluate``.

    Raises
    ------
    ModelError
        Also where its estimates are not numbers: a mixture is never left out for what the model made of it.
    CorpusError
        Where the set does not suit the model, or no mixture of it can be read.
    OutputError
    """
    folder = open_model(model)
    find_device(device)  # told before anything is written
    numbers = _chosen(mixtures, folder, speakers, limit)
    if network_only and mixtures.sample_rate != folder.sample_rate:
        raise CorpusError(
            f"mixtures of {mixtures.sample_rate} Hz, but the network of model {folder.name} is for "
            f"{folder.sample_rate} Hz; leave --network-only out, or choose another set"
        )
    evaluator = Evaluator(folder.path, mixtures, tuple(metrics), network_only, device)
    diarizer = None if network_only else open_diarizer().checksums
    table = ResultTable(out, _origin(folder, diarizer, mixtures, metrics), columns(metrics))
    rows = {number: in_csv(mixtures.items[number].id) for number in numbers}
    there = table.read()
    missing = [number for number in numbers if rows[number] not in there]
    unreadable = []
    with progress.task("mixtures") as advance:
        for done, result in enumerate(in_parallel(evaluator, missing, jobs), len(numbers) - len(missing) + 1):
            if isinstance(result, Unreadable):
                unreadable.append(result.reason)
            else:
                table.append(result)
            advance(done, len(numbers))
    there = table.read()
    read = tuple(number for number in numbers if rows[number] in there)
    if not read:
        raise CorpusError(f"no mixture of {len(numbers)} can be read; the first: {unreadable[0]}")
    results = tuple(there[rows[number]] for number in read)
    with progress.task("speed"):
        speed = measure_speed(folder.path)
    bins = bins or overlap_bins()
    return Evaluation(
        name,
        folder,
        evaluator,
        bins,
        read,
        results,
        tuple(unreadable),
        summarise(results, bins),
        macs_of_model(folder),
        speed,
    )


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
            with suppress(OSError):  # it will be named when its turn comes
                digest.update(path.read_bytes())
    return {
        "model": {"name": model.name, "version": model.version, "checksums": model.card["checksums"]},
        "diarizer": diarizer,
        "mixtures": digest.hexdigest()[:16],
        "metrics": list(metrics),
        "scoring": SCORING,
    }


def _genders(genders: tuple[str, ...]) -> str:
    if len(genders) != 2:
        return ""
    return "same" if genders[0] == genders[1] else "different"
