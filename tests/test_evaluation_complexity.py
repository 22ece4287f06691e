"""Multiply-accumulates: by hand for the paper's network, by hooks on small ones; speed and memory."""

import pytest
import torch
from conftest import exported, tiny_recipe
from torch import nn

from unbabble.evaluation.complexity import macs, macs_of_model, macs_per_second
from unbabble.evaluation.speed import measure_speed
from unbabble.inference.model_folder import open_model
from unbabble.networks.blocks.attention import AttentionConfig
from unbabble.networks.blocks.conv import ConvConfig
from unbabble.networks.blocks.dual_path import DualPathConfig
from unbabble.networks.config import MixedDesign, MultiScaleDesign, NetworkConfig, ScaleConfig, SisoOnlyDesign
from unbabble.networks.front_ends.band_split import BandSplitConfig
from unbabble.networks.front_ends.band_split.front_end import BandSplit, BandSplitFrontEnd, MaskEstimator
from unbabble.networks.front_ends.tasnet import TasNetConfig
from unbabble.networks.network import SeparationNetwork

# The paper's network by hand. 16000 Hz at a hop of 16: 1000 frames a second, each in two chunks: 2000 cells.
# A path: an LSTM of two directions, 2 x 4 x 128 x (64 + 128) = 196608, and back, 256 x 64 = 16384. A block has
# two: 425984 a cell, 851.968 M a second. Encoder 64 x 32, decoder the same, linear layers of 64 x 64 = 4096.
BLOCK = 851_968_000
ENCODING = 1000 * (64 * 32 + 4096)  # encoder, and into the grid
DECODING = 2 * 1000 * (4096 + 64 * 32)  # for two sources: masks, decoder
HEADS = 2000 * 2 * 4096


def more_for_a_second(config: NetworkConfig) -> float:
    """What a second costs that is neither the first nor the last."""
    network = SeparationNetwork(config)
    return macs(network, 2 * config.sample_rate, 2) - macs(network, config.sample_rate, 2)


@pytest.mark.parametrize(
    ("design", "expected"),
    [
        (MixedDesign(6, 0), ENCODING + 6 * BLOCK + HEADS + DECODING),
        (MixedDesign(2, 4), ENCODING + 2 * BLOCK + HEADS + 2 * (2000 * 2 * 4096 + 4 * BLOCK) + DECODING),
        (SisoOnlyDesign(2, 4), ENCODING + 2 * BLOCK + 2 * (2000 * 3 * 4096 + 4 * BLOCK) + DECODING),
    ],
)
def test_the_papers_networks_cost_what_they_cost_by_hand(design, expected):
    assert more_for_a_second(NetworkConfig(design=design)) == expected


def test_the_papers_simo_only_network_needs_five_billion():
    assert macs_per_second(NetworkConfig(design=MixedDesign(6, 0)), 2) == pytest.approx(5_146_624_000, rel=0.01)


def test_a_band_split_network_costs_what_it_costs_by_hand():
    """16000 Hz at a hop of 200: 80 frames a second, each of 201 bins (window 400) in 3 bands of 67: 240 cells.

    A path: 2 x 4 x 10 x (20 + 10) = 2400, and back, 20 x 20 = 400; a block has two. STFT 402 x 400 = 160800 a frame.
    """
    front_end = BandSplitConfig(window=400, hop=200, bands=3, narrowest=67)
    config = NetworkConfig(MixedDesign(1, 1), front_end=front_end, channels=20, block=DualPathConfig(10))
    encoding = 80 * (160_800 + 3 * (3 * 67) * 20)
    decoding = 2 * 80 * (3 * 20 * (2 * 67) + 160_800)
    blocks = 240 * (5600 + 2 * (400 + 800 + 5600))  # and for each source, head and join
    assert more_for_a_second(config) == pytest.approx(encoding + decoding + blocks, rel=1e-3)


def hooked_macs(network: SeparationNetwork, mixture: torch.Tensor, n_sources: int) -> int:
    """What torch's layers do on a mixture, from the shapes that they see."""
    counted = []

    def count(module, inputs, output):
        if isinstance(module, nn.Linear):
            counted.append(inputs[0].numel() * module.out_features)
        elif isinstance(module, nn.Conv1d):
            counted.append(output.numel() * module.weight[0].numel())
        elif isinstance(module, nn.ConvTranspose1d):
            counted.append(inputs[0].numel() * module.weight[0].numel())
        elif isinstance(module, BandSplit | MaskEstimator):
            counted.append(inputs[0].shape[:2].numel() * module.weight.numel())
        elif isinstance(module, nn.LSTM):
            weights = sum(weight.numel() for name, weight in module.named_parameters() if "weight" in name)
            counted.append(inputs[0].shape[:2].numel() * weights)

    for module in network.modules():
        module.register_forward_hook(count)
    network(mixture, n_sources)
    if isinstance(network.front_end, BandSplitFrontEnd):
        n_frames = network.front_end.encode(mixture).shape[1]
        counted.append((1 + n_sources) * n_frames * network.front_end.basis.numel())  # the STFT is no layer
    return sum(counted)


@pytest.mark.parametrize(
    "front_end",
    [
        TasNetConfig(filters=12, window=8, hop=4, chunk=6, chunk_hop=3),
        TasNetConfig(filters=12, window=8, hop=4, chunk=6, chunk_hop=3, magnitudes=True),
        BandSplitConfig(window=32, hop=16, bands=4, narrowest=2),
    ],
    ids=["tasnet", "magnitudes", "band split"],
)
@pytest.mark.parametrize("design", [MixedDesign(2, 0), MixedDesign(0, 2), MixedDesign(1, 2), SisoOnlyDesign(1, 2)])
def test_counts_equal_what_the_layers_do(design, front_end):
    config = NetworkConfig(design=design, n_sources=3, front_end=front_end, channels=10, block=DualPathConfig(7))
    network, mixture = SeparationNetwork(config), torch.randn(1, 500)
    assert macs(network, 500, 3) == pytest.approx(hooked_macs(network, mixture, 3), rel=1e-3)


def test_machines_without_onednn_count_the_same():
    network = SeparationNetwork(tiny_recipe().network)
    with_it = macs(network, 1000, 2)
    with torch.backends.mkldnn.flags(enabled=False):
        assert macs(network, 1000, 2) == with_it


def test_networks_of_several_scales_and_blocks_are_counted():
    """A convolution block of 3 x 3 over 10 channels has two products of 900 a cell."""
    front_end = BandSplitConfig(window=400, hop=200, bands=3, narrowest=67)
    plain, with_block = (
        NetworkConfig(MultiScaleDesign((ScaleConfig(simo),)), front_end=front_end, channels=10)
        for simo in ((), (ConvConfig(),))
    )
    assert more_for_a_second(with_block) - more_for_a_second(plain) == 80 * 3 * 1800


def test_attention_costs_more_in_longer_windows():
    """Of each of 3 bands, every frame with every other: a product with the keys and one with the values."""
    front_end = BandSplitConfig(window=400, hop=200, bands=3, narrowest=67)
    config = NetworkConfig(MixedDesign(1, 0), front_end=front_end, channels=16, block=AttentionConfig(heads=2))
    network = SeparationNetwork(config)
    n_samples = (1000, 2000, 4000)
    costs = [macs(network, one, 2) for one in n_samples]
    frames = [network.front_end.encode(torch.zeros(1, one)).shape[1] for one in n_samples]
    slopes = [(costs[one + 1] - costs[one]) / (frames[one + 1] - frames[one]) for one in range(2)]
    assert slopes[1] - slopes[0] == pytest.approx(3 * 2 * 16 * (frames[2] - frames[0]))
    assert macs_per_second(config, 2, 8.0) > macs_per_second(config, 2, 4.0)


def test_a_model_folder_says_enough_to_count(tiny_model, tmp_path):
    assert macs_of_model(open_model(tiny_model)) == macs_per_second(tiny_recipe().network, 2, 2.0)
    siso_only = SisoOnlyDesign(1, 1)
    of_siso_only = macs_per_second(tiny_recipe(siso_only).network, 2, 2.0)
    assert macs_of_model(open_model(exported(tmp_path / "c", siso_only))) == of_siso_only
    card = open_model(tiny_model)
    card.card.pop("network")
    assert macs_of_model(card) is None


def test_speed_and_memory_are_those_of_separating_alone(tiny_model):
    ballast = b"x" * 300_000_000  # of this process, which must not count
    found = measure_speed(tiny_model)
    assert found.real_time_factor > 0
    assert found.peak_memory_mb is None or 20 < found.peak_memory_mb < len(ballast) / 1e6
