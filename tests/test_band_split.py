"""The STFT with band split: exact where it must be, free of level, and good for every design."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import REPO, loss_after, run_here, tone
from hypothesis import assume, given
from hypothesis import strategies as st

from unbabble import Separator
from unbabble.base.config import dump_settings, parse_settings
from unbabble.errors import RecipeError
from unbabble.inference.engine import Engine
from unbabble.inference.model_folder import open_model
from unbabble.networks.blocks.dual_path import DualPathConfig
from unbabble.networks.config import MixedDesign, NetworkConfig, SisoOnlyDesign
from unbabble.networks.front_ends.band_split import BandSplitConfig, band_edges
from unbabble.networks.front_ends.band_split.front_end import BandSplit, BandSplitFrontEnd, MaskEstimator
from unbabble.networks.front_ends.tasnet import TasNetConfig
from unbabble.networks.layers import complex_product
from unbabble.networks.losses import permutation_invariant_loss
from unbabble.networks.network import SeparationNetwork
from unbabble.training.config import ModelConfig, SeparationRecipe
from unbabble.training.export import export_model
from unbabble.training.quantize import quantize_model
from unbabble.training.recipe import read_recipe
from unbabble.training.run import train

SMALL = BandSplitConfig(window=64, hop=32, bands=5, narrowest=2)
DESIGNS = [MixedDesign(2, 0), MixedDesign(1, 1), MixedDesign(0, 2), SisoOnlyDesign(1, 1)]


def small_config(design=MixedDesign(1, 1), n_sources: int = 2) -> NetworkConfig:  # noqa: B008
    return NetworkConfig(design=design, n_sources=n_sources, front_end=SMALL, channels=8, block=DualPathConfig(8))


def small_network(design=MixedDesign(1, 1), n_sources: int = 2) -> SeparationNetwork:  # noqa: B008
    torch.manual_seed(1)
    return SeparationNetwork(small_config(design, n_sources)).eval()


def with_masks(config: BandSplitConfig, masks) -> BandSplitFrontEnd:
    """A front end whose masks are given, (bands,) real, whatever the grid."""
    front_end = BandSplitFrontEnd(config, 4)
    widest = max(config.widths)
    with torch.no_grad():
        front_end.mask_head.weight.zero_()
        front_end.mask_head.bias.zero_()
        front_end.mask_head.bias[:, :widest] = torch.as_tensor(masks).reshape(-1, 1, 1)
    return front_end


def through(front_end: BandSplitFrontEnd, mixture: torch.Tensor) -> torch.Tensor:
    """Encoded, and decoded again by the masks of the front end: (batch, samples) -> the same."""
    with torch.no_grad():
        frames = front_end.encode(mixture)
        return front_end.decode(front_end.mask(front_end.grid(frames).unsqueeze(1), frames), mixture.shape[-1])[:, 0]


@given(st.integers(1, 700), st.sampled_from([(64, 32), (64, 16), (60, 20), (30, 10), (512, 256)]))
def test_masks_of_one_give_the_mixture_back_whatever_its_length(length, sizes):
    window, hop = sizes
    config = BandSplitConfig(window=window, hop=hop, bands=5, narrowest=2)
    mixture = torch.randn(2, length)
    assert torch.allclose(through(with_masks(config, torch.ones(5)), mixture), mixture, atol=1e-5)


def test_frames_are_the_fourier_transform_of_windowed_pieces():
    mixture = torch.randn(1, 320)
    frames = BandSplitFrontEnd(SMALL, 4).encode(mixture)[0]
    padded = np.pad(mixture[0].numpy(), 32)
    window = np.sin(np.pi * (np.arange(64) + 0.5) / 64)
    for row, frame in enumerate(frames.numpy()):
        expected = np.fft.rfft(window * padded[32 * row : 32 * row + 64]) / np.sqrt(32)
        expected[[0, -1]] /= np.sqrt(2)  # so that the basis is orthonormal
        np.testing.assert_allclose(frame[:33] + 1j * frame[33:], expected, atol=1e-5)


@given(st.integers(2, 600), st.integers(1, 40), st.integers(1, 20))
def test_bands_cover_every_bin_once_and_grow_upwards(bins, bands, narrowest):
    assume(bands * narrowest <= bins)
    edges = band_edges(bins, bands, narrowest)
    widths = np.diff(edges)
    assert (edges[0], edges[-1], len(widths)) == (0, bins, bands)
    assert widths.min() >= narrowest
    assert (np.diff(widths) >= -1).all()  # edges are rounded
    assert bands == 1 or widths[0] <= narrowest + 1


def test_a_band_for_every_bin():
    assert band_edges(2049, 2049, 1) == list(range(2050))


def test_the_default_bands_by_hand():
    """Widths of 4 * 1.11006^k bins; 31.25 Hz a bin."""
    edges = np.cumsum([0, *(4 * 1.11006**k for k in range(20))])
    assert band_edges(257, 20, 4) == [*np.floor(edges[:-1] + 0.5).astype(int), 257]


@pytest.mark.parametrize("band", [0, 3, 9, 19])
def test_a_tone_lands_in_its_band(band):
    config = BandSplitConfig()
    edges = np.cumsum([0, *config.widths])
    hertz = 31.25 * (edges[band] + edges[band + 1] - 1) / 2
    mixture = torch.from_numpy(tone(0.5, hertz=hertz))[None]
    powers = [through(with_masks(config, row), mixture).square().mean() for row in torch.eye(20)]
    assert powers[band] > 0.97 * mixture.square().mean()
    assert sum(powers) - powers[band] < 0.01 * powers[band]


def test_layers_of_bands_equal_a_layer_for_each_and_know_nothing_of_bins_that_fill_up():
    widths, numbers, channels = [2, 3, 6], 3, 4
    bins, edges = sum(widths), np.cumsum([0, *widths])
    into, out = BandSplit(widths, numbers, channels), MaskEstimator(widths, numbers, channels)
    features, grid = torch.randn(2, 7, numbers * bins), torch.randn(2, 7, 3, channels)
    entered, left = into(features), out(grid)
    assert (entered.shape, left.shape) == (grid.shape, features.shape)
    entered.square().sum().backward()
    left.square().sum().backward()
    for band, (low, width) in enumerate(zip(edges, widths, strict=False)):
        used = torch.arange(numbers * 6).reshape(numbers, 6)[:, :width].flatten()
        unused = np.setdiff1d(np.arange(numbers * 6), used)
        own = features.reshape(2, 7, numbers, bins)[..., low : low + width].flatten(2)
        assert torch.allclose(entered[:, :, band], own @ into.weight[band, used] + into.bias[band], atol=1e-5)
        expected = grid[:, :, band] @ out.weight[band, used].T + out.bias[band, used, 0]
        given = left.reshape(2, 7, numbers, bins)[..., low : low + width].flatten(2)
        assert torch.allclose(given, expected, atol=1e-5)
        for gradient in (into.weight.grad[band], out.weight.grad[band], out.bias.grad[band]):
            assert gradient[used].any(dim=1).all()
            assert not gradient[unused].any()


def test_masks_multiply_as_complex_numbers():
    one, other = torch.randn(2, 5, dtype=torch.complex64), torch.randn(2, 5, dtype=torch.complex64)
    given = complex_product(*(torch.cat([value.real, value.imag], dim=-1) for value in (one, other)))
    assert torch.allclose(torch.complex(*given.chunk(2, dim=-1)), one * other)


@pytest.mark.parametrize("design", DESIGNS)
def test_estimates_scale_with_the_mixture_and_silence_stays_silence(design):
    network, mixture = small_network(design), torch.randn(1, 500)
    with torch.no_grad():
        for gain in (100, 1e-4):
            assert torch.allclose(network(gain * mixture), gain * network(mixture), rtol=1e-3, atol=1e-5 * gain)
        assert torch.equal(network(torch.zeros(1, 500)), torch.zeros(1, 2, 500))


@pytest.mark.parametrize("length", [1, 31, 32, 33, 500])
@pytest.mark.parametrize("n_sources", [1, 3])
@pytest.mark.parametrize("design", DESIGNS)
def test_any_length_and_any_number_of_sources(design, n_sources, length):
    estimates = small_network(design, n_sources)(torch.randn(2, length))
    assert estimates.shape == (2, n_sources, length)
    assert estimates.isfinite().all()


def low_passed(length: int) -> torch.Tensor:
    """Noise in the lowest fifth of the bins, without clicks at its ends."""
    spectrum = torch.fft.rfft(torch.randn(1, length))
    spectrum[:, length // 10 :] = 0
    return torch.fft.irfft(spectrum, length) * torch.hann_window(length)


@pytest.mark.parametrize(
    "mixture",
    [torch.zeros(1, 400), torch.cat([torch.zeros(1, 200), torch.randn(1, 200)], dim=1), low_passed(400)],
    ids=["silent", "half silent", "bands without energy"],
)
def test_gradients_are_finite_where_there_is_nothing_to_hear(mixture):
    network = small_network()
    mixture = mixture.requires_grad_()
    loss, _ = permutation_invariant_loss(network(mixture), torch.zeros(1, 2, 400))
    loss.sum().backward()
    for value in (mixture, *network.parameters()):
        assert value.grad.isfinite().all()


def test_a_band_that_is_all_but_empty_is_not_made_loud():
    frames = torch.randn(1, 50, 2, 33)
    frames[..., 16:] *= 1e-4
    with torch.no_grad():
        shown = small_network().front_end._as_loud(frames.flatten(2)).square().reshape(frames.shape).mean((0, 1, 2))
    edges = np.cumsum([0, *SMALL.widths])
    for low, high in pairwise(edges):
        assert low < 16 or shown[low:high].max() < 0.01
        assert high > 16 or shown[low:high].mean() == pytest.approx(0.5, rel=0.01)  # real and imaginary parts


def test_a_recipe_or_card_without_a_kind_means_tasnet():
    card = open_model("default").card["network"]
    assert card["front_end"].pop("kind") == "tasnet"
    front_end = parse_settings(NetworkConfig, card, "model.json").front_end
    assert isinstance(front_end, TasNetConfig)
    assert front_end.filters == 384


def test_a_description_is_written_and_read_again():
    config = small_config()
    assert parse_settings(NetworkConfig, dump_settings(config), "recipe.yaml") == config


@pytest.mark.parametrize(
    ("front_end", "told"),
    [
        ("{kind: bandsplit}", "network.front_end: there is no kind 'bandsplit'; expected 'tasnet', 'band_split'"),
        ("bands", "network.front_end: there is no kind 'bands'; expected 'tasnet', 'band_split'"),
        ("{kind: band_split, chunk: 3}", "chunk is not a key that anything reads"),
        ("{kind: band_split, window: 500, hop: 200}", "window must be even, and a multiple of hop"),
        ("{kind: band_split, window: 256, hop: 256}", "at least twice"),
        ("{kind: band_split, bands: 40, narrowest: 8}", "40 bands of at least 8 bins are more than the 257"),
    ],
)
def test_a_wrong_front_end_is_explained(tmp_path, front_end, told):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"network: {{front_end: {front_end}}}")
    with pytest.raises(RecipeError) as raised:
        read_recipe(path)
    assert told in str(raised.value)


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_runs_the_same_in_both_engines_on_any_batch_and_length(tmp_path, design):
    network = small_network(design)
    recipe = SeparationRecipe(network=network.config, model=ModelConfig(name="tiny"))
    folder = export_model(network, recipe, tmp_path / "model")
    engine, quantized = Engine(open_model(folder)), Engine(open_model(quantize_model(folder, tmp_path / "small")))
    for shape in [(1, 1), (1, 63), (3, 5000), (2, 16001)]:
        mixture = torch.randn(shape)
        with torch.no_grad():
            expected = network(mixture).numpy()
        np.testing.assert_allclose(engine(mixture.numpy()), expected, atol=1e-4 * np.abs(expected).max())
        error = np.sum((quantized(mixture.numpy()) - expected) ** 2)
        assert error < 10**-2.5 * np.sum(expected**2)


def test_a_run_ends_with_a_model_that_separates_and_can_be_exported_again(tmp_path):
    recipe = read_recipe(REPO / "recipes" / "smoke.yaml")
    training = dataclasses.replace(recipe.training, max_epochs=1, epoch_size=4, valid_size=2)
    network = dataclasses.replace(recipe.network, front_end=BandSplitConfig(bands=8))
    recipe = dataclasses.replace(recipe, mixtures=recipe.mixtures[:1], training=training, network=network)
    model = train(recipe, tmp_path / "run")
    assert Separator(model)(tone(0.5), 16000).shape == (2, 8000)
    done = run_here("export", tmp_path / "run", "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    front_end = json.loads((tmp_path / "again" / "model.json").read_text())["network"]["front_end"]
    assert front_end == {"kind": "band_split", "window": 512, "hop": 256, "bands": 8, "narrowest": 4}


@pytest.mark.slow
@pytest.mark.parametrize("design", [MixedDesign(1, 1), SisoOnlyDesign(1, 1)])
def test_a_tiny_network_overfits_one_mixture(design):
    """Two noises that share all bins of the lowest band, one steady and one in bursts."""
    torch.manual_seed(0)
    sources = 0.1 * torch.randn(1, 2, 1600)
    sources[:, 1] *= (torch.arange(1600) // 200 % 2).float()
    network = SeparationNetwork(dataclasses.replace(small_config(design), channels=24, block=DualPathConfig(24)))
    loss = loss_after(network, sources, steps=100, learning_rate=1e-2)
    assert loss < -10, f"SNR after 100 steps: {-loss:.1f} dB"
