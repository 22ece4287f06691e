"""What runs the networks: tested on the processor, which stands in for a GPU."""

import pickle
import threading

import numpy as np
import onnxruntime
import pytest
import soundfile
from conftest import RATE, REPO, one_line_error, run_here, speech

from unbabble import Separator
from unbabble.errors import ModelError
from unbabble.inference import devices
from unbabble.inference.devices import CPU, DEVICES, PROCESSOR, Device, find_device
from unbabble.inference.engine import Engine
from unbabble.inference.model_folder import BUNDLED, open_model

PROVIDERS = {"cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider", "directml": "DmlExecutionProvider"}


@pytest.fixture
def installed(monkeypatch):
    """Has ONNX Runtime say that it has other providers than it has."""
    return lambda *names: monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: [*(PROVIDERS[name] for name in names), PROCESSOR.provider]
    )


@pytest.fixture
def gpu(monkeypatch, installed):
    """A device by the name of cuda, whose provider is the processor's; gives the sizes of its batches."""
    installed("cuda")
    monkeypatch.setitem(DEVICES, "cuda", Device("cuda", PROCESSOR.provider, "nothing", at_once=4))
    batches, separate = [], Engine._separate

    def noted(self, mixtures, *others):
        batches.append(len(mixtures))
        return separate(self, mixtures, *others)

    monkeypatch.setattr(Engine, "_separate", noted)
    return batches


@pytest.mark.parametrize("name", ["cuda", "coreml", "directml"])
def test_a_provider_that_is_missing_is_told_with_the_package_that_brings_it(installed, name):
    installed()
    with pytest.raises(ModelError, match=rf"device {name}: .* no {PROVIDERS[name]}; .*pip install onnxruntime"):
        Separator(device=name)


@pytest.mark.parametrize(
    ("there", "found"),
    [((), CPU), (("coreml",), CPU), (("cuda", "coreml"), "cuda"), (("directml",), "directml")],
)
def test_auto_takes_a_gpu_that_somebody_has_installed_for(installed, there, found):
    installed(*there)
    assert find_device("auto").name == found


def test_a_gpu_that_does_not_start_is_told_unless_nobody_asked_for_it(installed):
    installed("cuda")  # ONNX Runtime knows better, and warns
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        assert Separator(threads=1).engine.device is PROCESSOR
    with pytest.warns(UserWarning, match="CUDA"), pytest.raises(ModelError, match=r"device cuda: .* does not start"):
        Separator(device="cuda")


def test_the_flag_is_checked(tmp_path):
    soundfile.write(tmp_path / "talk.wav", speech(), RATE)
    wrong = run_here("separate", tmp_path / "talk.wav", "--out", tmp_path / "out", "--device", "gpu")
    assert wrong.returncode == 2
    assert "device 'gpu' is not one of" in wrong.stderr
    missing = run_here("separate", tmp_path / "talk.wav", "--out", tmp_path / "out", "--device", "directml")
    one_line_error(missing, "device directml: ", "pip install onnxruntime-directml")
    assert not (tmp_path / "out").exists()


def test_windows_that_wait_are_run_as_one_batch_with_the_estimates_of_each(gpu):
    folder, rng = open_model(BUNDLED / "default"), np.random.default_rng(0)
    lengths = (8000, 8000, 8000, 4000, 4000, 8000, 8000, 8000, 8000, 8000)
    windows = [rng.standard_normal((1, length)).astype(np.float32) for length in lengths]
    with Engine(folder, 1, device=CPU) as engine:
        expected = [engine(window) for window in windows]
    gpu.clear()
    begin = threading.Event()
    with Engine(folder, device="cuda") as engine:
        engine._workers.submit(begin.wait)  # the device is busy meanwhile
        pending = [engine.submit(window) for window in windows]
        begin.set()
        for found, wanted in zip((one.result() for one in pending), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    assert gpu == [3, 2, 4, 1]


def test_a_recording_is_the_same_to_one_in_ten_thousand(gpu):
    samples, rate = soundfile.read(REPO / "examples" / "two-talkers.flac", dtype="float32")
    settings = {"window_s": 4.0, "overlap_s": 1.0, "threads": 1}
    with Separator(**settings, device="cuda") as separator:
        assert (separator.engine.device.name, separator.engine.at_once) == ("cuda", 4)
        found = separator(samples, rate)
    with Separator(**settings, device=CPU) as separator:
        expected = separator(samples, rate)
    assert expected.any(1).all()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_error_is_that_of_all_in_the_batch_and_the_next_go_on(gpu, monkeypatch):
    folder, window = open_model(BUNDLED / "default"), np.ones((1, 4000), np.float32)
    begin = threading.Event()
    with Engine(folder, device="cuda") as engine:
        engine._workers.submit(begin.wait)
        wrong, right = [engine.submit(window, 3) for _ in range(2)], engine.submit(window)
        given_up = engine.submit(window)
        given_up.stop()
        begin.set()
        for one in wrong:
            with pytest.raises(ModelError, match="not 3"):
                one.result()
        assert right.result().shape == (1, 2, 4000)
    assert gpu == [2, 1]


def test_copies_have_the_device(gpu):
    copied = pickle.loads(pickle.dumps(Separator(device="cuda")))
    assert copied.engine.device is devices.DEVICES["cuda"]
