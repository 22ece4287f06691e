"""Comparisons: designs under one budget, stopped and continued, joined from folders, beside the paper's table."""

import csv
import dataclasses
import itertools
import json
import shutil
from functools import partial
from types import SimpleNamespace

import pytest
import yaml
from conftest import REPO

from unbabble.errors import RecipeError, TrainingError
from unbabble.experiments.compare import compare, tabulate
from unbabble.experiments.config import Halving, read_comparison, recipe_of
from unbabble.experiments.table import PAPER, Scored, markdown, rows_of, write_table
from unbabble.networks.config import MixedDesign, SisoOnlyDesign
from unbabble.training import task
from unbabble.training.checkpoint import read_checkpoint
from unbabble.training.recipe import read_recipe, with_changes
from unbabble.training.run import LAST


@pytest.fixture(scope="module")
def comparison_file(tmp_path_factory):
    """Three designs of the smoke recipe and one of another width, trained for a moment."""
    path = tmp_path_factory.mktemp("comparison") / "few.yaml"
    changes = ["training.max_epochs=1", "training.epoch_size=4", "training.valid_size=2", "mixtures.1.weight=0.001"]
    few = {
        "recipe": str(REPO / "recipes" / "smoke.yaml"),
        "changes": [*changes, "data.rooms=2"],
        "test": {"count": 3, "split": None},
        "designs": {
            "1+0": {"simo_blocks": 1, "siso_blocks": 0},
            "0+1": {"simo_blocks": 0, "siso_blocks": 1},
            "siso-1+1": {"encoder_blocks": 1, "decoder_blocks": 1},
            "thin": ["network.block={channels: 4, hidden: 4}"],
        },
    }
    path.write_text(yaml.safe_dump(few, sort_keys=False))
    return path


def compared(comparison, out, noise, only=()):
    return compare(comparison, recipe_of(comparison, noise=noise, only=only), out, only=only)


@pytest.mark.slow
def test_designs_are_trained_scored_and_joined(comparison_file, tmp_path, corpora):
    comparison, noise = read_comparison(comparison_file), [corpora[1]]
    here, there = tmp_path / "here", tmp_path / "there"
    compared(comparison, here, noise=noise, only=["0+1"])
    model = here / "runs" / "0+1-seed0" / "model" / "model.json"
    made = model.stat().st_mtime_ns
    compared(comparison, there, noise=noise, only=["1+0", "siso-1+1", "thin"])
    shutil.copytree(there / "runs", here / "runs", dirs_exist_ok=True)
    tabulate(comparison, here)
    compared(comparison, here, noise=noise)  # all is there
    assert model.stat().st_mtime_ns == made
    rows = json.loads((here / "table.json").read_text())
    assert [row["name"] for row in rows] == ["1+0", "0+1", "siso-1+1", "thin"]
    assert rows[0]["difference"] is None
    assert rows[3]["design"] is None
    assert rows[3]["n_parameters"] < rows[0]["n_parameters"]
    for row in rows:
        with (here / "runs" / f"{row['name']}-seed0" / "scores" / "mixtures.csv").open() as file:
            scores = [float(line["si_sdr"]) for line in csv.DictReader(file)]
        assert row["si_sdr"]["average"]["mean"] == pytest.approx(sum(scores) / 3)
        assert row["si_sdr"]["average"]["count"] == 3
        assert row["mixtures"] == 4
    assert (here / "curve.png").read_bytes().startswith(b"\x89PNG")
    gains = tabulate(dataclasses.replace(comparison, score="si_sdri"), here)
    assert json.loads(gains[1].read_text())[0]["si_sdri"]["average"]["count"] == 3
    assert "SI-SDRi in dB" in gains[0].read_text()
    longer = dataclasses.replace(comparison, changes=(*comparison.changes, "training.max_epochs=2"))
    with pytest.raises(TrainingError, match=r"1\+0-seed0: holds a run with other training; .*another --out"):
        compared(longer, here, noise=noise)


def trained_minutes(run) -> float:
    return read_checkpoint(run / LAST)["minutes"]


@pytest.mark.slow
def test_the_better_half_goes_on_and_no_minute_is_lost(comparison_file, tmp_path, corpora, monkeypatch):
    """Two rounds; a network that cannot learn is left behind, the other's run goes on where its branch began.

    By a clock that goes on by a thousandth of a minute with every look, of which a step has one.
    """
    monkeypatch.setattr(task, "time", SimpleNamespace(monotonic=partial(next, itertools.count(0, 0.06))))
    few = read_comparison(comparison_file)
    designs = {"stuck": ("training.learning_rate=1.0e-12",), "learns": ("training.learning_rate=0.01",)}
    schedule = ("training.schedule={kind: trapezoid, warmup_steps: 0}", "training.max_epochs=1000")
    schedule += ("training.patience=1000",)  # else the one that is stuck stops early
    lone = ("mixtures.1.recipe.n_speakers=1", "mixtures.1.weight=1")  # who are trained on, and not scored
    halving = Halving(minutes=(0.02, 0.04), keep=(1,), decay=0.5)
    comparison = dataclasses.replace(
        few,
        designs=designs,
        changes=(*few.changes, *schedule, *lone),
        test=dataclasses.replace(few.test, count=8),
        halving=halving,
        score="si_sdri",
    )
    arguments = {"noise": [corpora[1]]}
    assert (tmp_path / "round-1" / "table.md") in compared(comparison, tmp_path, only=["stuck"], **arguments)
    assert not (tmp_path / "round-2").exists()
    first = compared(comparison, tmp_path, only=["learns"], **arguments)[0]
    assert first == tmp_path / "round-2" / "table.md"
    stuck, learns = (tmp_path / "runs" / f"{name}-seed0" for name in designs)
    assert [row["name"] for row in json.loads((tmp_path / "round-1" / "table.json").read_text())] == list(designs)
    assert sorted(path.name for path in stuck.iterdir()) == ["branch-0.02-minutes", "held"]
    trained = {stuck / "held": 0.02, learns / "held": 0.04, learns / "branch-0.02-minutes": 0.03}
    for run, minutes in trained.items():
        assert trained_minutes(run) == pytest.approx(minutes, abs=0.0011)
    assert read_checkpoint(learns / "held" / LAST)["lr_schedulers"][0]["_last_lr"] == [0.01]
    falling = read_checkpoint(learns / "branch-0.04-minutes" / LAST)["lr_schedulers"][0]["_last_lr"]
    assert falling[0] < 0.009
    made = (learns / "held" / LAST).stat().st_mtime_ns
    compared(comparison, tmp_path, **arguments)  # all is there
    assert (learns / "held" / LAST).stat().st_mtime_ns == made


def test_wrong_halvings_are_told(comparison_file, tmp_path):
    for minutes, keep in [((2, 1), (1,)), ((1, 2), ()), ((1, 1), (1,))]:
        with pytest.raises(ValueError, match="minutes that rise"):
            Halving(minutes=minutes, keep=keep)
    comparison = dataclasses.replace(read_comparison(comparison_file), halving=Halving(minutes=(1,)))
    with pytest.raises(TrainingError, match="halving needs training"):
        recipe_of(comparison)
    with pytest.raises(ValueError, match="one seed"):
        dataclasses.replace(comparison, seeds=(0, 1))


def write_scores(folder, scores):
    folder.mkdir(parents=True)
    lines = [f"{number},2,{0.1 + 0.3 * (number % 4)},,,,{score}" for number, score in enumerate(scores)]
    (folder / "mixtures.csv").write_text(
        "\n".join(["id,n_sources,overlap_ratio,t60_s,noise_snr_db,genders,si_sdr", *lines]) + "\n"
    )
    costs = {"n_parameters": 860544, "macs_per_second": 168768000.0, "real_time_factor": 0.0095}
    (folder / "summary.json").write_text(json.dumps(costs))
    return folder


def test_the_table_has_means_over_runs_and_paired_differences(tmp_path):
    two_runs = [write_scores(tmp_path / "b", [2, 3, 4, 5] * 5), write_scores(tmp_path / "c", [4, 5, 6, 7] * 5)]
    scored = [
        Scored("6+0", MixedDesign(6, 0), [write_scores(tmp_path / "a", [1, 2, 3, 4] * 5)], 800),
        Scored("2+4", MixedDesign(2, 4), two_runs, 500),
        Scored("siso-2+4", SisoOnlyDesign(2, 4), [write_scores(tmp_path / "d", [1, 2, 3, ""] * 5)], 400),
    ]
    first, second, third = rows_of(scored)
    assert [mean.mean for mean in first.means] == [1, 2, 3, 4, 2.5]
    assert [mean.mean for mean in second.means] == [3, 4, 5, 6, 4.5]
    assert (second.n_runs, second.siso_fraction, second.paper) == (2, pytest.approx(4 / 6), PAPER[2, 4])
    assert (second.difference.mean, second.difference.low, second.difference.high) == (2, 2, 2)
    assert third.means[3] is None
    assert third.means[4].count == 15
    assert third.difference.mean == 0
    text = markdown([first, second, third])
    assert "| 2+4 | 2 | 500 | 3.00 (14.6) | 4.00 (10.6) | 5.00 (7.8) | 6.00 (4.9) | 4.50 (9.5) |" in text
    assert "| siso-2+4 | 1 | 400 | 1.00 | 2.00 | 3.00 | none | 2.00 |" in text


def test_networks_of_several_depths_have_a_curve(tmp_path):
    folders = [write_scores(tmp_path / "a", [1, 2, 3, 4])]
    scored = [Scored(f"{simo}+0", MixedDesign(simo, 0), folders, 4) for simo in (6, 4)]
    assert (tmp_path / "curve.png") in write_table(scored, "si_sdr", tmp_path)


def test_wrong_comparisons_are_told(comparison_file, tmp_path):
    comparison = read_comparison(comparison_file)
    with pytest.raises(TrainingError, match=r"no design called 9\+9; there are 1\+0, 0\+1, siso-1\+1, thin"):
        recipe_of(comparison, only=["9+9"])
    with pytest.raises(TrainingError, match="no design has been trained"):
        tabulate(comparison, tmp_path)
    late = dataclasses.replace(comparison, designs={**comparison.designs, "late": ("network.blok=1",)})
    with pytest.raises(RecipeError, match=r"network\.blok is not a key"):
        recipe_of(late, only=["1+0"])
    (tmp_path / "wrong.yaml").write_text("recipe: paper.yaml\ndesigns: {../up: {simo_blocks: 1, siso_blocks: 1}}")
    with pytest.raises(RecipeError, match="is none for a folder"):
        read_comparison(tmp_path / "wrong.yaml")


def test_the_comparison_of_the_repo_is_the_papers_table_and_more():
    comparison = read_comparison(REPO / "recipes" / "table1.yaml")
    mixed = [design for design in comparison.designs.values() if isinstance(design, MixedDesign)]
    assert [(design.simo_blocks, design.siso_blocks) for design in mixed] == list(PAPER)
    assert len(comparison.designs) == 10
    assert comparison.recipe == REPO / "recipes" / "paper.yaml"


@pytest.mark.parametrize("name", ["choice", "feedback", "halving", "table1", "table1-small"])
def test_the_changes_of_the_repos_comparisons_fit_their_recipes(name):
    comparison = read_comparison(REPO / "recipes" / f"{name}.yaml")
    recipe = with_changes(read_recipe(comparison.recipe), comparison.changes)
    for design_name, design in comparison.designs.items():
        if isinstance(design, tuple):
            assert (with_changes(recipe, design) == recipe) == (design_name == "u2")  # that of the recipe, as it is
