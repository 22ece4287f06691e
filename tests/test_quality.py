"""The benchmark that fills a model's card."""

import argparse
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import RATE, REPO
from talkers import assert_separated, talk

from unbabble import Separator
from unbabble.audio.filters import high_passed
from unbabble.corpora.corpus import Corpus, Recording
from unbabble.evaluation.metrics import LIMIT_DB
from unbabble.inference.model_folder import open_model
from unbabble.mixing.plan import Plan
from unbabble.mixing.recipe import MixtureRecipe, WeightedRecipe
from unbabble.mixing.render import Mixture
from unbabble.sets.simulate import simulate

LEFT_OUT = "cyd"  # of the split


@pytest.fixture
def benchmark(monkeypatch):
    """A module of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    return importlib.import_module


@pytest.fixture
def inputs(corpora, tmp_path) -> list:
    """The options that name two corpora, noise, a split without one of the speakers, and a list of mixtures."""
    more, splits = tmp_path / "more", tmp_path / "splits.json"
    for folder in corpora[0].iterdir():
        shutil.copytree(folder, more / f"{folder.name}2")
    splits.write_text(json.dumps({"test": {"all": ["ann", "bob", "ann2", "bob2", "cyd2", "hum", "rain"]}}))
    quick = (WeightedRecipe(1.0, MixtureRecipe(duration_s=1.0)),)
    simulate([corpora[0]], [corpora[1]], tmp_path / "set", quick, count=5)
    genders = tmp_path / "genders.json"
    genders.write_text(json.dumps({"ann": "f", "bob": "f", "ann2": "f", "bob2": "f", "cyd2": "f"}))
    named = {"--noise": corpora[1], "--splits": splits, "--list": tmp_path / "set" / "manifest.jsonl"}
    named |= {"--genders": genders, "--music": corpora[1]}
    return ["--speech", corpora[0], "--speech", more, *(part for option in named.items() for part in option)]


def tried(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, REPO / "benchmarks" / "quality.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def quality(*arguments) -> str:
    """What the program prints."""
    done = tried(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_one_command_fills_the_whole_card_and_a_part_can_be_measured_again(tiny_model, inputs, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    small = ["--model", model, *inputs, "--count", 3, "--minutes", 0.1, "--card"]
    printed = quality(*small, "--json", tmp_path / "figures.json", "--jobs", 2)
    scores = open_model(model).card["scores"]
    about = scores.pop("about")
    assert "made_worse" in about
    assert "diarizer" in about
    assert json.loads((tmp_path / "figures.json").read_text()) == scores

    rows = {name: part["rows"] for name, part in scores.items()}
    beside = ["two women", "mixture on both", "mixture + silence"]
    assert {name: list(of_part) for name, of_part in rows.items()} == {
        "paper": ["all", *beside, "speech", "more"],
        "replayed": ["manifest", *beside],
        "clean": ["all", *beside, "speech", "more"],
        "coded": ["as they are", *beside, "telephone", "MP3, 32 kbit/s", "Opus, 16 kbit/s"],
        "alone": ["one talker, clean", "one talker, room and noise", "nobody, room and noise"],
        "music": ["two talkers over it", *beside, "nothing else"],
        "conversations": ["clean", *beside, "rooms and noise"],
    }
    for part in ("paper", "replayed", "clean", "coded"):
        both, muted = rows[part]["mixture on both"], rows[part]["mixture + silence"]
        assert both["si_sdri"]["mean"] == muted["si_sdri"]["mean"] == 0
        assert both["si_sdr"] == muted["si_sdr"]
        assert (both["overlooked"]["mean"], muted["overlooked"]["mean"]) == (0, 0.5)
    assert list(rows["music"]["nothing else"]) == ["count", "count_accuracy"]
    assert rows["conversations"]["mixture on both"]["on_own_track"]["mean"] == 0
    assert all((part["split"], part["seed"]) == ("test", 0) for part in scores.values())
    assert [rows["paper"][name]["speakers"] for name in ("all", "speech", "more")] == [5, 2, 3]
    assert [row["count"] for row in rows["clean"].values()] == [3, 3, 3, 3, 1, 1]
    assert list(rows["clean"]["all"]["by_overlap"]) == [">75 %"]
    listed = [json.loads(line) for line in (tmp_path / "set" / "manifest.jsonl").read_text().splitlines()]
    kept = [row for row in listed if LEFT_OUT not in row["speakers"]]
    assert 0 < rows["replayed"]["manifest"]["count"] == min(3, len(kept)) < len(listed)
    for row in (row for name in ("paper", "replayed", "clean", "coded") for row in rows[name].values()):
        assert sum(inside["count"] for inside in row["by_overlap"].values()) == row["count"]
        assert row["si_sdr"]["low"] <= row["si_sdr"]["mean"] <= row["si_sdr"]["high"]
    for row in rows["conversations"].values():
        assert 0 <= row["on_own_track"]["mean"] <= 1
    first = rows["paper"]["all"]["si_sdri"]
    assert f"| all | 5 | 3 | {rows['paper']['all']['si_sdr']['mean']:.1f} [" in printed
    assert f"| {first['mean']:.1f} [{first['low']:.1f}, {first['high']:.1f}] |" in printed

    quality(*small, "--only", "clean", "--jobs", 1)
    assert open_model(model).card["scores"] == {"about": about, **scores}  # whatever the number of processes
    quality(*small, "--only", "clean", "--seed", 1)
    again = open_model(model).card["scores"]
    assert again.pop("clean")["seed"] == 1
    assert again == {"about": about, **{name: part for name, part in scores.items() if name != "clean"}}


def test_what_is_wrong_is_told_in_one_line(inputs, corpora, tmp_path):
    done = tried("--speech", corpora[0], "--card")
    assert (done.returncode, "--card needs --splits" in done.stderr) == (2, True)
    done = tried(*inputs, "--model", tmp_path)
    assert (done.returncode, done.stderr.startswith(f"error: {tmp_path}: not a model folder")) == (1, True)


@pytest.mark.parametrize("seconds", [4.0, 13.0])  # a window of the model, and several
def test_recordings_are_separated_as_by_a_separator(benchmark, oracle, seconds):
    separator = Separator(**oracle, threads=1)
    sources = talk(RATE)[:, : round(seconds * RATE)]
    mixture = sources.sum(0)
    tracks, network, n_heard = benchmark("trials").separate(mixture, separator)
    assert_separated(tracks, sources)
    np.testing.assert_array_equal(tracks, separator(mixture, RATE))
    assert n_heard == 2
    np.testing.assert_array_equal(network, separator.engine(high_passed(mixture, RATE)[np.newaxis])[0])


def test_scores_of_known_tracks(benchmark, tiny_model, monkeypatch):
    trials, separator = benchmark("trials"), Separator(tiny_model)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, RATE)).astype(np.float32)

    def found(judge, sources, tracks, n_heard):
        monkeypatch.setattr(trials, "separate", lambda *_: (tracks, sources, n_heard))
        plan = Plan(sample_rate=RATE, n_samples=RATE, talkers=())
        return judge(Mixture(sources.sum(0), sources, noise[0], sources, noise[0], plan), separator)

    mixture = np.stack([noise.sum(0)] * 2)
    both = found(trials.two_talkers, noise, noise[::-1] + 0.1 * mixture, 2)
    assert both["si_sdr"] == pytest.approx(20 * np.log10(11), abs=0.1)
    assert both["network_si_sdr"] == LIMIT_DB
    assert both["made_worse"] == 0
    assert both["count_accuracy"] == 1
    assert found(trials.two_talkers, noise, mixture[:, ::-1].copy(), 1)["made_worse"] == 1

    whole = found(trials.one_talker, noise[:1], np.stack([0.1 * noise[0], noise[0]]), 2)
    assert whole["track_si_sdr"] == LIMIT_DB
    assert whole["other_track_below"] == pytest.approx(20, abs=0.01)
    assert whole["count_accuracy"] == 0
    lost = found(trials.one_talker, noise[:1], np.stack([noise[0] + 0.1 * noise[1], 0 * noise[0]]), 1)
    assert lost["track_si_sdr"] == pytest.approx(20, abs=0.2)
    assert lost["other_track_below"] == LIMIT_DB
    assert found(trials.nobody, noise[:0], noise, 0) == {"count_accuracy": 1}


def test_rows_of_pairs_beside_all_and_controls(benchmark):
    quality, trials = benchmark("quality"), benchmark("trials")
    women, men = ["af_one", "bf_two", "reader"], ["am_one", "bm_two"]
    people = [Recording(name, f"{name}.wav", Path(), 1.0) for name in women]
    people += [Recording(name, f"{name}.wav", Path(), 1.0) for name in men]
    people += [Recording("said", "said.wav", Path(), 1.0, gender="m"), Recording("x", "x.wav", Path(), 1.0)]
    pairs = {("af_one", "bf_two"): 1.0, ("am_one", "said"): 2.0, ("af_one", "am_one"): 3.0, ("reader", "bf_two"): 4.0}
    pairs |= {("x", "af_one"): 5.0, ("am_one", "am_one"): 6.0}
    controls = {name: {"si_sdri": 0.0} for name in trials.CONTROLS}
    results = [trials.Result(0.5, pair, {"si_sdri": value}, controls) for pair, value in pairs.items()]
    options = argparse.Namespace(genders={"reader": "f"})
    rows = quality.with_rows_beside("all", results, Corpus(tuple(people)), options, quality.averages)
    found = {name: (row["count"], row["si_sdri"]["mean"]) for name, row in rows.items()}
    assert found == {
        "all": (6, 3.5),
        "of two speakers": (5, 3.0),
        "two women": (2, 2.5),
        "two men": (1, 2.0),
        "mixture on both": (6, 0),
        "mixture + silence": (6, 0),
    }
    assert "of two speakers" not in quality.with_rows_beside(
        "all", results[:5], Corpus(tuple(people)), options, quality.averages
    )


def test_controls_are_no_separations(benchmark):
    trials = benchmark("trials")
    sources = np.random.default_rng(0).normal(0, [[0.1], [0.2]], (2, RATE)).astype(np.float32)
    noise, plan = 0 * sources[0], Plan(sample_rate=RATE, n_samples=RATE, talkers=())
    drawn = Mixture(sources.sum(0), sources, noise, sources, noise, plan)
    for name, overlooked, own in (("mixture on both", 0, 0), ("mixture + silence", 0.5, 0.5)):
        tracks = trials.CONTROLS[name](drawn.mixture)
        found = trials.pair_scores(drawn, tracks)
        assert (found["si_sdri"], found["overlooked"], found["made_worse"]) == (0, overlooked, 0)
        assert trials.own_track_score(drawn, tracks)["on_own_track"] == own


def test_figures_of_many_recordings(benchmark):
    figures = benchmark("figures")
    results = [(0.1, {"si_sdr": 10.0, "si_sdri": 9.0, "made_worse": 0.0})] * 3
    results += [(0.8, {"si_sdr": -2.0, "si_sdri": -1.0, "made_worse": 1.0})]
    row = figures.by_overlap(results)
    assert row["si_sdr"]["mean"] == 7
    assert row["by_overlap"]["<25 %"]["count"] == 3
    columns = {"mixtures": "count", "worse": "made_worse", "speakers": "speakers"}
    head, _, line = figures.table({"all": row}, columns).splitlines()
    assert head == "|  | mixtures | worse | <25 % | >75 % |"  # what nobody has is no column
    assert line.startswith("| all | 4 | 25.0 % [")
    assert line.endswith("| 10.0 / 9.0 | -2.0 / -1.0 |")
    some = figures.medians([{"lost": float(value), "count_accuracy": 1.0} for value in range(11)])
    assert some["lost"] == {"median": 5, "lowest_tenth": 1}
    assert some["count_accuracy"]["mean"] == 1


def test_figures_of_a_card_are_known_by_their_names_of_before(benchmark):
    old = {
        "about": "text",
        "talks": {"seed": 0, "rows": {"clean": {"share_on_own_track": {"mean": 1.0}, "count": 6}}},
    }
    old["paper"] = {"rows": {"all": {"by_overlap": {">75 %": {"share_count_right": {"mean": 0.5}}}}}}
    known = benchmark("figures").with_known_names(old)
    assert known["about"] == "text"
    assert known["talks"] == {"seed": 0, "rows": {"clean": {"on_own_track": {"mean": 1.0}, "count": 6}}}
    assert known["paper"]["rows"]["all"]["by_overlap"][">75 %"] == {"count_accuracy": {"mean": 0.5}}


def test_json_of_a_card_is_short_and_says_the_same(benchmark):
    content = {"text": "a {b}, [c,\n d]", "nested": {"pair": [1, 2.5], "empty": {}}, "rows": [{"a": None}]}
    text = benchmark("figures").as_json(content)
    assert json.loads(text) == content
    assert '"pair": [1, 2.5]' in text
