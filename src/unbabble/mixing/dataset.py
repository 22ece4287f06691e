"""Mixtures as folders on disk, with a manifest."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from unbabble.audio import writing
from unbabble.mixing.corpus import DecodedAudio, scan_noise, scan_speech
from unbabble.mixing.mixture import Mixer, Mixture
from unbabble.mixing.recipe import Mixtures, sources_of

MANIFEST = "manifest.jsonl"
KEPT_RECORDINGS = 64  # decoded files held in memory by each process


def simulate(
    speech: Sequence[Path],
    noise: Sequence[Path],
    out: Path,
    count: int,
    mixtures: Mixtures,
    *,
    seed: int = 0,
    jobs: int = 1,
    dry: bool = False,
    names: Iterable[str] | None = None,
    progress: Callable[[float, float | None], None] = lambda _done, _total: None,
) -> Path:
    """Write ``count`` mixtures and their truths, one folder each, and a manifest.

    speech, noise: folders; mixtures: what to draw from; seed: with its number, it defines each mixture for any
    number of jobs; dry: write the signals before the room as well; names: speakers and noises to draw from
    (None: all). Each ``out/<number>/`` gets ``mixture.flac``, ``source1.flac`` ..., ``noise.flac``, whole or
    not at all. Returns the path of ``manifest.jsonl``: one JSON object a line with what was drawn and the
    files. Raises CorpusError, AudioError, OutputError.
    """
    voices = scan_speech(speech)
    noises = scan_noise(noise) if noise else None
    if names is not None:
        chosen = set(names)
        voices, noises = voices.only(chosen), noises and noises.only(chosen)
    _, sample_rate = sources_of(mixtures)
    mixer = Mixer(voices, noises, mixtures, DecodedAudio(sample_rate, KEPT_RECORDINGS), seed)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    write = partial(_write_one, mixer, out, sample_rate, dry)
    rows = []
    with ExitStack() as stack:
        run = map if jobs == 1 else stack.enter_context(ProcessPoolExecutor(jobs)).map
        for row in run(write, range(count)):
            rows.append(row)
            progress(len(rows), count)
    manifest = out / MANIFEST
    with writing(manifest):
        beside = manifest.with_suffix(".part")
        beside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        beside.replace(manifest)
    return manifest


def _write_one(mixer: Mixer, out: Path, sample_rate: int, dry: bool, index: int) -> dict[str, Any]:
    drawn = mixer(index)
    name = f"{index:06d}"
    beside, folder = out / f"{name}.part", out / name
    signals = _signals(drawn, dry)
    with writing(folder):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        for file, samples in signals.items():
            soundfile.write(beside / file, samples, sample_rate, subtype="PCM_24")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    files = {Path(file).stem: f"{name}/{file}" for file in signals}
    return {"id": name, "files": files, "sample_rate": sample_rate, **dataclasses.asdict(drawn.facts)}


def _signals(drawn: Mixture, dry: bool) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """The files of one mixture by their names."""
    signals = {"mixture.flac": drawn.mixture}
    signals |= {f"source{number}.flac": source for number, source in enumerate(drawn.sources, start=1)}
    signals["noise.flac"] = drawn.noise
    if dry:
        dry_sources = enumerate(drawn.dry_sources, start=1)
        signals |= {f"dry_source{number}.flac": source for number, source in dry_sources}
        signals["dry_noise.flac"] = drawn.dry_noise
    return signals
