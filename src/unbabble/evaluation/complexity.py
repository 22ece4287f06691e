"""Multiply-accumulates of a network, counted by PyTorch while it runs.

Counted are matrix products and convolutions, those inside LSTMs and attention included. Norms, activations, biases
and the product with the masks are not: together they are less than a hundredth.
"""

import warnings

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unbabble.base.config import parse_settings
from unbabble.errors import RecipeError
from unbabble.inference.model_folder import CARD, ModelFolder
from unbabble.networks.network import NetworkConfig, SeparationNetwork

COUNTED_S = (4, 6)  # lengths of audio, whose difference does not depend on edges


def macs_of_model(model: ModelFolder) -> float | None:
    """A second of audio, for as many sources as it was trained for; None where its card does not say enough."""
    try:
        network = parse_settings(NetworkConfig, model.card.get("network"), str(model.path / CARD))
    except RecipeError:
        return None
    return macs_per_second(network, model.n_sources)


def macs_per_second(config: NetworkConfig, n_sources: int) -> float:
    """A second of audio, of a recording so long that its edges do not count."""
    network = SeparationNetwork(config).eval()
    short, long = (macs(network, torch.zeros(1, length * config.sample_rate), n_sources) for length in COUNTED_S)
    return (long - short) / (COUNTED_S[1] - COUNTED_S[0])


def macs(network: SeparationNetwork, mixture: Tensor, n_sources: int) -> float:
    """Of separating one batch of mixtures (batch, samples)."""
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of switching off what this machine does not have
        with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=False), counter:  # its LSTMs are not counted
            network(mixture, n_sources)
    return counter.get_total_flops() / 2
