"""Scores on signals whose answer is known."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import RATE, REPO
from hypothesis import given
from hypothesis import strategies as st

from unbabble import Separator
from unbabble.corpora.corpora import scan_corpora
from unbabble.corpora.decoded import DecodedAudio
from unbabble.evaluation.evaluate import evaluate
from unbabble.evaluation.metrics import score
from unbabble.evaluation.overlap import bin_of, mean_by_bin
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import MixtureRecipe, SharedRecipe


def waves(*cycles: int) -> np.ndarray:
    """Orthogonal sines of unit power: (waves, 8000)."""
    time = 2 * np.pi * np.arange(8000) / 8000
    return np.stack([np.sqrt(2) * np.sin(one * time) for one in cycles]).astype(np.float32)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("level_db", [3.0, 10.0, 25.0])
def test_scores_of_a_known_error_under_either_permutation(level_db, swapped):
    sources, errors = waves(3, 5), waves(11, 17) * 10 ** (-level_db / 20)
    estimates = sources + errors
    found = score(estimates[::-1].copy() if swapped else estimates, sources, sources.sum(0))
    assert found.si_sdr == pytest.approx(level_db, abs=1e-3)
    assert found.si_sdr_improvement == pytest.approx(level_db, abs=1e-3)  # the mixture itself has 0 dB


def test_the_mixture_itself_is_no_improvement():
    sources = waves(3, 5) * np.array([[1.0], [0.5]], np.float32)
    mixture = sources.sum(0)
    found = score(np.stack([mixture, mixture]), sources, mixture)
    assert found.si_sdr_improvement == pytest.approx(0, abs=1e-4)
    assert found.si_sdr == pytest.approx(0, abs=1e-3)  # 6 dB for one, -6 dB for the other


@given(st.floats(0, 1))
def test_every_overlap_has_a_bin(ratio):
    name = bin_of(ratio)
    assert (name == "<25 %") == (ratio < 0.25)
    assert (name == ">75 %") == (ratio >= 0.75)


def test_means_are_by_bin_and_in_order():
    assert mean_by_bin([(0.9, 1.0), (0.1, 2.0), (0.2, 4.0)]) == {"<25 %": 3.0, ">75 %": 1.0}


def test_an_untrained_model_is_scored_on_drawn_mixtures(tiny_model, corpora):
    recipe = MixtureRecipe(duration_s=1.0, noise_snr_db=None, room=None)
    mixer = Mixer(scan_corpora([corpora[0]], []).speech, None, (SharedRecipe(1.0, recipe),), DecodedAudio(RATE))
    results = evaluate(Separator(tiny_model), mixer, RATE, 3)
    assert [one.plan.overlap_ratio for one in results] == [mixer(index).plan.overlap_ratio for index in range(3)]
    assert all(np.isfinite(one.scores.si_sdr_improvement) for one in results)


@pytest.mark.slow
def test_the_quality_benchmark_prints_its_table_and_writes_its_figures(tiny_model, corpora, tmp_path):
    command = [sys.executable, REPO / "benchmarks" / "quality.py", "--model", tiny_model, "--count", "2"]
    command += ["--speech", corpora[0], "--noise", corpora[1], "--json", tmp_path / "figures.json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    assert "| clean, fully overlapped | all | 3 |" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["protocol"]["count"] == 2
    assert figures["the paper's recipe"]["all"]["speakers"] == 3
