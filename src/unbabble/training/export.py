"""A trained network as a model folder."""

import datetime
import json
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
from unbabble.inference.engine import Diarizer, Engine
from unbabble.inference.model_folder import (
    CARD,
    FORMAT,
    WEIGHTS,
    DiarizerFolder,
    ModelFolder,
    check_file,
    checksum,
    open_diarizer,
    open_model,
)
from unbabble.networks.designs import SisoOnly
from unbabble.networks.graphs import diarization_graphs, separation_graphs, smallest
from unbabble.networks.network import SeparationNetwork
from unbabble.training.checkpoint import read_checkpoint, read_weights
from unbabble.training.config import ModelConfig, Recipe
from unbabble.training.recipe import recipe_of_run
from unbabble.training.run import BEST, START

TOLERANCE = 1e-4  # of the largest value, between PyTorch and ONNX Runtime
CHECKED_LENGTHS_S = (0.05, 1.0, 2.71)

Samples = NDArray[np.float32]


def export_run(run: Path, folder: Path) -> Path:
    """Make a model folder from the best checkpoint of a run. Raises TrainingError, ModelError.

    Where the recipe has a start_weight, its weights go so far back on the straight line to those that the run began
    with (arXiv 2109.01903, section 2).
    """
    recipe = recipe_of_run(run)
    checkpoint = read_checkpoint(run / BEST)
    network = recipe.network.build()
    weights, kept = read_weights(checkpoint, "network."), recipe.training.start_weight
    facts = {"epoch": checkpoint["epoch"] + 1, "steps": checkpoint["global_step"]}
    if recipe.training.start is not None:
        start = read_checkpoint(run / START)
        weights |= {
            name: torch.lerp(weight, start["weights"][name], kept)
            for name, weight in weights.items()
            if weight.is_floating_point()
        }
        facts["start"] = start["model"]
    network.load_state_dict(weights)
    return export_model(network, recipe, folder, facts, checkpoint.get("scores", {}))


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
    if recipe.model.weights == "half":
        for parameter in network.parameters():
            parameter.data = parameter.data.half().float()
    with whole_folder(folder) as beside, writing(folder):
        graphs = kind.graphs(network, beside)
        (beside / WEIGHTS).write_bytes(save({name: smallest(one) for name, one in network.state_dict().items()}))
        card = _card(network, recipe, kind, facts or {}, scores or {})
        card["checksums"] = {name: checksum(beside / name) for name in (*graphs, WEIGHTS)}
        (beside / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        check_engines_agree(network, recipe, beside)
    return folder


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
    return {name: one.float() if one.dtype == torch.half else one for name, one in load_file(path).items()}


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
            **({"datasets": plain["data"]["datasets"]} if recipe.data.datasets else {}),
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
    diarizer = Diarizer(folder)
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
