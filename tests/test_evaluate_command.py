"""unbabble evaluate: files, going on after a stop, refusals, the page."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from conftest import RATE, REPO, exported, one_line_error, run, run_here
from test_sets_preview import Page
from typer.testing import CliRunner

from unbabble import Separator
from unbabble.cli import app
from unbabble.errors import CorpusError, ModelError, OutputError
from unbabble.evaluation.evaluate import Evaluator, evaluate
from unbabble.evaluation.metrics import score
from unbabble.evaluation.report import WORST, write_report
from unbabble.inference.devices import DEVICES, PROCESSOR, Device
from unbabble.mixing.recipe import MixtureRecipe, WeightedRecipe
from unbabble.networks.config import SisoOnlyDesign
from unbabble.sets.read import read_set
from unbabble.sets.simulate import simulate

COUNT = 8
QUICK = (WeightedRecipe(1.0, MixtureRecipe(duration_s=1.0)),)
MIXED = (WeightedRecipe(1.0, MixtureRecipe(duration_s=0.5, room=None, noise_snr_db=None, n_speakers=(1, 3))),)


@pytest.fixture(scope="module")
def small_set(corpora, tmp_path_factory) -> Path:
    """Mixtures of voices, which the diarizer hears, in rooms with noise; their gender is known."""
    folder = tmp_path_factory.mktemp("sets")
    rows = ["speaker,path,duration_s,gender"]
    for path in sorted((REPO / "examples" / "voices").rglob("*.flac")):
        speaker = path.parent.name
        rows.append(f"{speaker},{path.resolve()},{soundfile.info(path).duration},{speaker[1]}")
    (folder / "speech.csv").write_text("\n".join(rows) + "\n")
    simulate([folder / "speech.csv"], [corpora[1]], folder / "set", QUICK, count=COUNT)
    return folder / "set"


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "mixtures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_writes_tables_json_and_a_page(tiny_model, small_set, tmp_path):
    out = tmp_path / "scores"
    done = run("evaluate", tiny_model, small_set, "--out", out, "--metrics", "si_sdr,sdr", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert "| Overlap ratio | mixtures | SI-SDR | SI-SDRi | SDR | SDRi | overlooked |" in done.stdout
    assert done.stdout.startswith((out / "summary.md").read_text())
    rows = rows_of(out)
    assert [row["id"] for row in rows] == [f"{number:06d}" for number in range(COUNT)]

    facts = [json.loads(line) for line in (small_set / "manifest.jsonl").read_text().splitlines()]
    mixtures, separator = read_set(small_set), Separator(tiny_model, threads=1)
    for number in (0, COUNT - 1):
        mixture, sources = mixtures[number]
        assert separator(mixture, RATE).any()
        for name, value in score(separator(mixture, RATE), sources, mixture, RATE, ("si_sdr", "sdr")).items():
            assert float(rows[number][name]) == pytest.approx(value, abs=1e-3)
        for fact in ("overlap_ratio", "t60_s", "noise_snr_db"):
            assert float(rows[number][fact]) == pytest.approx(facts[number][fact], abs=1e-4)
        assert rows[number]["genders"] == ("same" if len(set(facts[number]["genders"])) == 1 else "different")

    summary = json.loads((out / "summary.json").read_text())
    assert summary["count"] == COUNT
    assert summary["average"]["si_sdri"]["mean"] == pytest.approx(
        np.mean([float(row["si_sdri"]) for row in rows]), abs=1e-6
    )
    assert summary["macs_per_second"] > 0
    assert summary["real_time_factor"] > 0
    for key in ("by_overlap", "by_t60", "by_noise_snr", "by_gender"):
        assert sum(group["count"] for group in summary[key].values()) == COUNT


def test_the_network_alone_is_scored_on_what_it_gives(tiny_model, small_set, tmp_path):
    mixtures = read_set(small_set)
    found = evaluate(tiny_model, mixtures, tmp_path / "scores", network_only=True)
    engine = Separator(tiny_model).engine
    for (mixture, sources), result in zip((mixtures[number] for number in range(COUNT)), found.results, strict=True):
        expected = score(engine(mixture[None])[0], sources, mixture, RATE)
        assert result.scores["si_sdr"] == pytest.approx(expected["si_sdr"], abs=1e-3)
    with pytest.raises(OutputError):  # other results than with the diarizer
        evaluate(tiny_model, mixtures, tmp_path / "scores")


def test_threads_of_the_caller_are_left_as_they_are(tiny_model, small_set, tmp_path):
    torch.set_num_threads(2)
    try:
        evaluate(tiny_model, read_set(small_set), tmp_path / "scores", limit=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_page_is_whole_and_needs_nothing_else(tiny_model, small_set, tmp_path):
    found = evaluate(tiny_model, read_set(small_set), tmp_path, name="<set>", limit=6)
    path = write_report(found, tmp_path)[-1]
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert not page.astray
    assert not page.open
    assert "://" not in html  # which no signal has: their letters may be those of http
    assert len(page.all("audio")) == len(page.all("img")) == WORST * 5
    assert len(page.all("circle")) == 6 + len(found.tables[0].groups) - 1
    gains = {one.id: one.scores["si_sdri"] for one in found.results}
    heard = [one for one in page.text.split() if one in gains]
    assert heard[-WORST:] == sorted(gains, key=gains.get)[:WORST]
    assert "<set>" not in html


def test_a_stopped_run_goes_on_and_ends_the_same(tiny_model, small_set, tmp_path):
    mixtures = read_set(small_set)
    whole = evaluate(tiny_model, mixtures, tmp_path / "whole")
    part = evaluate(tiny_model, mixtures, tmp_path / "part", limit=3)
    assert len(part.results) == 3
    table = tmp_path / "part" / "mixtures.csv"
    table.write_bytes(table.read_bytes()[:-9])  # killed while the third was written
    again = evaluate(tiny_model, mixtures, tmp_path / "part")
    assert again.results == whole.results
    assert again.tables == whole.tables
    assert table.read_bytes() == (tmp_path / "whole" / "mixtures.csv").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_a_killed_command_goes_on_where_it_was(tiny_model, small_set, tmp_path):
    arguments = ["evaluate", tiny_model, small_set, "--out", tmp_path, "--metrics", "si_sdr"]
    process = subprocess.Popen([sys.executable, "-m", "unbabble", *map(str, arguments)])
    table = tmp_path / "mixtures.csv"
    while process.poll() is None and not (table.exists() and table.read_bytes().count(b"\n") > 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = table.read_bytes()
    evaluate(tiny_model, read_set(small_set), tmp_path)
    assert table.read_bytes().startswith(there[: there.rfind(b"\n")])
    assert len(rows_of(tmp_path)) == COUNT


def test_a_folder_of_another_origin_is_refused(tiny_model, tiny_siso_only_model, small_set, tmp_path):
    mixtures, out = read_set(small_set), tmp_path / "scores"
    evaluate(tiny_model, mixtures, out, limit=1)
    origin = (out / "origin.json").read_text()
    (out / "origin.json").write_text(origin.replace('"diarizer"', '"listener"'))  # as it was called
    evaluate(tiny_model, mixtures, out, limit=1)
    before = (out / "mixtures.csv").read_bytes()
    changes = (tiny_siso_only_model, ("si_sdr",), "model"), (tiny_model, ("si_sdr", "sdr"), "metrics")
    for model, metrics, other in changes:
        with pytest.raises(OutputError, match=f"holds scores .* with other {other}"):
            evaluate(model, mixtures, out, metrics=metrics)
    other = tmp_path / "other"
    shutil.copytree(small_set, other)
    path = other / "000000" / "mixture.flac"
    soundfile.write(path, 0.5 * soundfile.read(path)[0], RATE)
    with pytest.raises(OutputError, match="with other mixtures"):
        evaluate(tiny_model, read_set(other), out)
    assert (out / "mixtures.csv").read_bytes() == before
    (out / "origin.json").unlink()
    with pytest.raises(OutputError, match="from elsewhere"):
        evaluate(tiny_model, mixtures, out)


def test_sets_of_several_numbers_of_speakers(tiny_model, corpora, tmp_path):
    simulate([corpora[0]], [], tmp_path / "set", MIXED, count=9, seed=1)
    mixtures = read_set(tmp_path / "set")
    with pytest.raises(CorpusError, match="--speakers"):
        evaluate(tiny_model, mixtures, tmp_path / "fixed")
    found = evaluate(tiny_model, mixtures, tmp_path / "fixed", speakers=2)
    assert {one.n_sources for one in found.results} == {2}
    assert {table.key for table in found.tables} == {"overlap"}
    any_number = exported(tmp_path / "c", SisoOnlyDesign(1, 1))
    found = evaluate(any_number, mixtures, tmp_path / "any")
    assert [one.n_sources for one in found.results] == [len(item.sources) for item in mixtures.items]
    with pytest.raises(CorpusError, match="no mixtures of 7 speakers"):
        evaluate(any_number, mixtures, tmp_path / "none", speakers=7)


def written_set(folder: Path, names: list[str], seconds: float = 1.0) -> Path:
    """Mixtures of noise as LibriMix lays them out."""
    rng = np.random.default_rng(0)
    for name in names:
        sources = 0.1 * rng.standard_normal((2, round(seconds * RATE)))
        for part, samples in zip(("mix_clean", "s1", "s2"), (sources.sum(0), *sources), strict=True):
            (folder / part).mkdir(parents=True, exist_ok=True)
            with (folder / part / f"{name}.wav").open("wb") as file:  # soundfile takes no undecodable names
                soundfile.write(file, samples, RATE, subtype="FLOAT", format="WAV")
    return folder


def test_a_set_of_another_layout_whose_overlap_is_measured_and_a_silent_source(tiny_model, tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        sources = 0.1 * rng.standard_normal((2, RATE))
        sources[1, : RATE // 2] = 0
        sources[1] *= name == "a"
        for folder, signal_ in zip(("mix_clean", "s1", "s2"), (sources.sum(0), *sources), strict=True):
            path = tmp_path / "test" / folder / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, signal_, RATE, subtype="FLOAT")
    found = evaluate(tiny_model, read_set(tmp_path / "test"), tmp_path / "out")
    assert found.results[0].overlap_ratio == pytest.approx(0.75, abs=0.02)  # half of one, all of the other
    assert found.n_unscored == 1
    write_report(found, tmp_path / "out")
    assert "a talker is silent): 1" in (tmp_path / "out" / "summary.md").read_text()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["unscored"] == 1


@pytest.mark.parametrize("harm", ["cut", "nan", "short", "text"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_bad_mixture_is_named_and_left_out(harm, number, tiny_model, tmp_path):
    folder = written_set(tmp_path / "set", list("abc"))
    path = folder / ("mix_clean" if harm == "text" else "s2") / f"{'abc'[number]}.wav"
    whole, samples = path.read_bytes(), soundfile.read(path)[0]
    if harm == "cut":
        path.write_bytes(whole[:20])
    elif harm == "text":
        path.write_text("not sound")
    else:
        samples[100] = np.nan if harm == "nan" else 0
        soundfile.write(path, samples[: -1 if harm == "short" else None], RATE, subtype="FLOAT")
    out = tmp_path / "out"
    done = run_here("evaluate", tiny_model, folder, "--out", out, "--metrics", "si_sdr")
    assert done.returncode == 1
    assert [str(path) in line for line in done.stderr.splitlines() if line.startswith("error")] == [True]
    assert [row["id"] for row in rows_of(out)] == [name for name in "abc" if name != "abc"[number]]
    assert json.loads((out / "summary.json").read_text())["unreadable"] == 1
    assert "cannot be read: 1" in (out / "summary.md").read_text()
    path.write_bytes(whole)
    assert len(evaluate(tiny_model, read_set(folder), tmp_path / "again").results) == 3


def test_a_set_of_which_nothing_can_be_read_is_refused(tiny_model, tmp_path):
    folder = written_set(tmp_path / "set", ["a", "b"])
    for name in "ab":
        (folder / "s1" / f"{name}.wav").write_text("not sound")
    with pytest.raises(CorpusError, match=r"no mixture of 2 can be read; the first: .*a\.wav"):
        evaluate(tiny_model, read_set(folder), tmp_path / "out")


def test_what_a_model_makes_of_a_mixture_is_never_left_out(tiny_model, tmp_path, monkeypatch):
    folder = written_set(tmp_path / "set", ["a", "b"])
    monkeypatch.setattr(Evaluator, "estimate", lambda *_: np.full((2, RATE), np.nan, np.float32))
    with pytest.raises(ModelError, match="not numbers"):
        evaluate(tiny_model, read_set(folder), tmp_path / "out")
    assert rows_of(tmp_path / "out") == []


def test_mixtures_of_ten_milliseconds_are_scored(tiny_model, tmp_path):
    pytest.importorskip("pystoi")
    folder, out = written_set(tmp_path / "set", ["a"], seconds=0.01), tmp_path / "out"
    done = run_here("evaluate", tiny_model, folder, "--out", out, "--network-only", "--metrics", "stoi")
    assert done.returncode == 0, done.stderr
    assert (rows_of(out)[0]["stoi"], rows_of(out)[0]["si_sdr"] != "") == ("", True)


def test_names_of_files_break_neither_table_nor_page(tiny_model, tmp_path):
    names = ["=1+1", "-a", "'b", "c\nd", "c\\nd", 'e,"f', "g|<i>h", "\udce9"]
    folder, out = written_set(tmp_path / "a <b>|*c*\udce9", names), tmp_path / "out"
    mixtures = read_set(folder)
    evaluate(tiny_model, mixtures, out, limit=4)
    found = evaluate(tiny_model, mixtures, out, name=folder.name)
    assert len(found.results) == len({one.id for one in found.results}) == len(names)
    lines = (out / "mixtures.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(names)
    assert not [row["id"] for row in rows_of(out) if row["id"][0] in "=-+@"]
    write_report(found, out)
    first = (out / "summary.md").read_text(encoding="utf-8").splitlines()[0]
    assert first.endswith(r"on a \<b\>\|\*c\*\\udce9")


def test_wrong_options_are_named(tiny_model, small_set, tmp_path):
    arguments = ["evaluate", str(tiny_model), str(small_set), "--out", str(tmp_path / "out")]
    for option, value, part in (
        ("--metrics", "si_sdr,snr", "no metric called 'snr'"),
        ("--bins", "half", "0.25,0.5"),
    ):
        done = CliRunner().invoke(app, [*arguments, option, value])
        assert done.exit_code == 2
        assert part in " ".join(done.output.split())


def test_the_device_runs_the_networks_and_a_missing_one_is_told_at_once(tiny_model, small_set, tmp_path, monkeypatch):
    command = ("evaluate", tiny_model, small_set, "--out", tmp_path / "out", "--metrics", "si_sdr")
    missing = run_here(*command, "--device", "directml")
    one_line_error(missing, "device directml: ", "pip install onnxruntime-directml")
    assert not (tmp_path / "out").exists()
    expected = evaluate(tiny_model, read_set(small_set), tmp_path / "cpu", limit=2, device="cpu")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", PROCESSOR.provider])
    monkeypatch.setitem(DEVICES, "cuda", Device("cuda", PROCESSOR.provider, "nothing", at_once=4))
    found = evaluate(tiny_model, read_set(small_set), tmp_path / "gpu", limit=2, device="cuda")
    assert found.evaluator._separator.engine.device is DEVICES["cuda"]
    for one, other in zip(found.results, expected.results, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-2)
