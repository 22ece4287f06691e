"""Multiply-accumulates of a network, counted by PyTorch from the shapes of everything that it computes.

Counted are matrix products and convolutions, those inside LSTMs and attention included. Norms, activations, biases
and the product with the masks are not: together they are less than a hundredth.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from unbabble.base.config import parse_settings
from unbabble.errors import RecipeError
from unbabble.inference.model_folder import CARD, ModelFolder
from unbabble.networks.config import NetworkConfig
from unbabble.networks.network import SeparationNetwork

Shape = Sequence[int]

WINDOW_S = 20.0  # where nothing else is said


def macs_of_model(model: ModelFolder) -> float | None:
    """A second of audio, for as many sources as it was trained for; None where its card does not say enough."""
    try:
        network = parse_settings(NetworkConfig, model.card.get("network"), str(model.path / CARD))
    except RecipeError:
        return None
    return macs_per_second(network, model.n_sources, model.window_s)


def macs_per_second(config: NetworkConfig, n_sources: int, window_s: float = WINDOW_S) -> float:
    """A second of audio, in windows of so many seconds: with attention longer windows cost more."""
    return macs(SeparationNetwork(config), round(window_s * config.sample_rate), n_sources) / window_s


def macs(network: SeparationNetwork, n_samples: int, n_sources: int) -> float:
    """Of one mixture. Only shapes are computed, no values, so that long ones take no longer than short ones."""
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _lstm_flops})
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), counter:
        network(torch.zeros(1, n_samples), n_sources)
    return counter.get_total_flops() / 2


def _lstm_flops(steps: Shape, input_weights: Shape, hidden_weights: Shape, *_: Any, **__: Any) -> int:
    """One direction of an LSTM as oneDNN has it, which PyTorch does not count by itself."""
    return 2 * prod(steps[:2]) * (prod(input_weights) + prod(hidden_weights))
