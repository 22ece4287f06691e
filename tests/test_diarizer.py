"""The diarizer by its name, its folder, and the names that it had before."""

from pathlib import Path

import numpy as np
import pytest
from conftest import run_here

from unbabble import Separator, separate
from unbabble.errors import ModelError
from unbabble.files import Options
from unbabble.inference.engine import Diarizer
from unbabble.inference.model_folder import BUNDLED, open_diarizer


@pytest.mark.parametrize("name", ["diarizer", "listener", BUNDLED / "diarizer"])
def test_the_bundled_diarizer_by_any_of_its_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_diarizer(name).path == BUNDLED / "diarizer"
    with pytest.raises(ModelError, match="no such model"):
        open_diarizer(Path("listener"))


def test_the_old_keyword_and_flag_still_choose_the_diarizer(tiny_model, tmp_path):
    assert Options(listener="somewhere").diarizer == "somewhere"
    assert Separator(tiny_model, listener="listener").diarizer.folder.path == BUNDLED / "diarizer"
    for separating in (
        lambda: Separator(tiny_model, listener=tmp_path / "none"),
        lambda: separate(tmp_path / "a.wav", tmp_path / "out", model=tiny_model, listener=tmp_path / "none"),
    ):
        with pytest.raises(ModelError, match="none"):
            separating()
    done = run_here("separate", "a.wav", "--out", tmp_path, "--model", tiny_model, "--listener", tmp_path / "none")
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stderr
    assert "--listener" not in run_here("separate", "--help").stdout


def test_too_few_frames_are_told():
    diarizer = Diarizer()
    for n_samples in (1, 640, 641, 16000, 16001):
        assert diarizer(np.zeros((2, n_samples), np.float32), 16000)[0].shape[1] >= -(-n_samples // 640)
    graph = diarizer._graph
    diarizer._graph = lambda *arguments: [array[:, :-2] for array in graph(*arguments)]
    with pytest.raises(ModelError, match=r"\.onnx: gives 24 frames of 25"):
        diarizer(np.zeros((2, 16000), np.float32), 16000)
