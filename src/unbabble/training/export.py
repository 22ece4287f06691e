"""A trained network as a model folder."""

import datetime
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unbabble.base.config import dump_settings, parse_settings
from unbabble.base.output import whole_folder, writing
from unbabble.errors import ModelError
from unbabble.inference.engine import Engine
from unbabble.inference.model_folder import (
    CARD,
    DECODER,
    ENCODER,
    FORMAT,
    SEPARATOR,
    WEIGHTS,
    ModelFolder,
    check_file,
    checksum,
    open_model,
)
from unbabble.networks.designs import SisoOnly
from unbabble.networks.network import NetworkConfig, SeparationNetwork
from unbabble.training.config import AnyRecipe, TrainingRecipe

OPSET = 17
TOLERANCE = 1e-4  # of the largest value, between PyTorch and ONNX Runtime
CHECKED_LENGTHS_S = (0.05, 1.0, 2.71)

Axes = dict[str, dict[int, str]]


class LatentEncoder(nn.Module):
    """The first half of a SISO-only network: mixture (batch, samples) -> latent grid H."""

    def __init__(self, network: SeparationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, mixture: Tensor) -> Tensor:
        front_end, design = self.network.front_end, self.network.design
        assert isinstance(design, SisoOnly)
        return design.encode(front_end.grid(front_end.encode(mixture)))


class DecoderStep(nn.Module):
    """The second half: mixture, H and the previous grid -> estimate (batch, samples), the grid for the next step."""

    def __init__(self, network: SeparationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, mixture: Tensor, latent: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        front_end, design = self.network.front_end, self.network.design
        assert isinstance(design, SisoOnly)
        frames = front_end.encode(mixture)
        grid = design.step(latent, front_end.grid(frames), previous)
        masked = front_end.mask(grid.unsqueeze(1), frames)
        return front_end.decode(masked, mixture.shape[-1])[:, 0], self.network.feed_back(frames)(grid)


def export_model(
    network: SeparationNetwork, recipe: TrainingRecipe, folder: Path, facts: dict[str, Any] | None = None
) -> Path:
    """Write a model folder, whole or not at all; the files of an older model there are replaced.

    facts: further entries for the card's ``training`` part. Raises ModelError where PyTorch and ONNX
    Runtime disagree by more than 1e-4 of the mixture's peak on random signals of three lengths, and
    OutputError.
    """
    network = network.eval()
    with whole_folder(folder) as beside, writing(folder):
        graphs = _export_graphs(network, beside)
        (beside / WEIGHTS).write_bytes(save(network.state_dict()))
        card = _card(network, recipe, facts or {})
        card["checksums"] = {name: checksum(beside / name) for name in (*graphs, WEIGHTS)}
        (beside / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        check_engines_agree(network, beside)
    return folder


def read_weights_of_model(model: ModelFolder, network: NetworkConfig) -> dict[str, Tensor]:
    """The state of a model's network, to go on training it.

    Raises ModelError where the file is missing or damaged, or the model's network another than ``network``.
    """
    if parse_settings(NetworkConfig, model.card["network"], str(model.path / CARD)) != network:
        raise ModelError(
            f"{model.path}: has another network than the recipe; copy the card's into the recipe, or begin anew with "
            "training.start=null"
        )
    path = model.path / WEIGHTS
    check_file(path, model.card["checksums"])
    return load_file(path)


def check_engines_agree(network: SeparationNetwork, folder: Path) -> None:
    """Compare PyTorch with ONNX Runtime on random signals of three lengths; ModelError if they differ."""
    engine = Engine(open_model(folder))
    rng = np.random.default_rng(0)
    for batch, length_s in enumerate(CHECKED_LENGTHS_S, start=1):
        mixture = np.stack([buzz(length_s, network.config.sample_rate, rng) for _ in range(batch)])
        with torch.inference_mode():
            expected = network(torch.from_numpy(mixture)).numpy()
        refuse_difference(engine(mixture), expected, float(np.abs(mixture).max()), length_s)


def buzz(seconds: float, sample_rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Pulses at the pitches of two voices, and noise: of noise alone, a network may have learned to make silence."""
    phases = np.outer(rng.uniform(90, 250, 2), np.arange(int(seconds * sample_rate)) / sample_rate)
    pulses = (phases % 1 < 0.1).sum(0)
    return np.asarray(pulses + 0.1 * rng.standard_normal(len(pulses)), np.float32)


def refuse_difference(
    given: NDArray[np.float32], expected: NDArray[np.float32], peak: float, length_s: float
) -> None:
    """Raise ModelError where ONNX Runtime and PyTorch differ by more than TOLERANCE of ``peak``."""
    difference = float(np.abs(given - expected).max()) / peak
    if not difference <= TOLERANCE:
        raise ModelError(
            f"export refused: ONNX Runtime differs from PyTorch by {difference:.1e} of the peak on "
            f"{length_s} s of random signals; at most {TOLERANCE:.0e} is allowed"
        )


def _export_graphs(network: SeparationNetwork, folder: Path) -> tuple[str, ...]:
    mixture = torch.randn(1, network.config.sample_rate)
    time: dict[int, str] = {0: "batch", 1: "samples"}
    if not isinstance(network.design, SisoOnly):
        axes: Axes = {"mixture": time, "estimates": {0: "batch", 2: "samples"}}
        export_graph(network, (mixture,), folder / SEPARATOR, axes, outputs=("estimates",))
        return (SEPARATOR,)
    grid = {0: "batch", 1: "rows"}
    with torch.inference_mode():
        latent = LatentEncoder(network)(mixture)
    export_graph(LatentEncoder(network), (mixture,), folder / ENCODER, {"mixture": time, "latent": grid}, ("latent",))
    axes = {"mixture": time, "latent": grid, "previous": grid, "estimate": time, "grid": grid}
    inputs = (mixture, latent.clone(), torch.zeros_like(latent))
    export_graph(DecoderStep(network), inputs, folder / DECODER, axes, outputs=("estimate", "grid"))
    return (ENCODER, DECODER)


def export_graph(
    module: nn.Module, inputs: tuple[Tensor, ...], path: Path, axes: Axes, outputs: tuple[str, ...]
) -> None:
    """Write a network as an ONNX graph; axes: the free ones of its inputs and outputs, by name."""
    # The tracing exporter: the newer one (torch.export) fails on LSTMs over a grid of free size.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            inputs,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[name for name in axes if name not in outputs],
            output_names=list(outputs),
            dynamic_axes=axes,
        )


def _card(network: SeparationNetwork, recipe: TrainingRecipe, facts: dict[str, Any]) -> dict[str, Any]:
    plain = dump_settings(recipe)
    return {
        "format": FORMAT,
        "name": recipe.model.name,
        "version": recipe.model.version,
        "licence": recipe.model.licence,
        "sample_rate": recipe.network.sample_rate,
        "n_sources": "any" if isinstance(network.design, SisoOnly) else recipe.network.n_sources,
        "trained_sources": recipe.network.n_sources,
        "window_s": recipe.model.window_s,
        "overlap_s": recipe.model.overlap_s,
        "design": plain["network"]["design"],
        "n_parameters": network.n_parameters,
        "network": plain["network"],
        "training": training_facts(recipe, facts),
        "limits": recipe.model.limits,
        "scores": {},
    }


def training_facts(recipe: AnyRecipe, facts: dict[str, Any]) -> dict[str, Any]:
    """What a card says of the training."""
    plain = dump_settings(recipe)
    return {
        "date": datetime.date.today().isoformat(),
        "data": recipe.data.description,
        "data_licence": recipe.data.licence,
        **facts,
        "mixtures": plain["mixtures"],
        "settings": plain["training"],
    }
