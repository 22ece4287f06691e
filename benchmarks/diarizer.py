"""How good a diarizer is: active speakers counted, and voices told apart by their embeddings.

    python benchmarks/diarizer.py --speech DIR --noise DIR --splits FILE [--diarizer FOLDER] [--genders FILE]

Counts: of the frames of conversations of two and of three in which nobody, one, and more talk, how many are found to
be so; in quiet, in rooms with noise (recipes/paper.yaml), and the quiet ones over a telephone.

Embeddings: of every speaker of the split, pieces of speech of 0.5, 1, 2 and 5 s are cut out of different places
(pauses are taken out first), as they are and in rooms with noise, and each piece is compared with all others: pieces
of one speaker, and of two. A piece's embedding is the mean of the diarizer's over its frames; its equal error rate is
that of taking one voice for two as often as two for one.

``--resemblyzer`` measures the embedding of the package resemblyzer (pip install resemblyzer; last released in 2020)
on the same pieces, for comparison.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from conversations import STYLES, add_data_arguments
from quality import CODED, PAPER, QUIET, gender_of, in_split, read_genders

from unbabble.corpora.corpus import Corpora, Corpus
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.evaluation.diarization import DiarizationScores
from unbabble.evaluation.text import markdown_table
from unbabble.inference.engine import Diarizer
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import MixtureRecipe, WeightedRecipe, WholeUtterances
from unbabble.mixing.render import Mixture
from unbabble.tracking.activity import FRAME_S, speech_frames
from unbabble.tracking.viterbi import unit

RATE = 16000
Embed = Callable[[np.ndarray], np.ndarray]  # speech (samples,) -> embedding, of length 1


def main() -> None:
    options = parse()
    heard = in_split(scan_corpora(options.speech, options.noise or [], options.cache), options)
    diarizers = {name: Diarizer(name) for name in options.diarizer or ["diarizer"]}
    rooms = {"room and noise": PAPER} if options.noise else {}
    print(f"split {options.split}, {len(heard.speech.names)} speakers\n")
    rows = []
    for where, recipe in ({"quiet": QUIET} | rooms | {"telephone": CODED["telephone"]}).items():
        recipe = recipe if where in rooms else replace(recipe, noise_snr_db=None, room=None)
        conversations = talks_of(recipe, heard, options)
        rows += [[name, where, *recalls(one, conversations)] for name, one in diarizers.items()]
    print(markdown_table(["diarizer", "where", "nobody", "one", "more"], rows) + "\n")
    embeddings = {name: of_diarizer(one) for name, one in diarizers.items()}
    if options.resemblyzer:
        embeddings["resemblyzer"] = of_resemblyzer()
    genders = {speaker: gender_of(speaker, heard.speech, options) for speaker in heard.speech.names}
    rows = []
    for where, recipe in ({"quiet": QUIET} | rooms).items():
        speech = {one: spoken(one, recipe, heard, options) for one in genders}
        for length_s in options.lengths:
            pieces = {one: cut(whole, length_s, options.pieces) for one, whole in speech.items()}
            for name, embed in embeddings.items():
                rows.append([name, where, f"{length_s:g}", *errors_of(pieces, embed, genders)])
    print(markdown_table(["embedding", "where", "seconds", "equal error", "same gender"], rows))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diarizer", action="append", help="a bundled one's name, or a folder; may be repeated")
    parser.add_argument("--resemblyzer", action="store_true")
    add_data_arguments(parser)
    parser.add_argument("--split", default="test")
    parser.add_argument("--genders", type=Path, help="JSON {speaker: f or m}, of those whose corpus does not say it")
    parser.add_argument("--lengths", type=float, nargs="+", default=[0.5, 1.0, 2.0, 5.0], help="in seconds")
    parser.add_argument("--talks", type=int, default=60, help="conversations of each kind")
    parser.add_argument("--pieces", type=int, default=12, help="of each speaker, at most")
    options = parser.parse_args()
    options.genders = read_genders(options.genders, parser)
    return options


def talks_of(recipe: MixtureRecipe, heard: Corpora, options: argparse.Namespace) -> list[Mixture]:
    """Conversations of 12 s, half of two people and half of three."""
    parts = (replace(recipe, n_speakers=n, timeline=STYLES["lively"], duration_s=12.0) for n in (2, 3))
    mixtures = tuple(WeightedRecipe(1.0, part) for part in parts)
    mixer = Mixer(heard.speech, heard.noise, mixtures, DecodedAudio(RATE, options.cache), options.seed)
    return [mixer(number) for number in range(options.talks)]


def recalls(diarizer: Diarizer, conversations: Sequence[Mixture]) -> list[str]:
    """Of frames with nobody, one, and more who talk."""
    scores = DiarizationScores(3)
    for one in conversations:
        true = np.minimum(speech_frames(one.dry_sources, RATE).sum(0), 2)
        scores.add_counts(true, diarizer(one.mixture[np.newaxis], RATE)[0][0, : len(true)].argmax(1))
    return [f"{scores.scores()[f'recall_{count}'] or 0:.1%}" for count in range(3)]


def spoken(speaker: str, recipe: MixtureRecipe, heard: Corpora, options: argparse.Namespace) -> list[np.ndarray]:
    """Some recordings of one speaker without their pauses, each in a room of its own where there are rooms."""
    whole = replace(recipe, n_speakers=1, timeline=WholeUtterances(length="max"), duration_s=None)
    audio = DecodedAudio(RATE, options.cache)
    recordings = spread(heard.speech.of(speaker), options.pieces)
    parts = (WeightedRecipe(1.0, whole),)
    mixers = (Mixer(Corpus((one,)), heard.noise, parts, audio, options.seed) for one in recordings)
    return [without_pauses(mixer(number)) for number, mixer in enumerate(mixers)]


def without_pauses(drawn: Mixture) -> np.ndarray:
    (active,), frame = speech_frames(drawn.dry_sources, RATE), round(FRAME_S * RATE)
    frames = drawn.mixture[: drawn.mixture.size // frame * frame].reshape(-1, frame)
    return frames[active[: len(frames)]].ravel()


def cut(takes: list[np.ndarray], length_s: float, most: int) -> list[np.ndarray]:
    """Pieces that do not overlap, taken from as many takes as there are."""
    length = round(length_s * RATE)
    numbers = [(n, take) for take in range(len(takes)) for n in range(len(takes[take]) // length)]
    chosen = spread(sorted(numbers)[: max(most, len(takes))], most)
    return [takes[take][n * length : (n + 1) * length] for n, take in chosen]


def spread(things: Sequence[Any], most: int) -> list[Any]:
    """So many of them at most, from the first to the last."""
    chosen = np.linspace(0, len(things) - 1, min(len(things), most)).round().astype(int)
    return [things[n] for n in chosen]


def errors_of(pieces: dict[str, list[np.ndarray]], embed: Embed, genders: dict[str, str | None]) -> list[str]:
    """Of all pairs of pieces; and with pairs of two speakers of one gender alone."""
    everybody, alike = DiarizationScores(3), DiarizationScores(3)
    vectors = {speaker: np.stack([embed(one) for one in of_one]) for speaker, of_one in pieces.items() if of_one}
    everybody.add_embeddings(list(vectors.values()))
    for group in {genders[speaker] or speaker for speaker in vectors}:
        alike.add_embeddings([own for speaker, own in vectors.items() if (genders[speaker] or speaker) == group])
    errors = [scores.scores()["equal_error"] for scores in (everybody, alike)]
    return ["-" if error is None else f"{100 * error:.1f} %" for error in errors]


def of_diarizer(diarizer: Diarizer) -> Embed:
    return lambda speech: unit(diarizer(speech[np.newaxis].astype(np.float32), RATE)[1][0].mean(0))


def of_resemblyzer() -> Embed:
    from resemblyzer import VoiceEncoder, normalize_volume

    encoder = VoiceEncoder("cpu", verbose=False)
    return lambda speech: unit(encoder.embed_utterance(normalize_volume(speech, -30, increase_only=True)))


if __name__ == "__main__":
    main()
