"""The paper's designs: sizes, what is shared, and the SIMO-only network against a second writing of it."""

import re

import pytest
import torch
from conftest import loss_after
from torch.nn import functional as F

from unbabble.base.config import dump_settings, parse_settings
from unbabble.errors import RecipeError
from unbabble.networks.blocks.attention import AttentionConfig
from unbabble.networks.blocks.attention.block import rotated
from unbabble.networks.blocks.conv import ConvConfig
from unbabble.networks.blocks.dual_path import DualPathConfig
from unbabble.networks.blocks.dual_path.block import DualPathBlock
from unbabble.networks.config import MixedDesign, MultiScaleDesign, NetworkConfig, ScaleConfig, SisoOnlyDesign
from unbabble.networks.designs import Mixed, MultiScale, SisoOnly
from unbabble.networks.front_ends.tasnet import TasNetConfig
from unbabble.networks.network import SeparationNetwork

SMALL = {
    "front_end": TasNetConfig(filters=16, window=8, hop=4, chunk=6, chunk_hop=3),
    "channels": 16,
    "block": DualPathConfig(8),
}


def small_network(design, n_sources: int = 2) -> SeparationNetwork:
    torch.manual_seed(1)
    return SeparationNetwork(NetworkConfig(design=design, n_sources=n_sources, **SMALL)).eval()


@pytest.mark.parametrize("simo_blocks", range(7))
def test_every_split_of_the_paper_has_its_size(simo_blocks):
    network = SeparationNetwork(NetworkConfig(design=MixedDesign(simo_blocks, 6 - simo_blocks)))
    assert network.n_parameters == pytest.approx(2.6e6, rel=0.02)


@pytest.mark.parametrize("encoder_blocks", [2, 3, 4])
def test_siso_only_has_the_size_of_the_others(encoder_blocks):
    network = SeparationNetwork(NetworkConfig(design=SisoOnlyDesign(encoder_blocks, 6 - encoder_blocks)))
    assert network.n_parameters == pytest.approx(2.6e6, rel=0.02)


def test_simo_only_equals_a_second_writing_of_it():
    """Figure 1 (A), written again with loops and other operations, on the same weights."""
    network = small_network(MixedDesign(2, 0))
    weights = network.state_dict()
    mixture = torch.randn(2, 101)
    with torch.no_grad():
        assert torch.allclose(network(mixture), reference_simo_only(weights, mixture), atol=1e-5)


def reference_simo_only(w, mixture, window=8, hop=4, chunk=6, step=3, blocks=2, sources=2):
    def norm(x, name):  # x: (batch, channels, ...)
        flat = F.group_norm(x, 1, eps=1e-8)
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return flat * w[name + ".gain"].view(shape) + w[name + ".bias"].view(shape)

    def lstm(x, name):  # x: (steps, channels), both directions by hand
        out = []
        for suffix, order in (("", range(len(x))), ("_reverse", reversed(range(len(x))))):
            h = c = torch.zeros(w[name + ".weight_hh_l0"].shape[1])
            states = {}
            for t in order:
                gates = (
                    w[name + f".weight_ih_l0{suffix}"] @ x[t]
                    + w[name + f".bias_ih_l0{suffix}"]
                    + w[name + f".weight_hh_l0{suffix}"] @ h
                    + w[name + f".bias_hh_l0{suffix}"]
                )
                i, f, g, o = gates.chunk(4)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                states[t] = h = o.sigmoid() * c.tanh()
            out.append(torch.stack([states[t] for t in range(len(x))]))
        return torch.cat(out, dim=1)

    pad = -mixture.shape[1] % hop
    padded = F.pad(mixture, (window - hop, window - hop + pad))
    encoded = F.conv1d(padded[:, None], w["front_end.encoder.weight"], stride=hop)  # (B, N, T)
    features = F.conv1d(norm(encoded, "front_end.norm"), w["front_end.bottleneck.weight"][..., None])
    features = features + w["front_end.bottleneck.bias"][None, :, None]
    frames = features.shape[2]
    features = F.pad(features, (chunk - step, chunk - step + -frames % step))
    grid = features.unfold(2, chunk, step)  # (B, N, S, K)
    for block in range(blocks):
        for path, axis in (("intra", 3), ("inter", 2)):
            name = f"design.simo.{block}.{path}"
            lines = grid.movedim(axis, 3)
            done = torch.zeros_like(lines)
            for b in range(lines.shape[0]):
                for row in range(lines.shape[2]):
                    passed = lstm(lines[b, :, row].T, name + ".rnn")
                    done[b, :, row] = (passed @ w[name + ".projection.weight"].T + w[name + ".projection.bias"]).T
            grid = grid + norm(done.movedim(3, axis), name + "_norm")
    heads = torch.einsum("mn,bnsk->bmsk", w["design.heads.weight"], grid)
    heads = heads + w["design.heads.bias"][None, :, None, None]
    estimates = []
    for head in heads.chunk(sources, dim=1):
        added = torch.zeros(head.shape[0], head.shape[1], (head.shape[2] - 1) * step + chunk)
        for s in range(head.shape[2]):
            added[:, :, s * step : s * step + chunk] += head[:, :, s]
        added = added[:, :, chunk - step : chunk - step + frames]
        mask = torch.einsum("mn,bnt->bmt", w["front_end.mask_head.weight"], added)
        mask = (mask + w["front_end.mask_head.bias"][None, :, None]).clamp(min=0)
        decoded = F.conv_transpose1d(mask * encoded, w["front_end.decoder.weight"], stride=hop)[:, 0]
        estimates.append(decoded[:, window - hop : window - hop + mixture.shape[1]])
    return torch.stack(estimates, dim=1)


@pytest.mark.parametrize("siso_blocks", [0, 2])
def test_permuting_the_features_permutes_the_outputs(siso_blocks):
    design = small_network(MixedDesign(1, siso_blocks), n_sources=3).design
    mixture, features = torch.randn(2, 5, 6, 16), torch.randn(2, 3, 5, 6, 16)
    order = [2, 0, 1]
    with torch.no_grad():
        assert torch.allclose(design.refine(features, mixture)[:, order], design.refine(features[:, order], mixture))


def test_siso_module_sees_the_mixture_too():
    design = small_network(MixedDesign(0, 1)).design
    features = torch.randn(1, 2, 5, 6, 16)
    with torch.no_grad():
        one, other = (design.refine(features, torch.randn(1, 5, 6, 16)) for _ in range(2))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("n_sources", [1, 2, 5])
@pytest.mark.parametrize("design", [MixedDesign(1, 1), MixedDesign(0, 1), MixedDesign(2, 0), SisoOnlyDesign(1, 1)])
def test_any_number_of_sources(design, n_sources):
    network = small_network(design, n_sources)
    assert network(torch.randn(3, 50)).shape == (3, n_sources, 50)


def test_siso_weights_do_not_grow_with_the_sources():
    def size(n_sources):
        return sum(p.numel() for p in small_network(MixedDesign(1, 2), n_sources).design.siso.parameters())

    assert size(2) == size(5)
    assert small_network(SisoOnlyDesign(1, 2), 2).n_parameters == small_network(SisoOnlyDesign(1, 2), 5).n_parameters


def test_siso_only_decoder_runs_for_more_or_fewer_steps_than_trained():
    network = small_network(SisoOnlyDesign(1, 1), n_sources=2)
    mixture = torch.randn(2, 64)
    with torch.no_grad():
        one, two, four = (network(mixture, steps) for steps in (1, 2, 4))
    assert four.shape == (2, 4, 64)
    assert torch.allclose(four[:, :2], two, atol=1e-6)
    assert torch.allclose(two[:, :1], one, atol=1e-6)
    assert not torch.allclose(two[:, 0], two[:, 1])


def test_mixed_network_refuses_another_number_of_sources():
    with pytest.raises(ValueError, match="2 heads"):
        small_network(MixedDesign(1, 1))(torch.randn(1, 50), 3)


def test_network_scales_with_its_input_and_keeps_silence():
    network = small_network(MixedDesign(1, 1))
    mixture = torch.randn(1, 80)
    with torch.no_grad():
        for gain in (10, 1e-4):
            assert torch.allclose(network(gain * mixture), gain * network(mixture), rtol=1e-3, atol=1e-5 * gain)
        assert torch.equal(network(torch.zeros(1, 80)), torch.zeros(1, 2, 80))


@pytest.mark.parametrize("chunk_hop", [2, 3, 6])
def test_chunking_and_overlap_add_give_the_frames_back(chunk_hop):
    config = TasNetConfig(filters=4, window=8, hop=4, chunk=6, chunk_hop=chunk_hop)
    network = SeparationNetwork(NetworkConfig(front_end=config, channels=4, block=DualPathConfig(4)))
    front_end = network.front_end
    frames = torch.randn(2, 17, 4)
    with torch.no_grad():
        expected = front_end.bottleneck(front_end.norm(frames)) * (6 // chunk_hop)
        assert torch.allclose(front_end._overlap_add(front_end.grid(frames))[:, :17], expected, atol=1e-5)


def test_fourier_filters_reconstruct_what_they_analyse():
    config = TasNetConfig(filters=48, window=48, hop=16, start="fourier")
    front_end = SeparationNetwork(NetworkConfig(front_end=config)).front_end
    wave = torch.randn(1, 200)
    with torch.no_grad():
        back = front_end.decoder(front_end.encode(wave).transpose(1, 2))[0, :, 32:232]
    gain = (back * wave).sum() / wave.square().sum()
    assert torch.allclose(back, gain * wave, atol=1e-4)


def test_designs_look_inside_no_block():
    """Any module that keeps the shape will do as a block."""
    grid = torch.randn(2, 4, 5, 8)
    block = [torch.nn.Identity()]
    assert Mixed(block, block, 8, 3)(grid).shape == (2, 3, 4, 5, 8)
    assert MultiScale([block] * 3, [block] * 3, 8, 3)(grid).shape == (2, 3, 4, 5, 8)
    assert SisoOnly(block, block, 8)(grid, 3, torch.nn.Identity()).shape == (2, 3, 4, 5, 8)
    assert DualPathBlock(8, 4)(grid).shape == grid.shape


def test_the_previous_estimate_enters_as_the_decoders_grid_or_as_what_it_masks():
    """The first step is the same; the second is given silence alike where the mask of the first is shut."""
    by_grid, by_estimate = (small_network(SisoOnlyDesign(1, 1, feedback)) for feedback in ("grid", "estimate"))
    mixture = torch.randn(1, 300)
    with torch.no_grad():
        one, other = by_grid(mixture), by_estimate(mixture)
        assert torch.equal(one[:, 0], other[:, 0])
        assert not torch.allclose(one[:, 1], other[:, 1])
        by_estimate.front_end.mask_head.weight.zero_()
        by_estimate.front_end.mask_head.bias.fill_(-1.0)
        frames = by_estimate.front_end.encode(mixture)
        silence = by_estimate.feed_back(frames)(torch.randn_like(by_estimate.front_end.grid(frames)))
        assert torch.allclose(silence, by_estimate.front_end.grid(torch.zeros_like(frames)), atol=1e-6)


def test_rotation_tells_attention_how_far_apart_rows_are_and_nothing_else():
    query, key = torch.randn(2, 8)
    queries, keys = rotated(query.expand(9, 8)), rotated(key.expand(9, 8))
    products = queries @ keys.T
    for apart in range(9):
        assert torch.allclose(products.diagonal(apart), products[0, apart], atol=1e-5)
    assert torch.allclose(queries.norm(dim=1), query.norm(), atol=1e-5)


SCALES = MultiScaleDesign(
    (
        ScaleConfig((ConvConfig(),), (ConvConfig(),)),
        ScaleConfig((DualPathConfig(8),), ()),
        ScaleConfig((AttentionConfig(heads=2, hidden=16),), (DualPathConfig(8),)),
    )
)


@pytest.mark.parametrize("length", [1, 7, 64, 333])
def test_scales_are_joined_whatever_the_length(length):
    network = small_network(SCALES, n_sources=3)
    with torch.no_grad():
        assert network(torch.randn(2, length)).shape == (2, 3, length)


def test_every_scale_sees_the_mixture_and_every_source_the_same_weights():
    design = small_network(SCALES, n_sources=3).design
    scales, features = design.encode(torch.randn(2, 8, 6, 16)), torch.randn(2, 3, 2, 6, 16)
    assert [one.shape[1] for one in scales] == [8, 4, 2]
    with torch.no_grad():
        refined = design.refine(features, scales)
        assert torch.allclose(refined[:, [2, 0, 1]], design.refine(features[:, [2, 0, 1]], scales), atol=1e-6)
        for scale in range(3):
            others = [one + (place == scale) for place, one in enumerate(scales)]
            assert not torch.allclose(refined, design.refine(features, others), atol=1e-3)


OLD_NAMES = [("bottleneck", "enter"), ("mask_head", "leave"), ("projection", "back"), ("fuse", "join")]


def test_weights_of_before_the_new_names_are_still_read():
    network = small_network(MixedDesign(1, 1))
    old = {}
    for name, weight in network.state_dict().items():
        for new_part, old_part in [
            ("bottleneck", "enter"),
            ("mask_head", "leave"),
            ("projection", "back"),
            ("fuse", "join"),
        ]:
            name = name.replace(new_part, old_part)
        old[name] = weight + 1
    assert old.keys() != network.state_dict().keys()
    network.load_state_dict(old)
    for name, weight in zip(old, network.state_dict().values(), strict=True):
        assert torch.equal(weight, old[name])


def test_descriptions_of_before_there_were_kinds_are_still_read():
    old = {"design": {"encoder_blocks": 1, "decoder_blocks": 2}, "block": {"channels": 8, "hidden": 9}}
    config = parse_settings(NetworkConfig, old, "card")
    assert (config.design, config.channels, config.block) == (SisoOnlyDesign(1, 2), 8, DualPathConfig(9))
    assert parse_settings(NetworkConfig, dump_settings(config), "card") == config


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"block": "conv1"}, "block: there is no kind 'conv1'; expected 'dual_path', 'conv', 'attention'"),
        (
            {"design": {"kind": "serial"}},
            "design: there is no kind 'serial'; expected 'mixed', 'siso_only', 'multi_scale'",
        ),
        ({"design": {"scales": [{"simo": ["rnn"]}]}}, "there is no kind 'rnn'"),
        ({"design": {"scales": []}}, "scales"),
    ],
)
def test_an_unknown_kind_is_refused_with_those_that_exist(change, told):
    with pytest.raises(RecipeError, match=re.escape(told)):
        parse_settings(NetworkConfig, change, "recipe.yaml")


@pytest.mark.slow
@pytest.mark.parametrize(
    "design", [SCALES, MixedDesign(2, 0), MixedDesign(1, 1), MixedDesign(0, 2), SisoOnlyDesign(1, 1)]
)
def test_a_tiny_network_overfits_one_mixture(design):
    torch.manual_seed(0)
    time = torch.arange(400) / 800
    sources = torch.stack([torch.sin(2 * torch.pi * 40 * time), torch.sin(2 * torch.pi * 170 * time)])[None] * 0.3
    front_end = TasNetConfig(filters=32, window=32, hop=16, chunk=6, chunk_hop=3)
    network = SeparationNetwork(
        NetworkConfig(design=design, front_end=front_end, channels=16, block=DualPathConfig(16))
    )
    loss = loss_after(network, sources, steps=150, learning_rate=5e-3)
    assert loss < -12, f"SNR after 150 steps: {-loss:.1f} dB"
