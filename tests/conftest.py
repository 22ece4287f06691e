"""Signals, corpora and model folders that tests share. Nothing here needs data from outside the repo.

Where PyTorch is not installed, tests that need it are left out, and those of separating run.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
from hypothesis import settings

from unbabble.base.progress import Progress
from unbabble.cli import main
from unbabble.corpora import scan

settings.register_profile("unhurried", deadline=None)  # machines that run tests are shared and noisy
settings.load_profile("unhurried")
HAS_TORCH = find_spec("torch") is not None
if HAS_TORCH:
    import torch

    from unbabble.networks.blocks.dual_path import DualPathConfig
    from unbabble.networks.config import MixedDesign, NetworkConfig, SisoOnlyDesign
    from unbabble.networks.front_ends.tasnet import TasNetConfig
    from unbabble.networks.losses import permutation_invariant_loss
    from unbabble.networks.network import SeparationNetwork
    from unbabble.training.config import ModelConfig, SeparationRecipe
    from unbabble.training.export import export_model

    torch.set_num_threads(1)  # the networks here are so small that threads only wait for one another
REPO = Path(__file__).parent.parent
RATE = 16000
MAKES_MODELS = re.compile(
    r"^\s*(import|from) (torch|oracle|onnx\b|mido|unbabble\.(networks|training|mixing|sets|evaluation|experiments))"
    "|benchmark",
    re.MULTILINE,
)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without PyTorch, tests of what the base install has not."""
    if HAS_TORCH or collection_path.suffix != ".py":
        return None
    return bool(MAKES_MODELS.search(collection_path.read_text(encoding="utf-8"))) or None


def tiny_recipe(design=None) -> SeparationRecipe:
    """A recipe whose network is small enough to run in milliseconds."""
    network = NetworkConfig(
        design=design or MixedDesign(1, 1),
        front_end=TasNetConfig(filters=32, window=64, hop=32, chunk=20, chunk_hop=10),
        channels=8,
        block=DualPathConfig(8),
    )
    return SeparationRecipe(network=network, model=ModelConfig(name="tiny", window_s=2.0, overlap_s=0.5))


def exported(folder: Path, design=None) -> Path:
    pytest.importorskip("torch")
    torch.manual_seed(0)
    recipe = tiny_recipe(design)
    return export_model(SeparationNetwork(recipe.network), recipe, folder)


def run(*args, **kwargs) -> subprocess.CompletedProcess:
    """The program, as a user starts it."""
    command = [sys.executable, "-m", "unbabble", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, **kwargs)


def run_here(*args) -> subprocess.CompletedProcess:
    """The program in this process, which spares it the start."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with mock.patch.object(sys, "argv", ["unbabble", *map(str, args)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return subprocess.CompletedProcess(args, code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


class Told(Progress):
    """Keeps what it is told: ``tasks`` by name, with how far each was from time to time, and ``notices``."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, list[tuple[float, float | None]]]] = []
        self.notices: list[str] = []

    def task(self, name):
        steps = []
        self.tasks.append((name, steps))
        return nullcontext(lambda *step: steps.append(step))

    def notice(self, text):
        self.notices.append(text)


def loss_after(network: torch.nn.Module, sources: torch.Tensor, steps: int, learning_rate: float) -> float:
    """The loss of a network that has learned from one mixture alone."""
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    for _ in range(steps):
        loss = permutation_invariant_loss(network(sources.sum(1)), sources)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def one_line_error(done, *parts) -> None:
    """The only error is one line that holds all the parts; there is no traceback."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(done.stderr.splitlines()) == 1, done.stderr
    for part in parts:
        assert part in errors[0]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A model folder of an untrained mixed network with two sources."""
    return exported(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def oracle(tiny_model, tmp_path_factory) -> dict[str, Path]:
    """Settings of a ``Separator`` that separates the talkers of ``talkers.py`` as it must be."""
    from oracle import make_diarizer, make_model  # needs PyTorch, as the model of which it is a copy

    folder = tmp_path_factory.mktemp("oracle")
    return {"model": make_model(tiny_model, folder / "model"), "diarizer": make_diarizer(folder / "diarizer")}


@pytest.fixture(scope="session")
def oracle_flags(oracle) -> tuple[str, ...]:
    """The same for ``unbabble separate``."""
    return tuple(str(part) for name, folder in oracle.items() for part in (f"--{name}", folder))


@pytest.fixture(scope="session")
def tiny_siso_only_model(tmp_path_factory) -> Path:
    """A model folder of an untrained SISO-only network."""
    return exported(tmp_path_factory.mktemp("models") / "tiny-siso", SisoOnlyDesign(1, 1))


@pytest.fixture(scope="session")
def corpora(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of speech (3 speakers, wav and flac, one a level deeper) and of noise (2, shorter and longer)."""
    root = tmp_path_factory.mktemp("corpora")
    rng = np.random.default_rng(0)
    for index, speaker in enumerate(("ann", "bob", "cyd")):
        for take in range(2):
            path = root / "speech" / speaker / ("book" if index else "") / f"{take}.{'wav' if take else 'flac'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(RATE * (2 + index)), RATE)
    for name, seconds in (("hum", 0.7), ("rain", 9.0)):
        path = root / "noise" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.05 * rng.standard_normal(int(RATE * seconds)), RATE)
    return root / "speech", root / "noise"


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def speech() -> np.ndarray:
    """3 s of the example, in which the bundled diarizer hears two talkers, whatever the network makes of them."""
    samples: np.ndarray = soundfile.read(REPO / "examples" / "two-talkers.flac", start=5 * RATE, dtype="float32")[0]
    return samples[: 3 * RATE]


def make_tones(root: Path, *keys: str, seconds: float = 0.1) -> Path:
    """A tree of short tones; what is no audio by its name gets text."""
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".wav", ".flac"):
            soundfile.write(path, tone(seconds), RATE)
        else:
            path.write_text("words")
    return root


@pytest.fixture
def opened(monkeypatch) -> list[Path]:
    """The files that are opened for their duration."""
    paths: list[Path] = []
    read = scan.read_duration_s
    monkeypatch.setattr(scan, "read_duration_s", lambda path: paths.append(path) or read(path))
    return paths
