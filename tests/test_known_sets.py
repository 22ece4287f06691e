"""LibriCSS as it lies on disk, recipes for known sets, and the table of a model on them."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import REPO
from test_sets_read import write, write_folders, write_whamr

from unbabble.errors import AudioError, CorpusError
from unbabble.sets.read import read_set
from unbabble.training.recipe import read_recipe

RATE = 16000
SESSION = "overlap_ratio_40.0_sil0.1_1.0_session3_actual40.2"
TIMES = (  # start, end, talker: a pair, one alone, three in a chain, and a pair of which one talks twice
    *((0.25, 0.75, "61"), (0.5, 1.0, "908"), (1.25, 1.5, "61")),
    *((2.0, 2.5, "61"), (2.25, 2.75, "908"), (2.625, 3.0, "121")),
    *((4.5, 4.75, "908"), (3.5, 4.0, "908"), (3.875, 4.625, "121")),
)
CHANNELS = {"61": 2, "121": 0, "908": 1}  # of which the corpus does not tell


def write_session(folder: Path) -> np.ndarray:
    """A session of five seconds; returns its channels (talkers, samples)."""
    rng, talkers = np.random.default_rng(0), np.zeros((3, 5 * RATE), np.float32)
    lines = ["start_time\tend_time\tspeaker\tutterance_id\ttranscription"]
    for start, end, speaker in TIMES:
        inside = slice(round(start * RATE), round(end * RATE))
        talkers[CHANNELS[speaker], inside] = rng.integers(1, 200, inside.stop - inside.start) / 4096
        lines.append(f"{start}\t{end}\t{speaker}\t{speaker}-1-0001\tWORDS THAT ARE SAID")
    write(folder / "clean" / "each_spk.wav", talkers.T)
    write(folder / "clean" / "mix.wav", talkers.sum(0))
    (folder / "transcription").mkdir()
    (folder / "transcription" / "meeting_info.txt").write_text("\n".join(lines) + "\n")
    return talkers


def test_libricss_gives_the_stretches_in_which_two_overlap(tmp_path):
    talkers = write_session(tmp_path / "OV40" / SESSION)
    found = read_set(tmp_path / "OV40")
    assert [item.id for item in found.items] == ["session3_000", "session3_003"]
    assert [item.speakers for item in found.items] == [("61", "908"), ("121", "908")]
    assert [item.overlap_ratio for item in found.items] == pytest.approx([0.5, (0.25 / 0.75 + 0.25 / 0.75) / 2])
    assert (found.sample_rate, found.n_sources) == (RATE, 2)
    for (mixture, sources), (start, stop), channels in zip(
        found, ((0.25, 1.0), (3.5, 4.75)), ((1, 2), (0, 1)), strict=True
    ):
        inside = slice(round(start * RATE), round(stop * RATE))
        np.testing.assert_array_equal(sources, talkers[list(channels), inside])
        np.testing.assert_array_equal(mixture, sources.sum(0))


def test_libricss_that_is_not_as_it_says_is_told(tmp_path):
    session = tmp_path / "OV40" / SESSION
    talkers = write_session(session)
    with pytest.raises(CorpusError, match="one kind of mixtures"):
        read_set(tmp_path / "OV40", mixture="mix_clean")
    with pytest.raises(CorpusError, match=r"expected one subset; give one of OV40"):
        read_set(tmp_path)
    talkers[2] = 0
    write(session / "clean" / "each_spk.wav", talkers.T)
    with pytest.raises(CorpusError, match=r"each_spk\.wav: 1 channels have speech .* expected 2, those of 61, 908"):
        read_set(tmp_path / "OV40")[0]
    write(session / "clean" / "mix.wav", talkers.sum(0)[:100])
    with pytest.raises(CorpusError, match=r"mix\.wav: .* shorter than its session"):
        read_set(tmp_path / "OV40")[1]
    (session / "clean" / "each_spk.wav").write_bytes(b"no sound")
    with pytest.raises((CorpusError, AudioError)):
        read_set(tmp_path / "OV40")[1]
    (session / "transcription" / "meeting_info.txt").write_text("start\nsoon\tlater\t61\n")
    with pytest.raises(CorpusError, match=r"meeting_info\.txt: not the times of a session"):
        read_set(tmp_path / "OV40")


def known_sets():
    """The benchmark, as a module."""
    spec = importlib.util.spec_from_file_location("known_sets", REPO / "benchmarks" / "known_sets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["libri2mix", "libri3mix", "wsj0-2mix", "wham", "whamr"])
def test_recipes_for_known_sets_are_recipes(name):
    recipe = read_recipe(REPO / "recipes" / f"{name}.yaml")
    assert recipe.model.name == name
    assert recipe.data.train_set.folder != recipe.data.valid_set.folder
    assert recipe.network.n_sources == (3 if name == "libri3mix" else 2)


def test_the_table_has_what_was_run_and_says_what_was_not(tmp_path, tiny_model, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    subset = tmp_path / "Libri2Mix" / "wav16k" / "min" / "test"
    sources = 0.1 * rng.standard_normal((2, RATE))
    for name, samples in {"s1": sources[0], "s2": sources[1], "mix_clean": sources.sum(0)}.items():
        write(subset / name / "61-70968-0000_8455-210777-0012.wav", samples)
    write_folders(tmp_path / "Libri3Mix" / "wav16k" / "min" / "test", 3)
    write_whamr(tmp_path / "whamr" / "wav8k" / "min" / "tt")
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- table: benchmarks/known_sets.py -->\nold\n<!-- end -->\nAfter.\n")
    flags = {"--out": "results", "--page": "page.md", "--libri2mix": "Libri2Mix", "--libri3mix": "Libri3Mix"}
    arguments = [
        part for flag, name in {**flags, "--whamr": "whamr"}.items() for part in (flag, str(tmp_path / name))
    ]
    monkeypatch.setattr(sys, "argv", ["known_sets.py", str(tiny_model), *arguments])
    with pytest.raises(SystemExit) as end:
        known_sets().main()
    assert end.value.code == 1
    done = capsys.readouterr()
    told = done.err.splitlines()
    assert [line.split(":")[1].strip() for line in told] == [
        "Libri2Mix, noisy",
        "Libri3Mix, clean",
        "Libri3Mix, noisy",
        "WHAMR!",
    ], told
    assert "no mixtures mix_both" in told[0]
    assert "mixtures of 3 speakers, but model tiny gives 2" in told[1]
    assert "no such folder" in told[3]
    before, table, after = page.read_text().partition(done.out)
    assert before.startswith("Before.\n<!-- table")
    assert after.endswith("<!-- end -->\nAfter.\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    average = json.loads((tmp_path / "results" / "libri2mix--clean" / "summary.json").read_text())["average"]
    assert rows[0][:3] == ["Libri2Mix, clean", "tiny 1", "1"]
    assert rows[0][3].startswith(f"{average['si_sdr']['mean']:.1f} [")
    assert {row[1] for row in rows[1:]} == {"not run"}
    assert soundfile.info(subset / "s1" / "61-70968-0000_8455-210777-0012.wav").samplerate == RATE


def test_the_page_has_the_rows_of_the_table(tmp_path):
    rows = known_sets().as_table(tmp_path).splitlines()
    page = (REPO / "docs" / "results" / "known-sets.md").read_text()
    shown = [line.split("|")[1] for line in page.splitlines() if line.startswith("|")]
    assert shown == [line.split("|")[1] for line in rows]
