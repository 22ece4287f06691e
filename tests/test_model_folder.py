"""Model folders: export, checks, and what is told of a damaged one."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import exported, tiny_recipe
from safetensors.torch import load_file

from unbabble.base.config import parse_settings
from unbabble.errors import ModelError
from unbabble.inference.engine import Engine
from unbabble.inference.model_folder import open_model
from unbabble.networks.blocks.attention import AttentionConfig
from unbabble.networks.blocks.conv import ConvConfig
from unbabble.networks.blocks.dual_path import DualPathConfig
from unbabble.networks.config import MixedDesign, MultiScaleDesign, NetworkConfig, ScaleConfig, SisoOnlyDesign
from unbabble.networks.front_ends.tasnet import TasNetConfig
from unbabble.networks.network import SeparationNetwork
from unbabble.training import export
from unbabble.training.export import export_model, read_weights_of_model

SCALES = MultiScaleDesign(
    (
        ScaleConfig((ConvConfig(),), (ConvConfig(),)),
        ScaleConfig((DualPathConfig(4), AttentionConfig(heads=2, hidden=8)), (DualPathConfig(4),)),
    )
)
MIXED = [MixedDesign(1, 1), MixedDesign(2, 0), MixedDesign(0, 1)]


@pytest.mark.parametrize("design", [*MIXED, SCALES, SisoOnlyDesign(1, 1), SisoOnlyDesign(1, 1, "estimate")])
def test_every_design_runs_the_same_in_both_engines_on_any_batch_and_length(tmp_path, design):
    engine = Engine(open_model(exported(tmp_path / "model", design)))
    torch.manual_seed(0)
    network = SeparationNetwork(tiny_recipe(design).network).eval()
    for shape in [(1, 1), (1, 63), (3, 5000), (2, 16001)]:
        mixture = torch.randn(shape)
        with torch.no_grad():
            expected = network(mixture).numpy()
        np.testing.assert_allclose(engine(mixture.numpy()), expected, atol=1e-4 * np.abs(expected).max())


def test_chunks_that_do_not_overlap_and_magnitudes_are_exported_too(tmp_path):
    recipe = tiny_recipe()
    front_end = TasNetConfig(filters=32, window=64, hop=32, chunk=20, chunk_hop=20, start="fourier", magnitudes=True)
    network = SeparationNetwork(
        NetworkConfig(design=MixedDesign(1, 1), front_end=front_end, block=recipe.network.block)
    )
    assert export_model(network, recipe, tmp_path / "model").is_dir()


def test_graphs_have_batch_and_time_as_free_axes(tiny_model):
    session = onnxruntime.InferenceSession(tiny_model / "separator.onnx")
    assert session.get_inputs()[0].shape == ["batch", "samples"]
    assert session.get_outputs()[0].shape[0] == "batch"


def test_a_network_that_gives_silence_is_exported(tmp_path):
    """What one that has learned that nobody talks makes of noise."""
    recipe = tiny_recipe()
    network = SeparationNetwork(recipe.network)
    with torch.no_grad():
        for weight in network.front_end.decoder.parameters():
            weight.zero_()
    engine = Engine(open_model(export_model(network, recipe, tmp_path / "model")))
    assert not engine(np.ones((1, 800), np.float32)).any()


def test_an_export_whose_engines_differ_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(ModelError, match="export refused"):
        exported(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_enough_to_go_on_training(tiny_model):
    card = json.loads((tiny_model / "model.json").read_text())
    network = SeparationNetwork(parse_settings(NetworkConfig, card["network"], "model.json"))
    network.load_state_dict(load_file(tiny_model / "weights.safetensors"))


@pytest.mark.parametrize("design", [SCALES, SisoOnlyDesign(1, 1)])
def test_weights_of_half_precision_take_half_the_place_and_are_those_that_run(tmp_path, design):
    recipe, sizes = tiny_recipe(design), {}
    recipe = replace(recipe, network=replace(recipe.network, channels=32, block=DualPathConfig(32)))
    for weights in ("single", "half"):
        torch.manual_seed(0)
        network = SeparationNetwork(recipe.network)
        halved = replace(recipe, model=replace(recipe.model, weights=weights))
        folder = export_model(network, halved, tmp_path / weights)
        sizes[weights] = {path.name: path.stat().st_size for path in folder.iterdir() if path.name != "model.json"}
    assert all(sizes["half"][name] < 0.7 * sizes["single"][name] for name in sizes["half"])
    stored = read_weights_of_model(open_model(folder), recipe.network)
    assert {one.dtype for one in stored.values()} == {torch.float32}
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(stored[name], weight, rtol=0, atol=0)
    torch.manual_seed(0)
    original = SeparationNetwork(recipe.network)
    changes = [
        (one - other).abs().max() for one, other in zip(original.parameters(), network.parameters(), strict=True)
    ]
    assert 0 < max(changes) < 1e-3
    mixture = torch.randn(2, 5000)
    with torch.no_grad():
        expected = network(mixture).numpy()
    np.testing.assert_allclose(
        Engine(open_model(folder))(mixture.numpy()), expected, atol=1e-4 * np.abs(expected).max()
    )


@pytest.fixture
def copy(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "copy")


def test_a_wrong_checksum_is_told(copy):
    graph = copy / "separator.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match=r"separator\.onnx: checksum differs"):
        open_model(copy)


def test_a_missing_graph_is_told(copy):
    (copy / "separator.onnx").unlink()
    with pytest.raises(ModelError, match=r"separator\.onnx: missing"):
        open_model(copy)


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("{", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ('{"format":' * 100_000, "not readable as JSON"),
        ("\xff", "not readable as JSON"),
        ("[]", "not a card of a model"),
        ('{"format": 99}', "not a model of format 1"),
        ('{"format": 1}', "has no trained_sources; expected a whole number from 1 to 8"),
    ],
)
def test_a_damaged_card_is_told(copy, card, told):
    (copy / "model.json").write_text(card, encoding="latin-1")
    with pytest.raises(ModelError, match=told):
        open_model(copy)


NUMBERS = ("sample_rate", "trained_sources", "window_s", "overlap_s")
NO_NUMBERS = (None, "16000", [], {}, True, math.nan, math.inf, -math.inf, -1, 0, 1e300, 10**400)


@pytest.mark.parametrize(
    "change",
    [
        *({key: value} for key in NUMBERS for value in NO_NUMBERS),
        *({"sample_rate": value} for value in (1, 7999, 16000.0, 10**9)),
        *({"trained_sources": value} for value in (9, 2.0)),
        *({"n_sources": value} for value in (None, 3, "some", [2])),
        *({key: value} for key in ("name", "version") for value in (None, 1, "two\nlines", "\x1b[2J")),
        *({"checksums": value} for value in (None, [], {"separator.onnx": 1}, "sums")),
        {"overlap_s": 1.0, "window_s": 1e6},
        {"overlap_s": 1.5},  # of a window of 2 s
    ],
    ids=repr,
)
def test_a_card_that_makes_no_sense_is_told(copy, change):
    card = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(card | change))
    wrong = [*change][-1]
    with pytest.raises(ModelError, match=rf"model\.json: {wrong} is .*; expected .*; export the model again$"):
        open_model(copy)


def test_exporting_leaves_other_files_alone(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("mine")
    exported(tmp_path / "model")
    assert (tmp_path / "model" / "thesis.txt").read_text() == "mine"
    assert open_model(tmp_path / "model").name == "tiny"


def test_the_bundled_model_is_small_enough_to_be_installed():
    folder = open_model("default").path
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6


def test_an_unknown_name_lists_the_models_there_are(tmp_path):
    with pytest.raises(ModelError, match=r"nonesuch: no such model; .* default"):
        open_model("nonesuch")
    with pytest.raises(ModelError, match=r"it has no model\.json"):
        open_model(tmp_path)
