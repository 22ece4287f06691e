"""A trained listener as a folder that separation can use."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from unbabble.base.config import dump_settings, parse_settings
from unbabble.base.output import whole_folder, writing
from unbabble.errors import ModelError
from unbabble.inference.model_folder import WEIGHTS, check_file, checksum
from unbabble.networks.listener import Listener, ListenerConfig
from unbabble.tracking.diarizer import CARD, GRAPH, Diarizer, open_diarizer
from unbabble.training.export import CHECKED_LENGTHS_S, Axes, export_graph, refuse_difference, training_facts
from unbabble.training.listener_config import ListenerRecipe

Scores = dict[str, float | None]


def export_listener(
    network: Listener, recipe: ListenerRecipe, scores: Scores, folder: Path, facts: dict[str, Any] | None = None
) -> Path:
    """Write a listener's folder, whole or not at all; the files of an older one there are replaced.

    scores: on the validation mixtures; facts: further entries for the card's ``training`` part. Raises ModelError
    where PyTorch and ONNX Runtime disagree, as ``export_model`` does, and OutputError.
    """
    network = network.eval()
    frames = {0: "rows", 1: "frames"}
    axes: Axes = {"signals": {0: "rows", 1: "samples"}, "counts": frames, "voices": frames}
    with whole_folder(folder) as beside, writing(folder):
        signals = torch.randn(1, recipe.network.sample_rate)
        export_graph(network, (signals,), beside / GRAPH, axes, outputs=("counts", "voices"))
        (beside / WEIGHTS).write_bytes(save(network.state_dict()))
        card = _card(recipe, scores, facts or {})
        card["checksums"] = {name: checksum(beside / name) for name in (GRAPH, WEIGHTS)}
        (beside / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        check_listeners_agree(network, beside)
    return folder


def read_weights_of_listener(listener: str, network: ListenerConfig) -> dict[str, Tensor]:
    """The state of a listener's network, to go on training it.

    listener: the bundled one's name, or a folder. Raises ModelError where the folder is incomplete or damaged, or its
    network another than ``network``.
    """
    folder = open_diarizer(listener)
    if parse_settings(ListenerConfig, folder.card.get("network", {}), str(folder.path / CARD)) != network:
        raise ModelError(f"{folder.path}: has another network than the recipe; copy the card's into the recipe")
    path = folder.path / WEIGHTS
    check_file(path, folder.checksums, CARD)
    return load_file(path)


def check_listeners_agree(network: Listener, folder: Path) -> None:
    """Compare PyTorch with ONNX Runtime on random signals of three lengths; ModelError if they differ."""
    in_use, rng, sample_rate = Diarizer(folder), np.random.default_rng(0), network.config.sample_rate
    for rows, length_s in enumerate(CHECKED_LENGTHS_S, start=1):
        signals = rng.standard_normal((rows, int(length_s * sample_rate))).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(signals))
        for given, wanted in zip(in_use(signals, sample_rate), expected, strict=True):
            refuse_difference(given, wanted.numpy(), float(wanted.abs().max()), length_s)


def _card(recipe: ListenerRecipe, scores: Scores, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "listener",
        "licence": recipe.licence,
        "sample_rate": recipe.network.sample_rate,
        "voice_size": recipe.network.voice,
        "network": dump_settings(recipe.network),
        "training": training_facts(recipe, facts),
        "scores_on_validation_speakers": scores,
    }
