"""Losses: signal-to-noise ratios in dB, and the permutation that decides which estimate is whose.

All signals are (batch, source, samples) or (..., samples); ``permutation[b, i]`` is the estimate for source i
of mixture b.
"""

from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

SILENCE = 1e-8  # mean power, -80 dB of full scale: what is below counts as silence in a loss on levels
TINY = 1e-12  # mean power: keeps the scale-invariant ratio finite

Ratio = Callable[[Tensor, Tensor], Tensor]


def snr(estimates: Tensor, sources: Tensor) -> Tensor:
    """Signal-to-noise ratio in dB over the last axis: (..., samples) -> (...).

    Not scale-invariant: the level of an estimate counts (PAPER: training). A silent source has a finite
    ratio, which grows as its estimate falls silent.
    """
    return _ratio_db(sources, estimates - sources, SILENCE)


def si_sdr(estimates: Tensor, sources: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB over the last axis: (..., samples) -> (...).

    Means are removed first. (Le Roux et al., *SDR - half-baked or well done?*, 2019.)
    """
    estimates = estimates - estimates.mean(-1, keepdim=True)
    sources = sources - sources.mean(-1, keepdim=True)
    gain = (estimates * sources).mean(-1) / (_power(sources) + TINY)
    target = gain.unsqueeze(-1) * sources
    return _ratio_db(target, estimates - target, TINY)


def pairwise(ratio: Ratio, estimates: Tensor, sources: Tensor) -> Tensor:
    """Every estimate against every source: (batch, source, estimate) of ``ratio`` in dB."""
    return ratio(estimates.unsqueeze(1), sources.unsqueeze(2))


def best_permutation(ratios: Tensor) -> Tensor:
    """The assignment with the highest sum: ratios (batch, source, estimate) -> permutation (batch, source)."""
    scores = ratios.detach().cpu().numpy()
    chosen = [linear_sum_assignment(one, maximize=True)[1] for one in scores]
    return torch.stack([torch.as_tensor(one) for one in chosen]).to(ratios.device)


def permute(estimates: Tensor, permutation: Tensor) -> Tensor:
    """Put estimates (batch, estimate, samples) into the order of the sources."""
    return estimates.take_along_dim(permutation.unsqueeze(-1), dim=1)


def permutation_invariant_loss(estimates: Tensor, sources: Tensor, ratio: Ratio = snr) -> tuple[Tensor, Tensor]:
    """Utterance-level permutation invariant loss (PAPER: training).

    estimates, sources: (batch, source, samples). Returns the negative ratio in dB, averaged over sources,
    for each mixture (batch,), and the permutation (batch, source).
    """
    if estimates.shape != sources.shape:
        raise ValueError(f"estimates {tuple(estimates.shape)} and sources {tuple(sources.shape)} differ")
    ratios = pairwise(ratio, estimates, sources)
    permutation = best_permutation(ratios)
    chosen = ratios.take_along_dim(permutation.unsqueeze(-1), dim=-1).squeeze(-1)
    return -chosen.mean(-1), permutation


def _power(signal: Tensor) -> Tensor:
    return signal.square().mean(-1)


def _ratio_db(signal: Tensor, noise: Tensor, floor: float) -> Tensor:
    return 10 * torch.log10((_power(signal) + floor) / (_power(noise) + floor))
