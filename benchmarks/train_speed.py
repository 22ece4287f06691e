"""Training steps a second of the paper's networks, beside other implementations and the floor of the hardware.

    python benchmarks/train_speed.py [--device cuda] [--batches 1 4 16] [--precisions fp32 bf16]

One step is forward, loss, backward, clipping and Adam on mixtures of 4 s at 16 kHz that lie on the device. Every
measurement is a process of its own, in turn, round after round, so that what disturbs the machine disturbs all alike;
the table has medians, in utterances a second, and ratios within a round. Ours are set up as ``unbabble train`` does
it, with --processes 2 as ``torchrun --nproc-per-node 2`` does: the processes share every batch, and the threads.
Compared with the plainest implementation of the SIMO-only network that PyTorch allows (Plain, below), and with
asteroid's DPRNNTasNet of the same sizes where it is installed:

    pip install --no-deps asteroid asteroid-filterbanks requests huggingface_hub

Floors: the time that the multiply-accumulates of a step (three times those of the forward pass) take at the rate that
this device reaches in large matrix products, and the time to write and read once, at the rate of a copy, all that the
forward pass keeps for the backward pass. No implementation in this precision can be faster than the first; the second
is of our own network, and one that keeps less could be faster.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unbabble.cli.toolkit import keep_freed_memory
from unbabble.evaluation.complexity import macs_per_second
from unbabble.networks.config import MixedDesign, NetworkConfig, SisoOnlyDesign
from unbabble.networks.losses import permutation_invariant_loss, snr
from unbabble.networks.network import SeparationNetwork

SECONDS, RATE = 4, 16000
PLAIN, ASTEROID = "plain 6+0", "asteroid 6+0"
DESIGNS = {"6+0": MixedDesign(6, 0), "2+4": MixedDesign(2, 4), "siso-2+4": SisoOnlyDesign(2, 4)}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Plain(nn.Module):
    """The SIMO-only network of the paper, written down without a thought for speed."""

    def __init__(self, filters: int = 64, hidden: int = 128, blocks: int = 6, chunk: int = 100) -> None:
        super().__init__()
        self.chunk = chunk
        self.encoder = nn.Conv1d(1, filters, 32, 16, padding=16, bias=False)
        self.decoder = nn.ConvTranspose1d(filters, 1, 32, 16, padding=16, bias=False)
        self.norm = nn.GroupNorm(1, filters)
        self.bottleneck = nn.Conv1d(filters, filters, 1)
        self.paths = nn.ModuleList(
            nn.ModuleList(
                (
                    nn.LSTM(filters, hidden, batch_first=True, bidirectional=True),
                    nn.Linear(2 * hidden, filters),
                    nn.GroupNorm(1, filters),
                )
            )
            for _ in range(2 * blocks)
        )
        self.heads = nn.Conv2d(filters, 2 * filters, 1)

    def forward(self, mixture: Tensor) -> Tensor:
        frames = self.encoder(mixture.unsqueeze(1))
        batch, filters, n_frames = frames.shape
        chunks = functional.unfold(
            self.bottleneck(self.norm(frames)).unsqueeze(-1), (self.chunk, 1), padding=(self.chunk, 0), stride=50
        )
        x = chunks.reshape(batch, filters, self.chunk, -1)
        for number, (rnn, back, norm) in enumerate(self.paths):
            y = x.permute(0, 3, 2, 1) if number % 2 == 0 else x.permute(0, 2, 3, 1)
            sequences = y.reshape(-1, y.shape[2], filters)
            y = back(rnn(sequences)[0]).reshape(y.shape)
            x = x + norm(y.permute(0, 3, 2, 1) if number % 2 == 0 else y.permute(0, 3, 1, 2))
        x = self.heads(functional.relu(x)).reshape(2 * batch, filters * self.chunk, -1)
        merged = functional.fold(x, (n_frames, 1), (self.chunk, 1), padding=(self.chunk, 0), stride=50)
        masks = functional.relu(merged.reshape(batch, 2, filters, n_frames))
        tracks = self.decoder((masks * frames.unsqueeze(1)).reshape(-1, filters, n_frames))
        return tracks.reshape(batch, 2, -1)


def main() -> None:
    options = parse()
    device = torch.device(options.device)
    print(describe(device) + f"; {options.rounds} rounds of {options.steps} steps\n")
    print(
        "| precision | batch | network | utterances / s | floor: arithmetic | floor: memory | / plain | / asteroid |"
    )
    print("|---|---|---|---|---|---|---|---|")
    figures = []
    for precision in options.precisions:
        hardware = measure_hardware(device, TYPES[precision])
        for batch in options.batches:
            case = Case(batch, precision, options.device, options.steps, options.compile, options.processes)
            for row in measure(case, options.rounds, hardware):
                figures.append({"precision": precision, "batch": batch, **row})
                ratios = " | ".join(f"{row[name]:.2f}" if name in row else "" for name in ("to_plain", "to_asteroid"))
                floors = " | ".join(f"{row[name]:.2f}" if name in row else "" for name in ("arithmetic", "memory"))
                speed = f"{row['network']} | {row['utterances_per_s']:.2f}"
                print(f"| {precision} | {batch} | {speed} | {floors} | {ratios} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--precisions", nargs="+", choices=TYPES, default=["fp32"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="in a round, for each network")
    parser.add_argument("--compile", action="store_true", help="torch.compile our networks")
    parser.add_argument("--processes", type=int, default=1, help="that train one of ours; each batch is a multiple")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if any(batch % options.processes for batch in options.batches):
        parser.error(f"--batches that {options.processes} processes share are multiples of {options.processes}")
    return options


@dataclass(frozen=True)
class Case:
    """What is the same for all networks of a few rows."""

    batch: int
    precision: str
    device: str
    steps: int
    compile: bool
    processes: int


def measure(case: Case, rounds: int, hardware: tuple[float, float]) -> list[dict[str, Any]]:
    """Utterances a second of every network, and what the hardware would allow ours."""
    names = [*DESIGNS, PLAIN, *([ASTEROID] if find_spec("asteroid") else [])]
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            times[name].append(in_fresh_processes(name, case, case.processes if name in DESIGNS else 1))
    rows = []
    for name in names:
        row: dict[str, Any] = {"network": name, "utterances_per_s": case.batch / statistics.median(times[name])}
        for key, other in (("to_plain", PLAIN), ("to_asteroid", ASTEROID)):
            if name in DESIGNS and other in names:
                pairs = zip(times[other], times[name], strict=True)
                row[key] = statistics.median(theirs / ours for theirs, ours in pairs)
        if name in DESIGNS:
            row |= floors(SeparationNetwork(NetworkConfig(DESIGNS[name])), case, hardware)
        rows.append(row)
    return rows


def in_fresh_processes(name: str, case: Case, world: int) -> float:
    """Seconds a step of training one network in so many processes."""
    with (
        ProcessPoolExecutor(world, mp_context=get_context("spawn")) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        ranks = [pool.submit(seconds_a_step, name, case, rank, world, f"{folder}/meet") for rank in range(world)]
        return max(done.result() for done in ranks)


def seconds_a_step(name: str, case: Case, rank: int, world: int, meet: str) -> float:
    """Of one of the processes that train a network, after a first step that is not counted."""
    device = torch.device(case.device, rank) if case.device == "cuda" else torch.device(case.device)
    if name in DESIGNS:
        keep_freed_memory()
    network = make_network(name).to(device)
    if case.compile and name in DESIGNS:
        network.compile()
    if world > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // world))
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, init_method=f"file://{meet}", rank=rank, world_size=world)
        network = nn.parallel.DistributedDataParallel(network)
    sources = torch.randn(case.batch // world, 2, SECONDS * RATE, device=device)
    step = make_step(network, sources, case.precision)
    step()
    settle(device)
    started = time.perf_counter()
    for _ in range(case.steps):
        step()
    settle(device)
    return (time.perf_counter() - started) / case.steps


def make_network(name: str) -> nn.Module:
    if name in DESIGNS:
        return SeparationNetwork(NetworkConfig(DESIGNS[name]))
    if name == PLAIN:
        return Plain()
    from asteroid.models import DPRNNTasNet

    sizes = {"bn_chan": 64, "hid_size": 128, "chunk_size": 100, "n_repeats": 6, "n_filters": 64}
    network: nn.Module = DPRNNTasNet(2, **sizes, kernel_size=32, stride=16, mask_act="relu", sample_rate=RATE)
    return network


def make_step(network: nn.Module, sources: Tensor, precision: str) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    mixture = sources.sum(1)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(sources.device, precision):
            estimates = network(mixture)
        losses, _ = permutation_invariant_loss(estimates.float()[..., : mixture.shape[-1]], sources, snr)
        losses.mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()

    return step


def floors(network: SeparationNetwork, case: Case, hardware: tuple[float, float]) -> dict[str, float]:
    """Utterances a second at the rate of the hardware's arithmetic, and of its memory."""
    device, kept = torch.device(case.device), 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), autocast(device, case.precision):
        network.to(device)(torch.randn(case.batch, SECONDS * RATE, device=device))
    macs = 3 * SECONDS * macs_per_second(network.config, 2)
    macs_a_second, bytes_a_second = hardware
    return {"arithmetic": macs_a_second / macs, "memory": case.batch * bytes_a_second / (2 * kept)}


def measure_hardware(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Multiply-accumulates a second in large matrix products, and bytes a second that a copy reads and writes."""
    size = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(size, size, device=device).to(dtype)
    block = torch.empty(2**28 if device.type == "cuda" else 2**26, device=device)
    return size**3 / fastest(lambda: matrix @ matrix, device), 2 * 4 * block.numel() / fastest(block.clone, device)


def fastest(work: Callable[[], Any], device: torch.device) -> float:
    taken = []
    for _ in range(5):
        settle(device)
        started = time.perf_counter()
        work()
        settle(device)
        taken.append(time.perf_counter() - started)
    return min(taken)


def autocast(device: torch.device, precision: str) -> Any:
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, TYPES[precision])


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def describe(device: torch.device) -> str:
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return f"{platform.machine()}, {name}, PyTorch {torch.__version__}"


if __name__ == "__main__":
    main()
