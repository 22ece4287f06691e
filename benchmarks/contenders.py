"""The separators that speed.py compares, each as a small program: ``contenders.py NAME IN.wav OUT_FOLDER``.

Imports, makes the network, then reads, separates and writes; prints the seconds of the second half as JSON. Exit code
3 where the library is not installed. NAME is one of those below, or a model of unbabble's.
``contenders.py export OUT_FOLDER`` makes models of the paper's size for unbabble, ``paper`` and ``paper-8bit`` there;
``contenders.py floor`` prints the real-time factor that no network of that size can be below on this machine in fp32.
"""

import argparse
import importlib.machinery
import json
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path

NOT_INSTALLED = 3
RATE = 16000  # Hz, of all
DPRNN = "asteroid DPRNNTasNet, paper's size"
CONV_TASNET = "asteroid ConvTasNet"
SEPFORMER = "SpeechBrain SepFormer"
Separate = Callable[[Path, Path], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("paths", type=Path, nargs="*")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.name == "export":
        export_paper_size(*options.paths)
        return
    if options.name == "floor":
        print(floor())
        return
    try:
        separate = make(options.name, options.threads)
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    wall, cpu = time.perf_counter(), time.process_time()
    separate(*options.paths)
    print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}))


def make(name: str, threads: int) -> Separate:
    if name in MAKERS:
        return with_torch(MAKERS[name], threads)
    return unbabble(name, threads)


def unbabble(model: str, threads: int) -> Separate:
    import soundfile

    from unbabble import Separator

    separator = Separator(model, threads=threads)

    def separate(path: Path, folder: Path) -> None:
        n_tracks = separator.model.n_tracks(None)
        tracks = [soundfile.SoundFile(folder / f"{i}.wav", "w", RATE, 1, "PCM_16") for i in range(n_tracks)]
        blocks = (block[None] for block in soundfile.blocks(path, RATE, dtype="float32"))
        for block in separator.separate_blocks(blocks, RATE):
            for track, samples in zip(tracks, block, strict=True):
                track.write(samples)
        for track in tracks:
            track.close()

    return separate


def with_torch(make_network: Callable[[], object], threads: int) -> Separate:
    """The whole recording at once, as these libraries do; the network gives (1, source, samples)."""
    import soundfile
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = make_network()

    def separate(path: Path, folder: Path) -> None:
        samples, rate = soundfile.read(path, dtype="float32")
        with torch.inference_mode():
            tracks = network(torch.from_numpy(samples)[None])[0].numpy()  # type: ignore[operator]
        for index, track in enumerate(tracks):
            soundfile.write(folder / f"{index}.wav", track, rate)

    return separate


def dprnn() -> object:
    """2 ms windows, 64 filters, 6 blocks of 128 units a direction: the size of unbabble's MixedDesign(6, 0)."""
    from asteroid.models import DPRNNTasNet

    return DPRNNTasNet(2, bn_chan=64, kernel_size=32, stride=16, chunk_size=100, sample_rate=RATE).eval()


def conv_tasnet() -> object:
    """The library's sizes, with the 2 ms windows of the models that its authors publish for 16 kHz."""
    from asteroid.models import ConvTasNet

    return ConvTasNet(2, kernel_size=32, stride=16, sample_rate=RATE).eval()


def sepformer() -> object:
    """The sizes of the SepFormer paper (8 + 8 layers of 256, twice), with the same 2 ms windows."""
    import torch

    without_torchaudio()
    from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder, SBTransformerBlock

    def transformer() -> torch.nn.Module:
        return SBTransformerBlock(8, 256, 8, d_ffn=1024, use_positional_encoding=True, norm_before=True)

    encoder = Encoder(kernel_size=32, out_channels=256).eval()
    masks = Dual_Path_Model(
        256, 256, transformer(), transformer(), num_layers=2, norm="ln", K=250, num_spks=2, skip_around_intra=True,
        linear_layer_after_inter_intra=False,
    ).eval()  # fmt: skip
    decoder = Decoder(in_channels=256, out_channels=1, kernel_size=32, stride=16, bias=False).eval()

    def separate(mixture: torch.Tensor) -> torch.Tensor:
        frames = encoder(mixture)
        sources = [decoder(masked) for masked in frames * masks(frames)]
        return torch.stack(sources, dim=1)

    return separate


def without_torchaudio() -> None:
    """SpeechBrain imports torchaudio, which its networks do not use, and which is not built for every torch."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        stub = types.ModuleType("torchaudio")
        stub.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        stub.__version__ = "2.9.0"  # type: ignore[attr-defined]
        sys.modules["torchaudio"] = stub


MAKERS = {DPRNN: dprnn, CONV_TASNET: conv_tasnet, SEPFORMER: sepformer}


def floor() -> float:
    """The paper's network, if its multiply-accumulates alone took time, at the rate of large matrix products."""
    import numpy as np

    from unbabble.evaluation.complexity import macs_per_second
    from unbabble.networks.config import MixedDesign, NetworkConfig

    matrix = np.random.default_rng(0).standard_normal((2048, 2048), np.float32)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        matrix @ matrix
        taken.append(time.perf_counter() - started)
    return macs_per_second(NetworkConfig(design=MixedDesign(6, 0)), 2) * min(taken) / len(matrix) ** 3


def export_paper_size(folder: Path) -> None:
    """The paper's SIMO-only network with random weights, as it is and with LSTMs of 8 bits."""
    import torch

    from unbabble.networks.config import MixedDesign, NetworkConfig
    from unbabble.networks.network import SeparationNetwork
    from unbabble.training.config import ModelConfig, SeparationRecipe
    from unbabble.training.export import export_model
    from unbabble.training.quantize import quantize_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = SeparationRecipe(
        network=NetworkConfig(design=MixedDesign(6, 0)),
        model=ModelConfig(name="paper-size", window_s=10.0, overlap_s=1.0),
    )
    export_model(SeparationNetwork(recipe.network), recipe, folder / "paper")
    quantize_model(folder / "paper", folder / "paper-8bit")


if __name__ == "__main__":
    main()
