"""A model and a diarizer that know the talkers of ``talkers.py``: filters, and a meter of what passes them."""

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from unbabble.inference.model_folder import checksum
from unbabble.networks.graphs import export_graph

CROSSOVER_HZ = 950.0  # between the bands of the talkers
FRAME_S = 0.04
QUIETEST = 1e-5  # power of speech


class Filters(nn.Module):
    """(rows, samples) -> what is below and what is above the crossover: (rows, 2, samples)."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        reach = rate // 160
        times = torch.arange(-reach, reach + 1, dtype=torch.float64)
        low = torch.sinc(2 * CROSSOVER_HZ / rate * times) * torch.hamming_window(2 * reach + 1, False).double()
        low /= low.sum()
        self.register_buffer("kernels", torch.stack([low, (times == 0).double() - low])[:, None].float())

    def forward(self, signals: Tensor) -> Tensor:
        return nn.functional.conv1d(signals[:, None], self.kernels, padding=self.kernels.shape[-1] // 2)


class BandDiarizer(nn.Module):
    """Counts the bands that are loud, which are the embedding: two talkers are orthogonal."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.filters, self.frame = Filters(rate), round(FRAME_S * rate)

    def forward(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        whole = nn.functional.pad(self.filters(signals), (0, self.frame - 1))
        power = nn.functional.avg_pool1d(whole.square(), self.frame).transpose(1, 2)
        n_loud = (power > QUIETEST).sum(-1, keepdim=True)
        return torch.where(n_loud == torch.arange(3), -0.01, -5.0), power.sqrt()


def make_model(tiny_model: Path, folder: Path) -> Path:
    """A copy of the folder of a model of two talkers at 16 kHz, whose graph is the filters."""
    shutil.copytree(tiny_model, folder)
    axes = {"mixture": {0: "batch", 1: "samples"}, "estimates": {0: "batch", 2: "samples"}}
    export_graph(Filters(16000), (torch.zeros(1, 16000),), folder / "separator.onnx", axes, ("estimates",))
    return with_card(folder / "model.json", window_s=4.0, overlap_s=1.0)


def make_diarizer(folder: Path) -> Path:
    """A folder of a diarizer at 8 kHz."""
    folder.mkdir()
    frames = {0: "rows", 1: "frames"}
    axes = {"signals": {0: "rows", 1: "samples"}, "counts": frames, "voices": frames}
    signals = torch.zeros(1, 8000)
    export_graph(BandDiarizer(8000), (signals,), folder / "listener.onnx", axes, ("counts", "voices"))
    (folder / "listener.json").write_text('{"checksums": {}}')
    return with_card(folder / "listener.json", sample_rate=8000, voice_size=2)


def with_card(card: Path, **changes) -> Path:
    """The folder of a card, which now says this of it, and lists its graphs as they are."""
    values = json.loads(card.read_text()) | changes
    values["checksums"] |= {path.name: checksum(path) for path in card.parent.glob("*.onnx")}
    card.write_text(json.dumps(values))
    return card.parent
