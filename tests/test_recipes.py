"""Recipes: read, changed, and what is wrong in them is told."""

import re
from pathlib import Path

import pytest
from conftest import REPO

from unbabble.errors import RecipeError
from unbabble.mixing.recipe import paper_mixtures
from unbabble.networks.config import NetworkConfig, SisoOnlyDesign
from unbabble.training.config import SeparationTraining
from unbabble.training.recipe import read_recipe, with_changes, with_data

SMOKE = read_recipe(REPO / "recipes" / "smoke.yaml")


@pytest.mark.parametrize("name", ["paper.yaml", "default.yaml", "smoke.yaml"])
def test_the_recipes_of_the_repo_are_understood(name):
    assert read_recipe(REPO / "recipes" / name).network.sample_rate == 16000


def test_the_paper_recipe_states_what_the_defaults_are():
    """Every default is the paper's, so that a recipe only says where it departs."""
    recipe = read_recipe(REPO / "recipes" / "paper.yaml")
    assert recipe.mixtures == paper_mixtures()
    assert recipe.network == NetworkConfig()
    assert recipe.training == SeparationTraining()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("training: {learning_rat: 1}", "training.learning_rat is not a key that anything reads"),
        ("training: [", "not a readable YAML"),
        ("network: {n_sources: 3}", "must agree on the (largest) number of talkers"),
        ("network: {front_end: {window: 33}}", "multiple of hop"),
        ("speed: 1", "speed is not a key that anything reads"),
        ("training: {schedule: {kind: sawtooth}}", "schedule"),
    ],
)
def test_a_wrong_recipe_is_explained(tmp_path, text, told):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="(?s)" + re.escape(told)):
        read_recipe(path)
    with pytest.raises(RecipeError, match="no such recipe"):
        read_recipe(tmp_path / "none.yaml")


def test_a_kind_of_training_that_there_is_not_is_refused(tmp_path):
    (tmp_path / "recipe.yaml").write_text("kind: transcription\n")
    with pytest.raises(RecipeError, match="no kind 'transcription' of recipes; expected separation or diarization"):
        read_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("training.epochs=2", "training.epochs is not a key that anything reads"),
        ("trainin.max_epochs=2", "trainin.max_epochs is not a key that anything reads"),
        ("mixtures.7.weight=2", "mixtures.7.weight is not a key that anything reads"),
        ("training.max_epochs=many", "training.max_epochs: Input should be a valid integer"),
        ("training.max_epochs={", "the value is no YAML"),
        ("more", "expected key=value"),
    ],
)
def test_a_wrong_change_is_told(change, told):
    with pytest.raises(RecipeError, match=re.escape(told)):
        with_changes(SMOKE, [change])


def test_changes_reach_any_depth():
    changed = with_changes(SMOKE, ["mixtures.0.weight=2.5", "network.design={encoder_blocks: 1, decoder_blocks: 2}"])
    assert changed.mixtures[0].weight == 2.5
    assert changed.network.design == SisoOnlyDesign(1, 2)
    assert with_changes(changed, []) == changed


def test_folders_given_replace_the_recipes(tmp_path):
    assert with_data(SMOKE, [tmp_path], None, None).data.speech == (tmp_path,)
    assert with_data(SMOKE, None, None, None) == SMOKE


def test_a_recipe_says_nothing_of_data_that_it_does_not_know(tmp_path):
    recipe = read_recipe(REPO / "recipes" / "default.yaml")
    other = with_data(recipe, [tmp_path], None, None)
    assert (other.data.description, other.data.license) == ("not described", "not stated")
    assert (other.model.name, other.model.limits) == ("unnamed", "not stated")
    assert other.model.window_s == recipe.model.window_s
    assert with_changes(other, ["model.name=mine"]).model.name == "mine"
    kept = with_changes(recipe, ["data.speech=[some, other]"]).data
    assert (kept.speech, kept.description) == ((Path.cwd() / "some", Path.cwd() / "other"), recipe.data.description)


def test_keys_of_old_are_still_read(tmp_path):
    text = "data: {licence: free}\ntraining: {start: default, start_share: 0.25}\nmodel: {licence: open}\n"
    (tmp_path / "old.yaml").write_text(text)
    recipe = read_recipe(tmp_path / "old.yaml")
    assert (recipe.data.license, recipe.training.start_weight, recipe.model.license) == ("free", 0.25, "open")
    assert with_changes(recipe, ["model.licence=closed"]).model.license == "closed"
