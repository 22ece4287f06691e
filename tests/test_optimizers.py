"""Optimizers and schedules: steps of known size, and runs whose learning rates are known beforehand."""

import pytest
import torch
from torch import nn

from unbabble.base.config import parse_settings
from unbabble.errors import RecipeError, TrainingError
from unbabble.networks.config import NetworkConfig
from unbabble.networks.losses import snr
from unbabble.networks.network import SeparationNetwork
from unbabble.training.config import SeparationTraining
from unbabble.training.muon import Muon, orthogonal
from unbabble.training.optimizers import AdamWConfig, CosineSchedule, Moment, MuonConfig, TrapezoidSchedule


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 40), (2, 40, 8)])
def test_a_gradient_is_made_orthogonal(shape):
    """The singular vectors stay, the singular values come near 1."""
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.rand(shape[0], min(shape[1:])) + 0.2
    made = orthogonal(left @ torch.diag_embed(values) @ right)
    inside = left.transpose(1, 2) @ made @ right.transpose(1, 2)
    found = inside.diagonal(dim1=1, dim2=2)
    assert torch.allclose(inside, torch.diag_embed(found), atol=1e-4)
    assert found.min() > 0.6
    assert found.max() < 1.3


def lstm_and_more() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"rnn": nn.LSTM(6, 8), "linear": nn.Linear(8, 4), "norm": nn.LayerNorm(4)})


@pytest.mark.parametrize(("gates_apart", "n_matrices"), [(True, 4), (False, 1)])
def test_every_gate_of_an_lstm_takes_a_step_of_its_own(gates_apart, n_matrices):
    network = lstm_and_more()
    optimizer = MuonConfig(learning_rate=0.1, gates_apart=gates_apart).build(network, 1e-3, 0.0)
    weight = network["rnn"].weight_hh_l0
    before = weight.detach().clone()
    weight.grad = torch.randn(32, 8) * torch.tensor([1.0, 10.0, 100.0, 1000.0]).repeat_interleave(8).unsqueeze(1)
    optimizer.step()
    step = (before - weight.detach()) / 0.1
    rows = 32 // n_matrices
    values = torch.cat([torch.linalg.svdvals(part) for part in step.split(rows)]) / max(1, rows / 8) ** 0.5
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_what_is_no_matrix_learns_as_with_adamw():
    one, other = lstm_and_more(), lstm_and_more()
    optimizers = MuonConfig().build(one, 1e-3, 0.1), AdamWConfig().build(other, 1e-3, 0.1)
    for step in range(5):
        for network, optimizer in zip((one, other), optimizers, strict=True):
            torch.manual_seed(step)
            for weight in network.parameters():
                weight.grad = torch.randn_like(weight)
            optimizer.step()
    assert torch.allclose(one["norm"].weight, other["norm"].weight, atol=1e-6)
    assert torch.allclose(one["rnn"].bias_hh_l0, other["rnn"].bias_hh_l0, atol=1e-6)
    assert not torch.allclose(one["linear"].weight, other["linear"].weight, atol=1e-3)


def test_front_ends_are_no_matrices_to_muon():
    network = SeparationNetwork(NetworkConfig())
    optimizer = MuonConfig().build(network, 1e-3, 0.0)
    matrices = {weight for group in optimizer.param_groups if group["muon"] for weight in group["params"]}
    assert not matrices & set(network.front_end.parameters())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))


def test_muon_goes_on_as_if_it_had_not_been_stopped():
    def after(steps: int, stop: int | None) -> torch.Tensor:
        network = lstm_and_more()
        optimizer = MuonConfig().build(network, 1e-3, 0.0)
        for step in range(steps):
            if step == stop:
                state, optimizer = optimizer.state_dict(), MuonConfig().build(network, 1e-3, 0.0)
                optimizer.load_state_dict(state)
            torch.manual_seed(step)
            for weight in network.parameters():
                weight.grad = torch.randn_like(weight)
            optimizer.step()
        return torch.cat([weight.detach().flatten() for weight in network.parameters()])

    assert torch.equal(after(6, None), after(6, 3))


def test_muon_without_matrices_is_refused():
    with pytest.raises(TrainingError, match="muon is for networks that have matrices"):
        MuonConfig().build(nn.LayerNorm(4), 1e-3, 0.0)


def test_a_weight_without_a_gradient_stays():
    network = lstm_and_more()
    before = [weight.detach().clone() for weight in network.parameters()]
    optimizer = MuonConfig().build(network, 1e-3, 0.1)
    assert isinstance(optimizer, Muon)
    optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))


def test_a_trapezoid_rises_by_steps_is_held_and_falls_at_the_end():
    schedule = TrapezoidSchedule(warmup_steps=9, decay=0.25)
    assert [schedule.factor_at(Moment(0.0, step=step)) for step in (0, 4, 9, 99)] == [0.1, 0.5, 1.0, 1.0]
    falling = [schedule.factor_at(Moment(progress, step=99)) for progress in (0.75, 0.875, 1.0)]
    assert falling == pytest.approx([1.0, 0.5, 0.01])


def test_the_cosine_rises_and_falls():
    schedule = CosineSchedule(warmup=0.1)
    factors = [schedule.factor_at(Moment(step / 100)) for step in range(101)]
    assert factors[10] == pytest.approx(1)
    assert factors[100] == pytest.approx(0.01)
    assert factors[:11] == sorted(factors[:11])
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_a_ratio_comes_near_its_ceiling_and_never_exceeds_it():
    source = torch.randn(1000)
    noise = torch.randn(1000)
    noise *= source.norm() / noise.norm()
    assert snr(source, source, 30.0).item() == pytest.approx(30.0, abs=0.01)
    assert snr(source + noise, source, 30.0).item() == pytest.approx(0.0, abs=0.01)
    assert snr(source + noise * 10**-1.5, source, 30.0).item() == pytest.approx(30 - 3.01, abs=0.01)


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        ("loss", "'snr', 'si_sdr'"),
        ("optimizer", "'adamw', 'muon'"),
        ("schedule", "'step', 'cosine', 'trapezoid'"),
    ],
)
def test_an_unknown_kind_is_refused_with_those_that_exist(key, kinds):
    with pytest.raises(RecipeError, match=f"{key}: there is no kind 'none'; expected {kinds}"):
        parse_settings(SeparationTraining, {key: "none"}, "recipe.yaml")


def test_a_name_alone_is_a_kind():
    config = parse_settings(SeparationTraining, {"loss": "si_sdr", "optimizer": "muon"}, "recipe.yaml")
    assert (config.loss.kind, config.optimizer) == ("si_sdr", MuonConfig())
