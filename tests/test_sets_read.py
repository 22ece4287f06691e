"""Sets of mixtures are read as they were written, from each of the layouts."""

import csv
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE

from unbabble.errors import AudioError, CorpusError
from unbabble.sets.read import MixtureSet, read_set

IDS = ("61-70968-0000_8455-210777-0012", "121-1_237-4")  # not sorted
N_SAMPLES = 300


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=None if path.suffix == ".flac" else "FLOAT")
    return path


def signals(n_sources: int, seed: int) -> dict[str, np.ndarray]:
    """s1, s2 ... and noise, of multiples of 2^-12, so that sums and 16-bit files are exact."""
    rows = np.random.default_rng(seed).integers(-200, 200, (n_sources + 1, N_SAMPLES)).astype(np.float32) / 4096
    return {**{f"s{number}": row for number, row in enumerate(rows[:-1], 1)}, "noise": rows[-1]}


def mixtures_of(parts: dict[str, np.ndarray], room: str = "") -> dict[str, np.ndarray]:
    """mix_clean, mix_both and mix_single as their names say."""
    *talkers, noise = parts.values()
    clean = sum(talkers)
    sums = {"mix_clean": clean, "mix_both": clean + noise, "mix_single": talkers[0] + noise}
    return {name + room: samples for name, samples in sums.items()}


def write_folders(subset: Path, n_sources: int = 2) -> dict[str, dict[str, np.ndarray]]:
    """A subset as LibriMix and WHAM! have it; returns what was written, by id and folder."""
    written = {}
    for seed, id in enumerate(IDS):
        parts = signals(n_sources, seed)
        written[id] = {**parts, **mixtures_of(parts)}
        for name, samples in written[id].items():
            write(subset / name / f"{id}.wav", samples)
    return written


def write_whamr(subset: Path) -> dict[str, np.ndarray]:
    written = {}
    for seed, room in enumerate(("_anechoic", "_reverb")):
        parts = signals(2, seed)
        written |= {name + room: samples for name, samples in parts.items() if name != "noise"}
        written |= {**mixtures_of(parts, room), "noise": parts["noise"]}
    for name, samples in written.items():
        write(subset / name / "011a0101_1.8_020c020b_-1.8.wav", samples)
    return written


def write_own(folder: Path, rows: int = 2, suffix: str = ".flac") -> list[dict[str, np.ndarray]]:
    """A set of unbabble's; the last mixture is of three talkers, the manifest is not in order."""
    written, lines = [], []
    for index in range(rows):
        parts = signals(2 + (index == rows - 1), index)
        sources = [samples for name, samples in parts.items() if name != "noise"]
        files = {"mixture": sum(parts.values()), "noise": parts["noise"], "dry_source1": parts["s1"]}
        files |= {f"source{number}": samples for number, samples in enumerate(sources, 1)}
        name = f"{index:06d}"
        for file, samples in files.items():
            write(folder / name / (file + suffix), samples)
        row = {"id": name, "sample_rate": RATE, "overlap_ratio": 0.25 * index, "noise": {"snr_db": 3}}
        row |= {
            "speakers": ["a", "b", "c"][: len(sources)],
            "files": {file: f"{name}/{file}{suffix}" for file in files},
        }
        written.append(files)
        lines.append(json.dumps(row) + "\n")
    (folder / "manifest.jsonl").write_text("".join(reversed(lines)))
    return written


def write_tables(subset: Path) -> None:
    """The tables that LibriMix keeps beside its subsets, with paths of another machine."""
    table = subset.parent / "metadata" / f"mixture_{subset.name}_mix_clean.csv"
    table.parent.mkdir()
    folders = {"mixture_path": "mix_clean", "source_1_path": "s1", "source_2_path": "s2"}
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["mixture_ID", *folders, "length"])
        rows.writerows([id, *(f"/elsewhere/{name}/{id}.wav" for name in folders.values()), N_SAMPLES] for id in IDS)


def ids(found: MixtureSet) -> list[str]:
    return [item.id for item in found.items]


@pytest.mark.parametrize(
    ("n_sources", "kind", "tables"), [*product((2, 3), ("mix_clean", "mix_both"), (False,)), (2, None, True)]
)
def test_librimix_is_read_as_written(tmp_path, n_sources, kind, tables):
    subset = tmp_path / f"Libri{n_sources}Mix" / "wav16k" / "min" / "test"
    written = write_folders(subset, n_sources)
    if tables:
        write_tables(subset)
    found = read_set(subset, mixture=kind)
    assert (len(found), found.sample_rate, found.n_sources) == (len(IDS), RATE, n_sources)
    assert ids(found) == sorted(IDS)
    for item, (mixture, sources) in zip(found.items, found, strict=True):
        expected = written[item.id]
        np.testing.assert_array_equal(mixture, expected[kind or "mix_both"])
        np.testing.assert_array_equal(sources, [expected[f"s{number}"] for number in range(1, n_sources + 1)])
        assert mixture.dtype == sources.dtype == np.float32
        rest = 0 if kind == "mix_clean" else soundfile.read(item.noise, dtype="float32")[0]
        np.testing.assert_array_equal(mixture, sources.sum(0) + rest)


def test_noise_belongs_to_the_mixtures_that_hold_it(tmp_path):
    write_folders(tmp_path)
    assert read_set(tmp_path, mixture="mix_clean").items[0].noise is None
    assert read_set(tmp_path, mixture="mix_both").items[0].noise == tmp_path / "noise" / f"{min(IDS)}.wav"


def test_a_single_mixture_has_one_source(tmp_path):
    written = write_folders(tmp_path)
    found = read_set(tmp_path, layout="wham", mixture="mix_single")
    assert found.n_sources == 1
    np.testing.assert_array_equal(found[0][1], [written[min(IDS)]["s1"]])


def test_the_only_mixtures_are_the_default(tmp_path):
    parts = signals(2, 0)
    for name in ("mix_clean", "s1", "s2"):
        write(tmp_path / name / "x.wav", {**parts, **mixtures_of(parts)}[name])
    assert read_set(tmp_path).items[0].mixture == tmp_path / "mix_clean" / "x.wav"


@pytest.mark.parametrize("n_sources", [2, 3])
def test_wsj0_mix_is_read_as_written(tmp_path, n_sources):
    subset = tmp_path / f"{n_sources}speakers" / "wav8k" / "min" / "tt"
    parts = signals(n_sources, 0)
    del parts["noise"]
    for name, samples in {**parts, "mix": sum(parts.values())}.items():
        write(subset / name / "x.wav", samples, 8000)
    write(subset / "mix" / "._x.wav", samples)
    found = read_set(subset)
    mixture, sources = found[0]
    assert (found.sample_rate, len(found), found.items[0].noise) == (8000, 1, None)
    np.testing.assert_array_equal(sources, list(parts.values()))
    np.testing.assert_array_equal(mixture, sources.sum(0))


@pytest.mark.parametrize(
    ("kind", "sources", "expected"),
    [
        (None, None, ("mix_both_reverb", "reverb")),
        (None, "anechoic", ("mix_both_reverb", "anechoic")),
        ("mix_clean_reverb", None, ("mix_clean_reverb", "reverb")),
        ("mix_clean_anechoic", None, ("mix_clean_anechoic", "anechoic")),
    ],
)
def test_whamr_is_read_as_written(tmp_path, kind, sources, expected):
    written = write_whamr(tmp_path)
    found = read_set(tmp_path, mixture=kind, sources=sources)
    mixture, truths = found[0]
    np.testing.assert_array_equal(mixture, written[expected[0]])
    np.testing.assert_array_equal(truths, [written[f"s{number}_{expected[1]}"] for number in (1, 2)])
    if kind:
        np.testing.assert_array_equal(mixture, truths.sum(0))
    assert (found.items[0].noise is None) == bool(kind)


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_our_own_sets_are_read_as_written(tmp_path, suffix):
    written = write_own(tmp_path, suffix=suffix)
    found = read_set(tmp_path)
    assert ids(found) == ["000000", "000001"]
    assert found.n_sources == 3
    assert [(item.overlap_ratio, item.speakers) for item in found.items] == [(0, ("a", "b")), (0.25, ("a", "b", "c"))]
    for item, files, (mixture, sources) in zip(found.items, written, found, strict=True):
        np.testing.assert_array_equal(mixture, files["mixture"])
        np.testing.assert_array_equal(sources, [files[f"source{number}"] for number in range(1, len(sources) + 1)])
        np.testing.assert_array_equal(mixture, sources.sum(0) + soundfile.read(item.noise, dtype="float32")[0])


def test_channels_are_averaged(tmp_path):
    write_folders(tmp_path)
    both = np.stack([np.full(N_SAMPLES, 0.25), np.full(N_SAMPLES, 0.75)], axis=1)
    write(tmp_path / "mix_both" / f"{min(IDS)}.wav", both)
    np.testing.assert_array_equal(read_set(tmp_path)[0][0], np.full(N_SAMPLES, 0.5))


def test_a_root_is_answered_with_its_subsets(tmp_path):
    for subset in ("dev", "test"):
        write_folders(tmp_path / "Libri2Mix" / "wav16k" / "min" / subset)
    with pytest.raises(
        CorpusError, match="one subset; give one of Libri2Mix/wav16k/min/dev, Libri2Mix/wav16k/min/test"
    ):
        read_set(tmp_path)
    with pytest.raises(CorpusError, match="give one of dev, test"):
        read_set(tmp_path / "Libri2Mix" / "wav16k" / "min")
    with pytest.raises(CorpusError, match=r"expected in it mix \(wsj0-mix\)"):
        read_set(tmp_path, layout="wsj0-mix")


def test_what_is_no_set_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="no such folder"):
        read_set(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"manifest.jsonl \(unbabble\), or mix_both or .* mix \(wsj0-mix\)"):
        read_set(tmp_path)
    with pytest.raises(CorpusError, match="no layout called 'other'; expected auto, unbabble, librimix"):
        read_set(tmp_path, layout="other")
    (tmp_path / "mix").mkdir()
    (tmp_path / "s1").mkdir()
    with pytest.raises(CorpusError, match=r"no mixtures in this set \(wsj0-mix\)"):
        read_set(tmp_path)


def test_unknown_mixtures_and_sources_are_answered_with_those_there(tmp_path):
    write_whamr(tmp_path / "whamr")
    write_own(tmp_path / "own")
    with pytest.raises(CorpusError, match=r"no mixtures mix_loud; .* there: mix_both_reverb, mix_clean_reverb"):
        read_set(tmp_path / "whamr", mixture="mix_loud")
    with pytest.raises(CorpusError, match=r"no sources s1_dry; .* there: s1_anechoic, s1_reverb"):
        read_set(tmp_path / "whamr", sources="dry")
    with pytest.raises(CorpusError, match="leave anechoic out"):
        read_set(tmp_path / "own", sources="anechoic")


@pytest.mark.parametrize("folder", ["s2", "noise"])
def test_a_mixture_without_one_of_its_files_is_refused(tmp_path, folder):
    write_folders(tmp_path)
    missing = tmp_path / folder / f"{IDS[0]}.wav"
    missing.unlink()
    with pytest.raises(CorpusError, match=f"{missing}: no such file; .* mixture {IDS[0]}"):
        read_set(tmp_path)


def test_a_file_that_the_manifest_names_is_missing(tmp_path):
    write_own(tmp_path)
    (tmp_path / "000001" / "source3.flac").unlink()
    with pytest.raises(CorpusError, match=r"000001/source3.flac: no such file"):
        read_set(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: no mixture .*Expecting"),
        ("[]", "line 1: no mixture"),
        ('{"id": "0"}', "line 1: no files"),
        ('{"id": "0", "files": {"mixture": "m.wav"}}', "line 1: no source1"),
        ('{"id": "0", "files": {"mixture": "m.wav", "source1": "1.wav"}, "speakers": ["a", "b"]}', "no source2"),
        ('{"id": "0", "files": {"mixture": 3}}', "line 1: no mixture"),
        ("", "no mixtures in this set"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_line(tmp_path, line, said):
    (tmp_path / "manifest.jsonl").write_text(f"{line}\n")
    with pytest.raises(CorpusError, match=said):
        read_set(tmp_path)


def test_lengths_and_rates_that_differ_are_refused_when_read(tmp_path):
    parts = write_folders(tmp_path)[IDS[0]]
    found = read_set(tmp_path)
    index = ids(found).index(IDS[0])
    source = write(tmp_path / "s2" / f"{IDS[0]}.wav", parts["s2"][:-1])
    with pytest.raises(CorpusError, match=rf"{source}: 299 samples, but its mixture .*mix_both.* has 300"):
        found[index]
    write(source, parts["s2"], 8000)
    with pytest.raises(CorpusError, match=f"{source}: sample rate 8000 Hz; expected 16000 Hz"):
        found[index]


def test_an_unreadable_file_is_an_audio_error(tmp_path):
    write_folders(tmp_path)
    found = read_set(tmp_path)
    found.items[1].sources[0].write_bytes(b"no sound")
    assert found[0][0].shape == (N_SAMPLES,)
    with pytest.raises(AudioError, match=str(found.items[1].sources[0])):
        found[1]
