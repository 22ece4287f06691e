"""The engine: several windows at once, and what then still holds."""

import threading

import numpy as np
import pytest
from conftest import tone

from unbabble.errors import ModelError
from unbabble.inference.engine import MOST_AT_ONCE, Engine
from unbabble.inference.model_folder import open_model


@pytest.fixture(params=["tiny_model", "tiny_siso_only_model"])
def folder(request):
    return open_model(request.getfixturevalue(request.param))


def windows() -> list[np.ndarray]:
    """Of several lengths, the long ones first: done in the order of their numbers only if somebody sees to it."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, n_samples)).astype(np.float32) for n_samples in (32000, 16000, 700, 1, 9000)]


def test_any_number_of_threads_gives_the_same_estimates(folder):
    expected = [Engine(folder, threads=1)(window) for window in windows()]
    for threads in (1, 2, 5):
        engine = Engine(folder, threads)
        estimates = [future.result() for future in [engine.submit(window) for window in windows()]]
        for estimate, one_by_one in zip(estimates, expected, strict=True):
            np.testing.assert_array_equal(estimate, one_by_one)


def test_windows_are_separated_side_by_side(tiny_model, monkeypatch):
    both_under_way = threading.Barrier(2)
    separate = Engine.__call__

    def once_both_are_there(self, *args):
        both_under_way.wait(timeout=30)
        return separate(self, *args)

    monkeypatch.setattr(Engine, "__call__", once_both_are_there)
    engine = Engine(open_model(tiny_model), threads=2)
    for future in [engine.submit(tone(0.1)[np.newaxis]) for _ in range(2)]:
        assert future.result().shape == (1, 2, 1600)


def test_memory_bounds_how_many_windows_are_separated_at_once(tiny_model):
    folder = open_model(tiny_model)
    assert [Engine(folder, threads).at_once for threads in (1, 3, 64)] == [1, 3, MOST_AT_ONCE]
    assert 1 <= Engine(folder).at_once <= MOST_AT_ONCE


def test_an_error_comes_with_its_window_and_the_others_go_on(tiny_model):
    engine = Engine(open_model(tiny_model), threads=2)
    wrong, right = engine.submit(tone(0.1)[np.newaxis], 3), engine.submit(tone(0.1)[np.newaxis], 2)
    with pytest.raises(ModelError, match=r"gives 2 tracks.* not 3"):
        wrong.result()
    assert right.result().shape == (1, 2, 1600)


def test_a_graph_that_cannot_be_loaded_is_told(tiny_model, monkeypatch):
    folder = open_model(tiny_model)
    monkeypatch.setattr("unbabble.inference.model_folder.SEPARATOR", "model.json")
    with pytest.raises(ModelError, match="not a graph that ONNX Runtime can load"):
        Engine(folder)
