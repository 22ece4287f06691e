"""Sets of mixtures on disk: the same however they are made, whole, and read back."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from conftest import RATE, one_line_error, run_here

from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import OutputError
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import MixtureRecipe, WeightedRecipe, paper_mixtures
from unbabble.sets import write
from unbabble.sets.read import read_set
from unbabble.sets.simulate import simulate

QUICK = (WeightedRecipe(1.0, MixtureRecipe(duration_s=0.5, room=None, n_speakers=(1, 3))),)


def files_of(folder: Path) -> dict[str, bytes]:
    """All but what the scan remembers."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "scan" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture
def quick_recipe(tmp_path):
    path = tmp_path / "quick.yaml"
    parts = [{"weight": 1, "recipe": {"duration_s": 0.5, "room": None, "n_speakers": [1, 3]}}]
    path.write_text(yaml.safe_dump({"mixtures": parts}))
    return path


def test_sets_are_the_same_for_any_number_of_jobs_and_item_37_by_itself(corpora, tmp_path):
    for jobs in (1, 4):
        simulate([corpora[0]], [corpora[1]], tmp_path / str(jobs), QUICK, count=40, seed=9, jobs=jobs, dry=True)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "4")
    heard = scan_corpora([corpora[0]], [corpora[1]])
    alone = Mixer(heard.speech, heard.noise, QUICK, DecodedAudio(RATE), 9)(37)
    soundfile.write(tmp_path / "37.flac", alone.mixture, RATE, subtype="PCM_24")
    assert (tmp_path / "37.flac").read_bytes() == (tmp_path / "1" / "000037" / "mixture.flac").read_bytes()


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_a_set_holds_signals_facts_and_tables(corpora, tmp_path, audio_format):
    simulate([corpora[0]], [corpora[1]], tmp_path / "set", paper_mixtures(), count=3, audio_format=audio_format)
    rows = rows_of(tmp_path / "set")
    assert [row["id"] for row in rows] == ["000000", "000001", "000002"]
    with (tmp_path / "set" / "manifest.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    for row, line in zip(rows, table, strict=True):
        signals = {kind: soundfile.read(tmp_path / "set" / path)[0] for kind, path in row["files"].items()}
        assert set(signals) == {"mixture", "source1", "source2", "noise"}
        assert all(Path(path).suffix == f".{audio_format}" for path in row["files"].values())
        total = signals["source1"] + signals["source2"] + signals["noise"]
        np.testing.assert_allclose(signals["mixture"], total, atol=1e-5)
        assert line["id"] == row["id"]
        assert line["mixture"] == row["files"]["mixture"]
        assert json.loads(line["speakers"]) == row["speakers"]
        assert float(line["overlap_ratio"]) == row["overlap_ratio"]
        assert float(line["t60_s"]) == row["t60_s"]
        assert json.loads(line["levels_db"]) == row["levels_db"]


def test_a_set_is_read_back_as_it_was_made(corpora, tmp_path):
    simulate([corpora[0]], [corpora[1]], tmp_path, QUICK, count=10)
    found = read_set(tmp_path)
    assert (len(found), found.sample_rate, found.n_sources) == (10, RATE, 3)
    for index, row in enumerate(rows_of(tmp_path)):
        mixture, sources = found[index]
        assert sources.shape == (len(row["speakers"]), mixture.size)
        assert found.items[index].overlap_ratio == row["overlap_ratio"]


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(corpora, tmp_path, quick_recipe):
    settings = ["--speech", corpora[0], "--noise", corpora[1], "--recipe", quick_recipe, "--count", 200]
    assert run_here("simulate", *settings, "--out", tmp_path / "whole").returncode == 0
    command = [sys.executable, "-m", "unbabble", "simulate", *map(str, settings), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (tmp_path / "out" / "000005").exists() and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = [path for path in (tmp_path / "out").iterdir() if path.name.isdigit()]
    assert 5 < len(done) < 200
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    first = (tmp_path / "out" / "000002").stat().st_mtime_ns
    assert run_here("simulate", *settings, "--out", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / "000002").stat().st_mtime_ns == first  # not made again
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    code = "import os, sys, time\nfrom unbabble.base.parallel import in_parallel\n"
    code += "def work(number):\n    os.write(1, b'%d\\n' % os.getpid())\n    time.sleep(60)\n"
    code += "if __name__ == '__main__':\n    list(in_parallel(work, range(2), 2))\n"
    (tmp_path / "program.py").write_text(code)
    process = subprocess.Popen([sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, text=True)
    workers = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait()
    until = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, workers))


def alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_more_can_be_added_but_nothing_of_another_kind(corpora, tmp_path):
    def make(count, **changed):
        return simulate([corpora[0]], [corpora[1]], tmp_path / "set", QUICK, count=count, **changed)

    make(2)
    make(3)
    assert len(rows_of(tmp_path / "set")) == 3
    for other, changed in (("seed", {"seed": 1}), ("format", {"audio_format": "wav"}), ("dry", {"dry": True})):
        with pytest.raises(OutputError, match=f"holds mixtures .* with other {other}"):
            make(3, **changed)
    (tmp_path / "other" / "000001").mkdir(parents=True)
    with pytest.raises(OutputError, match="000001: is there already, from elsewhere"):
        simulate([corpora[0]], [corpora[1]], tmp_path / "other", QUICK, count=3)


@pytest.mark.parametrize("text", ["", "[" * 200 + "]" * 200])
def test_facts_that_are_none_are_told(corpora, tmp_path, text):
    simulate([corpora[0]], [corpora[1]], tmp_path, QUICK, count=2)
    (tmp_path / "000001" / "facts.json").write_text(text)
    with pytest.raises(OutputError, match=r"000001/facts\.json: not the facts of a mixture .*; remove the folder"):
        simulate([corpora[0]], [corpora[1]], tmp_path, QUICK, count=2)


def test_what_the_disk_cannot_hold_is_not_begun(corpora, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(write.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(OutputError, match=r"500 mixtures need about \d\d MB, but 1 MB are free"):
        simulate([corpora[0]], [corpora[1]], tmp_path / "set", QUICK, count=500)
    assert not list((tmp_path / "set").glob("0*"))
    simulate([corpora[0]], [corpora[1]], tmp_path / "set", QUICK, count=3)


def test_unreadable_recordings_are_named_and_left_out(corpora, tmp_path):
    shutil.copytree(corpora[0], tmp_path / "speech")
    (tmp_path / "speech" / "ann" / "words.wav").write_text("not audio")
    out = tmp_path / "out"
    done = run_here("simulate", "--speech", tmp_path / "speech", "--noise", corpora[1], "--out", out, "--count", 1)
    assert done.returncode == 0, done.stderr
    assert "note: left out: " in done.stderr
    assert "words.wav" in done.stderr
    assert len(rows_of(out)) == 1


def test_the_program_says_what_is_wrong(corpora, tmp_path, quick_recipe):
    out = tmp_path / "out"
    done = run_here("simulate", "--speech", tmp_path / "none", "--out", out, "--count", 3)
    assert done.returncode == 1
    one_line_error(done, "none: no such folder")
    assert run_here("simulate", "--speech", corpora[0], "--out", out).returncode == 2
    assert run_here("simulate", "--speech", corpora[0], "--out", out, "--count", 1, "--format", "mp3").returncode == 2
    lonely = tmp_path / "lonely"
    shutil.copytree(corpora[0] / "ann", lonely / "ann")
    done = run_here("simulate", "--speech", lonely, "--noise", corpora[1], "--out", out, "--count", 1)
    assert done.returncode == 1
    one_line_error(done, "need 2 speakers, but there is only ann")


def test_a_corpus_and_rooms_can_be_made_first(corpora, tmp_path, quick_recipe):
    speech, out = tmp_path / "speech.jsonl", tmp_path / "out"
    done = run_here("corpus", corpora[0], "--out", speech)
    assert done.stdout.strip() == f"{speech}: 3 speakers, 6 recordings, 0.0 h"
    parts = [{"weight": 1, "recipe": {"duration_s": 0.5, "room": {"length_m": [3, 4], "t60_s": [0.1, 0.2]}}}]
    (tmp_path / "roomy.yaml").write_text(yaml.safe_dump({"mixtures": parts}))
    rooms = ["--recipe", tmp_path / "roomy.yaml"]
    assert run_here("rooms", *rooms, "--count", 4, "--out", tmp_path / "rooms.npz").returncode == 0
    mixtures = ["--speech", speech, "--noise", corpora[1], "--out", out, "--count", 6]
    done = run_here("simulate", *mixtures, *rooms, "--rooms", tmp_path / "rooms.npz")
    assert done.returncode == 0, done.stderr
    sizes = {tuple(row["room_size_m"]) for row in rows_of(out)}
    assert 1 < len(sizes) <= 4
    done = run_here("simulate", *mixtures, "--recipe", quick_recipe, "--rooms", tmp_path / "rooms.npz")
    assert done.returncode == 1
    one_line_error(done, "the mixtures have 0")


def test_a_manifest_names_unreadable_files_and_ends_with_1(corpora, tmp_path):
    shutil.copytree(corpora[0], tmp_path / "speech")
    (tmp_path / "speech" / "ann" / "words.wav").write_text("not audio")
    done = run_here("corpus", tmp_path / "speech", "--out", tmp_path / "speech.csv")
    assert done.returncode == 1
    one_line_error(done, "words.wav")
    assert len((tmp_path / "speech.csv").read_text().splitlines()) == 7
