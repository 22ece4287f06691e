"""The engine: several windows at once, and what then still holds."""

import copy
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import CancelledError
from functools import partial

import numpy as np
import onnx
import pytest
from conftest import run_here, speech, tone
from graphs import constant, doubled, endless, with_graph
from onnx import helper
from soundfile import write

from unbabble import Separator
from unbabble.errors import ModelError
from unbabble.inference.engine import MOST_AT_ONCE, Engine
from unbabble.inference.graph import interruptible
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
    separate = Engine._separate

    def once_both_are_there(self, *args):
        both_under_way.wait(timeout=30)
        return separate(self, *args)

    monkeypatch.setattr(Engine, "_separate", once_both_are_there)
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


def test_an_honest_graph_is_taken(tiny_model, tmp_path):
    engine = Engine(open_model(with_graph(tiny_model, tmp_path / "model", doubled(2.0))))
    np.testing.assert_array_equal(engine(tone(0.1)[np.newaxis]), 2 * np.stack([tone(0.1)] * 2)[np.newaxis])


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (doubled(inputs="sound"), "has the inputs sound .* expected mixture"),
        (doubled(outputs="tracks"), "has the outputs tracks .* expected estimates"),
        (doubled(samples=16000), r"has the inputs mixture \(batch, 16000\)"),
    ],
)
def test_a_graph_with_other_inputs_and_outputs_is_refused_when_it_is_opened(tiny_model, tmp_path, graph, told):
    folder = open_model(with_graph(tiny_model, tmp_path / "model", graph))
    with pytest.raises(ModelError, match=rf"separator\.onnx: {told}"):
        Engine(folder)


def test_types_and_numbers_of_axes_are_checked_when_it_is_opened(tiny_model, tmp_path):
    doubles, flat = doubled(), doubled()
    doubles.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    doubles.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    doubles.node[1].attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(np.array(1.0)))
    flat.node[-1].attribute[0].i = 0
    flat.node[-1].input[:] = ["louder", "louder"]
    flat.output[0].type.tensor_type.shape.dim.pop()
    for name, graph in (("doubles", doubles), ("flat", flat)):
        with pytest.raises(ModelError, match=r"the (in|out)puts .* expected"):
            Engine(open_model(with_graph(tiny_model, tmp_path / name, graph)))


def test_estimates_of_another_shape_are_told(tiny_model, tmp_path):
    graph = doubled()
    graph.node[2].output[0] = "whole"
    cut = [
        constant("first", [0]),
        constant("last", [800]),
        helper.make_node("Slice", ["whole", "first", "last", "axis"], ["louder"]),
    ]
    nodes = [*graph.node[:3], *cut, *graph.node[3:]]
    del graph.node[:]
    graph.node.extend(nodes)
    engine = Engine(open_model(with_graph(tiny_model, tmp_path / "model", graph)))
    with pytest.raises(ModelError, match=r"gives estimates of shape \(1, 2, 800\); expected \(1, 2, 1600\)"):
        engine(tone(0.1)[np.newaxis])


@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e30])
def test_numbers_that_are_none_make_no_track(tiny_model, tmp_path, factor):
    model = with_graph(tiny_model, tmp_path / "model", doubled(factor))
    for use in (Separator(model), Separator(model).engine):
        with pytest.raises(ModelError, match="estimates that are NaN or beyond"):
            use(np.ones(16000, np.float32), 16000) if use.__class__ is Separator else use(np.ones((1, 9), np.float32))
    write(tmp_path / "talk.wav", tone(1.0), 16000)
    done = run_here("separate", tmp_path / "talk.wav", "--out", tmp_path / "out", "--model", model)
    assert done.returncode == 1
    assert "NaN or beyond" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def ctrl_c():
    """Presses it a moment after it is called, in which what never ends is not done."""
    timer = threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start jobs that ignore it
    yield timer.start
    timer.join()
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals threads as POSIX does")
@pytest.mark.parametrize("through", ["separator", "diarizer"])
def test_ctrl_c_ends_a_graph_that_never_ends(tiny_model, tmp_path, through, ctrl_c):
    model = with_graph(tiny_model, tmp_path / "model", endless())
    before = set(threading.enumerate())
    with Separator(model) as separator:
        graph = separator.engine._graphs["separator"]
        uses = {
            "separator": partial(separator, tone(1.0), 16000),
            "diarizer": partial(interruptible, partial(graph, {"mixture": tone(1.0)[np.newaxis]})),  # as it is run
        }
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            uses[through]()
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_closing_ends_what_is_under_way(tiny_model, tmp_path):
    endless_model = with_graph(tiny_model, tmp_path / "model", endless())
    with Engine(open_model(endless_model), threads=1) as engine:
        under_way, waiting = (engine.submit(tone(0.1)[np.newaxis]) for _ in range(2))
    for run in (under_way, waiting):
        with pytest.raises((ModelError, CancelledError)):
            run.result()
    assert not [thread for thread in threading.enumerate() if thread in engine._workers._threads]
    with pytest.raises(ValueError, match="closed"):
        engine(tone(0.1)[np.newaxis])


def test_a_closed_separator_says_so(tiny_model):
    with Separator(tiny_model) as separator:
        assert separator(tone(1.0), 16000).shape == (2, 16000)
    with pytest.raises(ValueError, match="closed"):
        separator(tone(1.0), 16000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_used_separator_works_in_a_forked_process(tiny_model):
    separator = Separator(tiny_model)
    expected, began = separator(speech(), 16000), separator.stream(16000)
    assert expected.any(1).all()
    begun_before = separator.engine(tone(1.0)[np.newaxis])

    def use(answers):
        try:
            began.push(tone(0.1))
        except ValueError as error:
            answers.put(str(error))
        answers.put(separator(speech(), 16000))
        answers.put(separator.engine(tone(1.0)[np.newaxis]))

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=use, args=(answers,), daemon=True)
    child.start()
    try:
        assert "another process" in answers.get(timeout=60)
        np.testing.assert_array_equal(answers.get(timeout=60), expected)
        np.testing.assert_array_equal(answers.get(timeout=60), begun_before)
    finally:
        child.kill()


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_have_the_same_settings_and_threads_of_their_own(tiny_model, again):
    separator = Separator(tiny_model, window_s=1.5, overlap_s=0.25, threads=1)
    copied = again(separator)
    assert (copied.window_s, copied.overlap_s, copied.engine.at_once) == (1.5, 0.25, 1)
    expected = separator(speech(), 16000)
    assert expected.any()
    separator.close()
    np.testing.assert_array_equal(copied(speech(), 16000), expected)
    assert again(Separator()).model.path == Separator().model.path
    with pytest.raises(TypeError, match=r"begin another with Separator\.stream"):
        again(copied.stream(16000))
