"""Scores of the estimates of one mixture (torchmetrics)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.audio import permutation_invariant_training, scale_invariant_signal_distortion_ratio

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """Decibels, averaged over the sources of a mixture; the improvement is over the mixture itself."""

    si_sdr: float
    si_sdr_improvement: float


def score(estimates: Samples, sources: Samples, mixture: Samples) -> Scores:
    """SI-SDR under the best permutation. estimates, sources: (source, samples); mixture: (samples,)."""
    true = torch.from_numpy(sources).unsqueeze(0)
    best, _ = permutation_invariant_training(
        torch.from_numpy(estimates).unsqueeze(0),
        true,
        scale_invariant_signal_distortion_ratio,
        eval_func="max",
        zero_mean=True,
    )
    unseparated = scale_invariant_signal_distortion_ratio(
        torch.from_numpy(mixture).expand_as(true), true, zero_mean=True
    )
    return Scores(best.item(), best.item() - unseparated.mean().item())
