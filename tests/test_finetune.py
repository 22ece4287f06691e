"""The recipe for fine-tuning goes on from the model that comes with the package."""

from conftest import REPO

from unbabble.base.config import parse_settings
from unbabble.inference.model_folder import open_model
from unbabble.training.recipe import read_recipe


def test_it_has_the_network_and_the_windows_of_the_bundled_model():
    recipe, model = read_recipe(REPO / "recipes" / "finetune.yaml"), open_model("default")
    assert recipe.training.start == "default"
    assert parse_settings(type(recipe.network), model.card["network"], "card") == recipe.network
    assert (recipe.model.window_s, recipe.model.overlap_s) == (model.window_s, model.overlap_s)
    assert all(part.recipe.noise_snr_db is None for part in recipe.mixtures)  # nothing but speech is needed
