"""Mixtures as folders on disk, with a manifest."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from unbabble.mixing.corpus import DecodedAudio, scan_noise, scan_speech
from unbabble.mixing.mixture import Mixer, Mixture
from unbabble.mixing.recipe import Mixtures, sources_of
from unbabble.output import whole_folder, write_whole, writing

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
    write = SetWriter(mixer, out, sample_rate, dry)
    rows = []
    for row in _in_parallel(write, count, jobs):
        rows.append(row)
        progress(len(rows), count)
    manifest = out / MANIFEST
    write_whole(manifest, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return manifest


@dataclass(frozen=True)
class SetWriter:
    """Draws mixture number i and writes its folder; returns its line of the manifest."""

    mixer: Mixer
    out: Path
    sample_rate: int
    dry: bool

    def __call__(self, index: int) -> dict[str, Any]:
        drawn, name = self.mixer(index), f"{index:06d}"
        signals = _signals(drawn, self.dry)
        with whole_folder(self.out / name) as folder:
            for file, samples in signals.items():
                with writing(self.out / name / file):
                    soundfile.write(folder / file, samples, self.sample_rate, subtype="PCM_24")
        files = {Path(file).stem: f"{name}/{file}" for file in signals}
        return {"id": name, "files": files, "sample_rate": self.sample_rate, **asdict(drawn.facts)}


_writer: SetWriter | None = None  # of a worker process: sent once, so that what it has decoded is kept


def _in_parallel(write: SetWriter, count: int, jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(write, range(count))
        return
    with ProcessPoolExecutor(jobs, initializer=_set_writer, initargs=(write,)) as pool:
        yield from pool.map(_write_in_worker, range(count))


def _set_writer(writer: SetWriter) -> None:
    global _writer
    _writer = writer


def _write_in_worker(index: int) -> dict[str, Any]:
    assert _writer is not None
    return _writer(index)


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
