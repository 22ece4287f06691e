"""Record what the networks make of three conversations of synthetic voices, for tests/test_tracking_recorded.py.

    python benchmarks/record_fixture.py --speech KOKORO --out tests/tracking

The truth stands beside: who talks, and whose each estimate is where several talk. Embeddings are rounded to a quarter
of their spread, so that they compress. The conversation of four is written as sound too, for examples/.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
from conversations import Talk, frames_of, talk

from unbabble import Separator
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.inference.windows import Separated
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import Conversation, MixtureRecipe, WeightedRecipe

CONVERSATIONS = {  # voices, seconds, seed
    "two": (("bf_lily", "em_santa"), 26.0, 3),
    "two-lively": (("af_sarah", "am_adam"), 26.0, 3),
    "four": (("bm_fable", "bf_lily", "em_santa", "ef_dora"), 42.0, 1),
}
WINDOW_S, OVERLAP_S = 10.0, 2.0
STEP = 0.25  # of their standard deviation
AROUND = 11  # frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs=3)
    options = parser.parse_args()
    corpus = scan_corpora([options.speech], []).speech
    separator = Separator(window_s=WINDOW_S, overlap_s=OVERLAP_S)
    for (name, (voices, length_s, seed)), other in zip(
        CONVERSATIONS.items(), options.seeds or [None] * 3, strict=True
    ):
        seed = seed if other is None else other
        spoken = corpus.only(voices)
        style = Conversation(turn_s=(1.5, 4.0), pause_s=(0.1, 0.8), overlap_probability=0.5 if "two" in name else 0.3)
        recipe = MixtureRecipe(
            duration_s=length_s,
            n_speakers=len(voices),
            timeline=style,
            noise_snr_db=None,
            room=None,
            level_db=(-3, 3),
        )
        drawn = Mixer(spoken, None, (WeightedRecipe(1.0, recipe),), DecodedAudio(16000), seed)(0)
        record(options.out / f"{name}.npz", talk("talk", drawn, separator, np.random.default_rng(seed)))
        if name == "four":
            soundfile.write(options.out / "four-talkers.flac", drawn.mixture / np.abs(drawn.mixture).max() / 2, 16000)


def record(path: Path, one: Talk) -> None:
    """Write the model's windows: embeddings as whole steps, levels as whole dB; and the truth."""
    arrays = {"truth": one.truth}
    for number, (window, seen) in enumerate(one.windows["model"]):
        step = STEP * seen.embeddings.std()
        arrays |= {
            f"counts{number}": seen.counts.astype(np.float16),
            f"embeddings{number}": (seen.embeddings / step).round().clip(-127, 127).astype(np.int8),
            f"levels{number}": seen.levels.round().clip(-120, 0).astype(np.int8),
            f"owners{number}": owners(window, one, number),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def owners(window: Separated, one: Talk, number: int) -> np.ndarray:
    """Whom each estimate holds most of, in every frame and those around it: (frames, estimates)."""
    frame = one.frame
    sources = one.sources[:, number * frames_of(one.separator).step :][:, : window.mixture.size]
    pad = -sources.shape[1] % frame
    held, heard = (
        np.pad(signals, ((0, 0), (0, pad))).reshape(len(signals), -1, frame)
        for signals in (sources, window.estimates)
    )
    products = np.abs(np.einsum("pfs,efs->pef", held, heard))
    around = np.apply_along_axis(np.convolve, 2, products, np.ones(AROUND), "same")
    return around.argmax(0).T.astype(np.int8)


if __name__ == "__main__":
    main()
