"""Models in 8 bits: near the original, and a model folder like any other."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import run_here
from safetensors.torch import load_file

from unbabble import Separator
from unbabble.errors import ModelError
from unbabble.inference.engine import Engine
from unbabble.inference.model_folder import open_model
from unbabble.training.quantize import quantize_model


@pytest.fixture(params=["tiny_model", "tiny_siso_only_model"])
def original(request):
    return request.getfixturevalue(request.param)


def test_every_lstm_counts_in_8_bits_and_estimates_stay_near(original, tmp_path):
    quantized = open_model(quantize_model(original, tmp_path / "small"))
    for path in quantized.graphs.values():
        operators = {node.op_type for node in onnx.load(path).graph.node}
        assert "DynamicQuantizeLSTM" in operators
        assert "LSTM" not in operators
    mixtures = np.random.default_rng(0).standard_normal((2, 16000)).astype(np.float32)
    expected, estimates = Engine(open_model(original))(mixtures), Engine(quantized)(mixtures)
    error_db = 10 * np.log10(np.sum((estimates - expected) ** 2) / np.sum(expected**2))
    assert -100 < error_db < -25


def test_silence_stays_silence(original, tmp_path):
    engine = Engine(open_model(quantize_model(original, tmp_path / "small")))
    assert not engine(np.zeros((1, 16000), np.float32)).any()


def test_its_card_says_so_and_its_weights_are_the_original(original, tmp_path):
    folder = quantize_model(original, tmp_path / "small")
    assert json.loads((folder / "model.json").read_text())["quantized"] == "LSTM, 8 bits"
    weights, expected = (load_file(path / "weights.safetensors") for path in (folder, original))
    assert all((weights[name] == expected[name]).all() for name in expected)


def test_the_bundled_model_is_half_the_size_and_as_good_to_a_hundredth(tmp_path):
    import soundfile
    from conftest import REPO

    mixture, _ = soundfile.read(REPO / "examples" / "two-talkers.flac", dtype="float32")
    folder = quantize_model("default", tmp_path / "small")
    original = open_model("default")
    sizes = [(path / "separator.onnx").stat().st_size for path in (folder, original.path)]
    assert sizes[0] < 0.6 * sizes[1]
    expected, estimates = (Engine(open_model(path))(mixture[np.newaxis]) for path in (original.path, folder))
    assert np.sum((estimates - expected) ** 2) < 1e-3 * np.sum(expected**2)


def test_the_command_writes_a_model_that_separates(tiny_model, tmp_path):
    done = run_here("quantize", tiny_model, "--out", tmp_path / "small")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / "small"
    assert Separator(tmp_path / "small")(np.zeros(16000), 16000).shape == (2, 16000)


def test_a_damaged_model_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ModelError, match=r"it has no model\.json"):
        quantize_model(tmp_path, tmp_path / "small")
    assert not (tmp_path / "small").exists()
