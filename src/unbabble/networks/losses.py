"""Losses: signal-to-noise ratios in dB, and the permutation that decides which estimate is whose.

All signals are (batch, source, samples) or (..., samples); ``permutation[b, i]`` is the estimate for source i of
mixture b. Another kind of loss is a description here, with a ``kind`` and the ratio that is to be large, and a place
in ``LossConfig``. Descriptions are read without PyTorch: what a tensor's methods cannot do is imported where it is
done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from unbabble.base.config import PositiveFloat, kind_given, settings

if TYPE_CHECKING:
    from torch import Tensor

SILENCE = 1e-8  # mean power, -80 dB of full scale: what is below counts as silence in a loss on levels
TINY = 1e-12  # mean power: keeps the scale-invariant ratio finite
QUIET_ENOUGH = 1e-3  # of the mixture's power: the estimate of a silent source need not be below it

Ratio = Callable[["Tensor", "Tensor"], "Tensor"]


@settings
class SnrLoss:
    """The paper's loss (after the authors' configuration).

    ceiling_db: what a ratio comes near but never exceeds, so that mixtures that are easy do not rule the gradient
    (arXiv 2006.12701, section 3.1); null: none.
    """

    kind: Literal["snr"] = "snr"
    ceiling_db: PositiveFloat | None = None

    def ratio(self, estimates: Tensor, sources: Tensor) -> Tensor:
        return snr(estimates, sources, self.ceiling_db)


@settings
class SiSdrLoss:
    """Free of the level of the estimates."""

    kind: Literal["si_sdr"] = "si_sdr"

    def ratio(self, estimates: Tensor, sources: Tensor) -> Tensor:
        return si_sdr(estimates, sources)


LossConfig = Annotated[SnrLoss | SiSdrLoss, Field(discriminator="kind"), kind_given("snr")]


def snr(estimates: Tensor, sources: Tensor, ceiling_db: float | None = None) -> Tensor:
    """Signal-to-noise ratio in dB over the last axis: (..., samples) -> (...).

    Not scale-invariant: the level of an estimate counts. ceiling_db: see ``SnrLoss``.
    """
    noise = _power(estimates - sources)
    if ceiling_db is not None:
        noise = noise + 10 ** (-ceiling_db / 10) * _power(sources)
    return 10 * ((_power(sources) + SILENCE) / (noise + SILENCE)).log10()


def si_sdr(estimates: Tensor, sources: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB over the last axis: (..., samples) -> (...).

    Means are removed first. (arXiv 1811.02508, section 2.)
    """
    estimates = estimates - estimates.mean(-1, keepdim=True)
    sources = sources - sources.mean(-1, keepdim=True)
    gain = (estimates * sources).mean(-1) / (_power(sources) + TINY)
    target = gain.unsqueeze(-1) * sources
    return _ratio_db(target, estimates - target, TINY)


def quietness(estimates: Tensor, mixture: Tensor) -> Tensor:
    """How far below the mixture an estimate is, in dB over the last axis, at most 30: (..., samples) -> (...).

    What a ratio is for a silent source. Beyond 30 dB nothing is to be gained, else silence would rule the gradient
    (Wisdom et al., *What's all the fuss about free universal sound separation data?*, hal-02984693).
    """
    loudness = _power(mixture) + SILENCE
    return -10 * (_power(estimates) / loudness + QUIET_ENOUGH).log10()


def pairwise(ratio: Ratio, estimates: Tensor, sources: Tensor) -> Tensor:
    """Every estimate against every source: (batch, source, estimate) of ``ratio`` in dB."""
    return ratio(estimates.unsqueeze(1), sources.unsqueeze(2))


def best_permutation(ratios: Tensor) -> Tensor:
    """The assignment with the highest sum: ratios (batch, source, estimate) -> permutation (batch, source)."""
    from scipy.optimize import linear_sum_assignment

    scores = ratios.detach().cpu().numpy()
    chosen = [linear_sum_assignment(one, maximize=True)[1] for one in scores]
    return ratios.new_tensor(np.stack(chosen)).long()


def permute(estimates: Tensor, permutation: Tensor) -> Tensor:
    """Put estimates (batch, estimate, samples) into the order of the sources."""
    return estimates.take_along_dim(permutation.unsqueeze(-1), dim=1)


def permutation_invariant_loss(
    estimates: Tensor, sources: Tensor, ratio: Ratio = snr, mixture: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Utterance-level permutation invariant loss (arXiv 1703.06284, section III).

    Parameters
    ----------
    estimates, sources
        (batch, source, samples).
    ratio
        What is to be large: estimates and sources (..., samples) -> dB (...).
    mixture
        (batch, samples). What is to be quiet where a source is silent is compared with it; None: with the sum of the
        sources.

    Returns
    -------
    loss
        The negative ratio in dB, averaged over the sources: (batch,).
    permutation
        Which estimate is whose: (batch, source).

    Raises
    ------
    ValueError
        Where the shapes of estimates and sources differ.
    """
    if estimates.shape != sources.shape:
        raise ValueError(f"estimates {tuple(estimates.shape)} and sources {tuple(sources.shape)} differ")
    mixture = sources.sum(1) if mixture is None else mixture
    silent = ~sources.any(-1, keepdim=True)
    quiet = quietness(estimates, mixture.unsqueeze(1)).unsqueeze(1)
    ratios = quiet.where(silent, pairwise(ratio, estimates, sources))
    permutation = best_permutation(ratios)
    chosen = ratios.take_along_dim(permutation.unsqueeze(-1), dim=-1).squeeze(-1)
    return -chosen.mean(-1), permutation


def _power(signal: Tensor) -> Tensor:
    return signal.square().mean(-1)


def _ratio_db(signal: Tensor, noise: Tensor, floor: float) -> Tensor:
    return 10 * ((_power(signal) + floor) / (_power(noise) + floor)).log10()
