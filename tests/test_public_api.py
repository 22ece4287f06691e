"""What ``import unbabble`` gives."""

import subprocess
import sys

import pytest
from conftest import HAS_TORCH, REPO

import unbabble
from unbabble import CorpusError, MissingExtra, RecipeError, UnbabbleError, evaluate, simulate, train


def test_all_that_is_exported_is_there_and_documented():
    assert dir(unbabble) == unbabble.__all__
    for name in unbabble.__all__:
        assert getattr(unbabble, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        unbabble.nonesuch  # noqa: B018


def test_the_functions_for_making_can_be_had_without_torch():
    program = (
        "import sys, unbabble; [getattr(unbabble, name) for name in unbabble.__all__]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_set_is_simulated_and_a_model_scored_on_it(corpora, tiny_model, tmp_path):
    speech, noise = corpora
    written = simulate(speech, tmp_path / "set", 2, noise=[str(noise)], seed=1)
    assert all(path.exists() for path in written)
    found = evaluate(tiny_model, tmp_path / "set", tmp_path / "scores", metrics=["si_sdr"], limit=1)
    assert len(found.results) == 1
    assert (tmp_path / "scores" / "report.html").exists()
    with pytest.raises(ValueError, match="no metric called 'snr'"):
        evaluate(tiny_model, tmp_path / "set", tmp_path / "scores", metrics=["snr"])


@pytest.mark.skipif(not HAS_TORCH, reason="needs the extra train")
def test_what_is_wrong_is_told_by_errors_of_one_base(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="no such recipe file"):
        train(tmp_path / "none.yaml", tmp_path / "run")
    with pytest.raises(RecipeError, match="colour"):
        train(REPO / "recipes" / "smoke.yaml", tmp_path / "run", changes=["training.colour=blue"])
    with pytest.raises(ValueError, match="give a recipe"):
        train(None, tmp_path / "run")
    with pytest.raises(CorpusError, match="not a set of mixtures"):
        evaluate("default", REPO / "examples", tmp_path / "scores")
    monkeypatch.setitem(sys.modules, "unbabble.mixing.recipe", None)
    with pytest.raises(MissingExtra, match=r"unbabble\[train\]"):
        simulate("speech", tmp_path / "set", 1)
    assert issubclass(MissingExtra, UnbabbleError)
