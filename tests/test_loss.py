"""Ratios and permutations against signals whose answer is known, and against torchmetrics."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

from unbabble.networks.losses import best_permutation, pairwise, permutation_invariant_loss, permute, si_sdr, snr


def orthogonal_pair(samples: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Two zero-mean signals of unit power that are orthogonal."""
    time = 2 * torch.pi * torch.arange(samples, dtype=torch.float64) / samples
    return math.sqrt(2) * torch.sin(3 * time), math.sqrt(2) * torch.cos(3 * time)


@pytest.mark.parametrize("level_db", [-20, 0, 7, 30])
def test_snr_and_si_sdr_of_a_known_error(level_db):
    source, error = orthogonal_pair()
    estimate = source + error * 10 ** (-level_db / 20)
    assert snr(estimate, source).item() == pytest.approx(level_db, abs=1e-4)
    assert si_sdr(estimate, source).item() == pytest.approx(level_db, abs=1e-4)


def test_si_sdr_ignores_the_scale_and_snr_does_not():
    source, error = orthogonal_pair()
    estimate = 0.5 * (source + 0.1 * error)
    assert si_sdr(estimate, source).item() == pytest.approx(20, abs=1e-3)
    assert snr(estimate, source).item() == pytest.approx(-10 * math.log10(0.25 + 0.0025), abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ratios_equal_torchmetrics(dtype):
    torch.manual_seed(0)
    estimates, sources = torch.randn(4, 3, 2000, dtype=dtype), torch.randn(4, 3, 2000, dtype=dtype)
    torch.testing.assert_close(snr(estimates, sources), signal_noise_ratio(estimates, sources), atol=1e-3, rtol=0)
    expected = scale_invariant_signal_distortion_ratio(estimates, sources, zero_mean=True)
    torch.testing.assert_close(si_sdr(estimates, sources), expected, atol=1e-3, rtol=0)


@given(st.permutations(range(4)), st.integers(0, 2**31))
@settings(max_examples=30)
def test_the_permutation_is_found_and_undone(order, seed):
    torch.manual_seed(seed)
    sources = torch.randn(2, 4, 300)
    estimates = (sources + 0.1 * torch.randn_like(sources))[:, order]
    losses, permutation = permutation_invariant_loss(estimates, sources)
    for row in permutation:
        assert [order[estimate] for estimate in row] == [0, 1, 2, 3]
    torch.testing.assert_close(losses, -snr(permute(estimates, permutation), sources).mean(-1))


def test_each_mixture_of_a_batch_has_its_own_permutation():
    sources = torch.randn(2, 2, 100)
    estimates = torch.stack([sources[0], sources[1].flip(0)])
    _, permutation = permutation_invariant_loss(estimates, sources, si_sdr)
    assert permutation.tolist() == [[0, 1], [1, 0]]


def test_the_assignment_maximises_the_sum_not_each_pair():
    ratios = torch.tensor([[[10.0, 9.0], [9.0, 0.0]]])  # 10 + 0 < 9 + 9
    assert best_permutation(ratios).tolist() == [[1, 0]]


def test_ten_sources_are_no_burden():
    sources = torch.randn(1, 10, 200)
    _, permutation = permutation_invariant_loss(sources.flip(1), sources)
    assert permutation.tolist() == [list(range(9, -1, -1))]


@pytest.mark.parametrize("ratio", [snr, si_sdr])
@pytest.mark.parametrize("silent_estimate", [True, False])
def test_a_silent_source_gives_finite_loss_and_gradients(ratio, silent_estimate):
    sources = torch.randn(2, 2, 400)
    sources[:, 1] = 0
    start = torch.zeros(2, 2, 400) if silent_estimate else torch.randn(2, 2, 400)
    estimates = start.requires_grad_()
    losses, _ = permutation_invariant_loss(estimates, sources, ratio)
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert torch.isfinite(estimates.grad).all()


@pytest.mark.parametrize("ratio", [snr, si_sdr])
@pytest.mark.parametrize(("below_db", "expected"), [(0.0, 0.0), (10.0, 10.0), (20.0, 19.6), (60.0, 30.0)])
def test_the_estimate_of_a_silent_source_is_measured_against_the_mixture(ratio, below_db, expected):
    """Nobody talks: the mixture is noise, and an estimate so far below it counts so much, 30 dB at most."""
    noise, other = orthogonal_pair()
    estimates = torch.stack([other, other])[None] * 10 ** (-below_db / 20)
    losses, _ = permutation_invariant_loss(estimates, torch.zeros(1, 2, noise.numel()), ratio, noise[None])
    assert -losses.item() == pytest.approx(expected, abs=0.05)


def test_a_silent_source_does_not_rule_the_gradient():
    talker, leak = orthogonal_pair()
    sources = torch.stack([talker, torch.zeros_like(talker)])[None]
    norms = []
    for below_db in (10, 30, 60):
        estimates = torch.stack([talker + 0.3 * leak, leak * 10 ** (-below_db / 20)])[None].requires_grad_()
        permutation_invariant_loss(estimates, sources)[0].sum().backward()
        norms.append(estimates.grad.norm(dim=-1)[0])
    assert all(silent < 10 * talking for talking, silent in norms)
    assert norms[2][1] < norms[1][1]


def test_pairwise_has_sources_in_rows_and_estimates_in_columns():
    sources = torch.randn(1, 2, 100)
    estimates = torch.stack([sources[:, 0], sources[:, 0]], dim=1)
    ratios = pairwise(snr, estimates, sources)
    assert ratios.shape == (1, 2, 2)
    assert (ratios[0, 0] > 60).all()
    assert (ratios[0, 1] < 10).all()


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ"):
        permutation_invariant_loss(torch.randn(1, 2, 10), torch.randn(1, 3, 10))
