"""What can be refused without PyTorch is refused before it is loaded, which takes seconds."""

import json
import subprocess
import sys

import pytest
import soundfile
from conftest import HAS_TORCH, tone

pytestmark = pytest.mark.skipif(not HAS_TORCH, reason="without it, commands that need it say so first")

HEAVY = ("torch", "lightning", "torchmetrics", "matplotlib", "onnx", "onnxruntime")
PROGRAM = """
import contextlib, io, json, sys
from unbabble.cli import main

heavy, said = json.loads(sys.argv[2]), io.TextIOWrapper(io.BytesIO())
sys.argv = ["unbabble", *json.loads(sys.argv[1])]
try:
    with contextlib.redirect_stderr(said):
        main()
except SystemExit as end:
    said.seek(0)
    print(json.dumps([end.code, said.read(), [name for name in heavy if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        ("--help", 0, ""),
        ("--version", 0, ""),
        ("separate no.wav --out {0}/out", 1, "no.wav: no such file"),
        ("separate {0}/tone.wav --out {0}/out --model no", 1, "no: no such model"),
        ("separate {0}/tone.wav --out {0}/out --format mp3", 2, "format 'mp3' is not one of"),
        ("corpus {0}/no --out {0}/out.csv", 1, "no: no such folder"),
        ("rooms --count 1 --recipe {0}/wrong.yaml --out {0}/out.npz", 1, "wrong is not a key"),
        ("simulate --speech {0}/no --count 1 --out {0}/out", 1, "no: no such folder"),
        ("simulate --speech {0} --recipe {0}/wrong.yaml --count 1 --out {0}/out", 1, "wrong is not a key"),
        ("evaluate no {0} --out {0}/out", 1, "no: no such model"),
        ("evaluate default {0}/no --out {0}/out", 1, "no: no such folder"),
        ("train {0}/no.yaml --out {0}/out", 1, "no.yaml: no such recipe file"),
        ("train {0}/empty.yaml --out {0}/out", 1, "no source given"),
        ("train {0}/empty.yaml seed=1 --out {0}/out", 1, "no source given"),
        ("train {0}/empty.yaml --speech {0}/no --out {0}/out", 1, "no: no such folder"),
        ("train {0}/empty.yaml --speech {0} --start no --out {0}/out", 1, "no: no such model"),
        ("train {0}/full.yaml --speech {0} --out {0}/out", 1, "absent: no such model"),
        ("train {0}/full.yaml --out {0}/out", 1, "missing: no such folder"),
        ("train --resume {0}", 1, "not a training run"),
        ("compare {0}/no.yaml --out {0}/out", 1, "no.yaml: no such recipe file"),
        ("export {0} --out {0}/out", 1, "not a training run"),
        ("quantize no --out {0}/out", 1, "no: no such model"),
    ],
)
def test_nothing_heavy_is_loaded_for_it(tmp_path, command, code, reason):
    soundfile.write(tmp_path / "tone.wav", tone(0.5), 16000)
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "full.yaml").write_text("data: {speech: [missing]}\ntraining: {start: absent}\n")
    (tmp_path / "wrong.yaml").write_text("mixtures: [{recipe: {wrong: 1}}]\n")
    arguments = json.dumps([part.format(tmp_path) for part in command.split()]), json.dumps(HEAVY)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60)
    found, said, loaded = json.loads(done.stdout.splitlines()[-1])
    assert (found, loaded) == (code, []), said
    assert reason in " ".join(said.replace("│", "").split())
