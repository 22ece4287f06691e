"""Networks as ONNX graphs."""

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from unbabble.inference.model_folder import DECODER, DIARIZER_GRAPH, ENCODER, SEPARATOR
from unbabble.networks.designs import SisoOnly
from unbabble.networks.diarizer import Diarizer
from unbabble.networks.network import SeparationNetwork

OPSET = 17
FEW = 1000  # numbers that are not worth a node

Axes = dict[str, dict[int, str]]


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
    store_in_halves(path)


def store_in_halves(path: Path) -> None:
    """Store weights of a graph in half precision where that changes no number; they are used in single precision."""
    graph = onnx.load(path)
    for weights in graph.graph.initializer:
        numbers = smallest(torch.tensor(onnx.numpy_helper.to_array(weights)))
        if numbers.dtype == torch.half and numbers.numel() > FEW:
            name, stored = weights.name, f"{weights.name}.half"
            weights.CopyFrom(onnx.numpy_helper.from_array(numbers.numpy(), stored))
            graph.graph.node.insert(0, onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    onnx.save(graph, path)


def smallest(weights: Tensor) -> Tensor:
    """In half precision, where that changes no number."""
    half = weights.half()
    return half if weights.dtype == torch.float and torch.equal(half.float(), weights) else weights


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
