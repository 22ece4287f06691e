"""A trained network as a model folder."""

import datetime
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
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
from unbabble.inference.engine import Diarizer as DiarizerInUse
from unbabble.inference.engine import Engine
from unbabble.inference.model_folder import (
    CARD,
    DECODER,
    DIARIZER_GRAPH,
    ENCODER,
    FORMAT,
    SEPARATOR,
    WEIGHTS,
    DiarizerFolder,
    ModelFolder,
    check_file,
    checksum,
    open_diarizer,
    open_model,
)
from unbabble.networks.designs import SisoOnly
from unbabble.networks.diarizer import Diarizer
from unbabble.networks.network import SeparationNetwork
from unbabble.training.config import ModelConfig, Recipe

OPSET = 17
TOLERANCE = 1e-4  # of the largest value, between PyTorch and ONNX Runtime
CHECKED_LENGTHS_S = (0.05, 1.0, 2.71)

Axes = dict[str, dict[int, str]]
Samples = NDArray[np.float32]


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
    network: nn.Module,
    recipe: Recipe,
    folder: Path,
    facts: dict[str, Any] | None = None,
    scores: dict[str, Any] | None = None,
) -> Path:
    """Write a model folder, whole or not at all; the files of an older model there are replaced.

    Parameters
    ----------
    network
        What the recipe describes, trained.
    recipe
        Of any kind.
    folder
        The model folder.
    facts
        Further entries for the card's ``training`` part.
    scores
        On the validation mixtures, for the card.

    Raises
    ------
    ModelError
        Where PyTorch and ONNX Runtime differ by more than 1e-4 of the largest value, on signals of three lengths.
    OutputError
    """
    network, kind = network.eval(), KINDS[recipe.kind]
    with whole_folder(folder) as beside, writing(folder):
        graphs = kind.graphs(network, beside)
        (beside / WEIGHTS).write_bytes(save(network.state_dict()))
        card = _card(network, recipe, kind, facts or {}, scores or {})
        card["checksums"] = {name: checksum(beside / name) for name in (*graphs, WEIGHTS)}
        (beside / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        check_engines_agree(network, recipe, beside)
    return folder


def open_start(recipe: Recipe) -> ModelFolder | DiarizerFolder:
    """The model that a recipe starts from. Raises ModelError where there is none of its kind."""
    assert recipe.training.start is not None
    return KINDS[recipe.kind].open(recipe.training.start)


def read_weights_of_model(model: ModelFolder | DiarizerFolder, network: Any) -> dict[str, Tensor]:
    """The state of a model's network, to go on training it.

    network: the recipe's. Raises ModelError where the file is missing or damaged, or the model's network another.
    """
    if parse_settings(type(network), model.card.get("network"), str(model.path)) != network:
        raise ModelError(
            f"{model.path}: has another network than the recipe; copy the card's into the recipe, or begin anew with "
            "training.start=null"
        )
    path = model.path / WEIGHTS
    check_file(path, model.card["checksums"])
    return load_file(path)


def check_engines_agree(network: nn.Module, recipe: Recipe, folder: Path) -> None:
    """Compare PyTorch with ONNX Runtime on random signals of three lengths; ModelError if they differ."""
    in_use, rng = KINDS[recipe.kind].in_use(folder), np.random.default_rng(0)
    for batch, length_s in enumerate(CHECKED_LENGTHS_S, start=1):
        mixture = np.stack([buzz(length_s, recipe.network.sample_rate, rng) for _ in range(batch)])
        with torch.inference_mode():
            expected = network(torch.from_numpy(mixture))
        for given, wanted in zip(in_use(mixture), _as_tuple(expected), strict=True):
            peak = max(float(np.abs(mixture).max()), float(wanted.abs().max()))
            refuse_difference(given, wanted.numpy(), peak, length_s)


def buzz(seconds: float, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Pulses at the pitches of two voices, and noise: of noise alone, a network may have learned to make silence."""
    phases = np.outer(rng.uniform(90, 250, 2), np.arange(int(seconds * sample_rate)) / sample_rate)
    pulses = (phases % 1 < 0.1).sum(0)
    return np.asarray(pulses + 0.1 * rng.standard_normal(len(pulses)), np.float32)


def refuse_difference(given: Samples, expected: Samples, peak: float, length_s: float) -> None:
    """Raise ModelError where ONNX Runtime and PyTorch differ by more than TOLERANCE of ``peak``."""
    difference = float(np.abs(given - expected).max()) / peak
    if not difference <= TOLERANCE:
        raise ModelError(
            f"export refused: ONNX Runtime differs from PyTorch by {difference:.1e} of the peak on "
            f"{length_s} s of random signals; at most {TOLERANCE:.0e} is allowed"
        )


def separation_graphs(network: SeparationNetwork, folder: Path) -> tuple[str, ...]:
    """Export a separator: one graph, or two of a SISO-only design. Returns their names."""
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


def diarization_graphs(network: Diarizer, folder: Path) -> tuple[str, ...]:
    """Export a diarizer. Returns the name of its graph."""
    frames = {0: "rows", 1: "frames"}
    axes: Axes = {"signals": {0: "rows", 1: "samples"}, "counts": frames, "embeddings": frames}
    signals = torch.randn(1, network.config.sample_rate)
    export_graph(network, (signals,), folder / DIARIZER_GRAPH, axes, outputs=("counts", "embeddings"))
    return (DIARIZER_GRAPH,)


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


def _card(
    network: nn.Module, recipe: Recipe, kind: "Kind", facts: dict[str, Any], scores: dict[str, Any]
) -> dict[str, Any]:
    plain = dump_settings(recipe)
    return {
        "format": FORMAT,
        "kind": recipe.kind,
        "name": recipe.model.name,
        "version": recipe.model.version,
        "license": recipe.model.license,
        "sample_rate": recipe.network.sample_rate,
        **kind.facts(network, recipe),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "network": plain["network"],
        "training": {
            "date": datetime.date.today().isoformat(),
            "data": recipe.data.description,
            "data_license": recipe.data.license,
            **facts,
            "mixtures": plain["mixtures"],
            "settings": plain["training"],
        },
        "limits": recipe.model.limits,
        **({"scores_on_validation_speakers": scores} if scores else {}),
        "scores": {},
    }


def _separation_facts(network: SeparationNetwork, recipe: Recipe) -> dict[str, Any]:
    n_sources, model = recipe.network.n_sources, recipe.model
    assert isinstance(model, ModelConfig)
    return {
        "n_sources": "any" if isinstance(network.design, SisoOnly) else n_sources,
        "trained_sources": n_sources,
        "window_s": model.window_s,
        "overlap_s": model.overlap_s,
        "design": dump_settings(recipe.network)["design"],
    }


def _separator_in_use(folder: Path) -> Callable[[Samples], tuple[Samples, ...]]:
    engine = Engine(open_model(folder))
    return lambda mixture: (engine(mixture),)


def _diarizer_in_use(folder: Path) -> Callable[[Samples], tuple[Samples, ...]]:
    diarizer = DiarizerInUse(folder)
    return lambda mixture: diarizer(mixture, diarizer.sample_rate)


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


@dataclass(frozen=True)
class Kind:
    """What the folders of one kind of model differ in.

    graphs: exports a network into a folder; facts: further entries of its card; open: checks a folder; in_use: a
    folder as a function of mixtures (batch, samples).
    """

    graphs: Callable[[Any, Path], tuple[str, ...]]
    facts: Callable[[Any, Recipe], dict[str, Any]]
    open: Callable[[str | Path], ModelFolder | DiarizerFolder]
    in_use: Callable[[Path], Callable[[Samples], tuple[Samples, ...]]]


KINDS = {
    "separation": Kind(separation_graphs, _separation_facts, open_model, _separator_in_use),
    "diarization": Kind(
        diarization_graphs,
        lambda network, recipe: {"embedding_size": recipe.network.embedding},
        open_diarizer,
        _diarizer_in_use,
    ),
}
