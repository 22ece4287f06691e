"""What can be refused without PyTorch is refused before it is loaded, which takes seconds."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import soundfile
from conftest import HAS_TORCH, tone

pytestmark = pytest.mark.skipif(not HAS_TORCH, reason="without it, commands that need it say so first")

HEAVY = (
    *("torch", "lightning", "torchmetrics", "matplotlib"),
    *("onnx", "onnxruntime", "pyroomacoustics", "scipy.signal"),
)
PROGRAM = """
import contextlib, io, json, sys
from unbabble.cli import main

commands, heavy = (json.loads(text) for text in sys.argv[1:])
for command in commands:
    said = io.TextIOWrapper(io.BytesIO())
    sys.argv = ["unbabble", *command]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
            main()
    except SystemExit as end:
        said.seek(0)
        print(json.dumps([end.code, said.read(), [name for name in heavy if name in sys.modules]]))
"""
COMMANDS = [
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
    ("evaluate default {0} --out {0}/out --metrics loudness", 2, "no metric called 'loudness'"),
    ("evaluate default {0} --out {0}/out --bins 2", 2, "edges of overlap bins lie between 0 and 1"),
    ("train {0}/no.yaml --out {0}/out", 1, "no.yaml: no such recipe file"),
    ("train {0}/empty.yaml --out {0}/out", 1, "no source given"),
    ("train {0}/empty.yaml seed=1 --out {0}/out", 1, "no source given"),
    ("train {0}/empty.yaml --speech {0}/no --out {0}/out", 1, "no: no such folder"),
    ("train {0}/empty.yaml --speech {0} --start no --out {0}/out", 1, "no: no such model"),
    ("train {0}/full.yaml --speech {0} --out {0}/out", 1, "absent: no such model"),
    ("train {0}/full.yaml --out {0}/out", 1, "missing: no such folder"),
    ("train --resume {0}", 1, "not a training run"),
    ("compare {0}/no.yaml --out {0}/out", 1, "no.yaml: no such recipe file"),
    ("compare {0}/wrong.yaml --out {0}/out", 1, "mixtures is not a key"),
    ("compare {0}/compare.yaml --out {0}/out", 1, "missing: no such folder"),
    ("compare {0}/compare.yaml --only c --out {0}/out", 1, "no design called c; there are a, b"),
    ("train {0}/empty.yaml --speech {0} --out {0}/run", 1, "holds a run already"),
    ("export {0} --out {0}/out", 1, "not a training run"),
    ("quantize no --out {0}/out", 1, "no: no such model"),
]
RECIPES = [
    ("networc: 1", "", "networc is not a key that anything reads"),
    ("kind: transcription", "", "there is no kind 'transcription' of recipes"),
    (
        "network: {front_end: {kind: wavelet}}",
        "",
        "network.front_end: there is no kind 'wavelet'; expected",
    ),
    ("network: {front_end: {window: 33}}", "", "window must be a multiple of hop"),
    ("network: {block: {kind: attention, depth: 3}}", "", "network.block.attention.depth is not a key"),
    ("network: {design: {scales: [{simo: [{kind: mamba}]}]}}", "", "there is no kind 'mamba'"),
    ("network: {channels: 36, block: {kind: attention, heads: 4}}", "", "36 channels do not suit a block of kind"),
    ("training: {loss: {kind: l2}}", "", "training.loss: there is no kind 'l2'; expected 'snr', 'si_sdr'"),
    ("training: {optimizer: {kind: muon, momentum: 2}}", "", "training.optimizer.muon.momentum: Input should be"),
    ("training: {schedule: sawtooth}", "", "training.schedule: there is no kind 'sawtooth'"),
    ("mixtures: [{weight: 1, recipe: {x: 1}}]", "", "mixtures.0.recipe.x is not a key that anything reads"),
    ("kind: diarization\nnetwork: {bands: 0}", "", "network.bands: Input should be greater than 0"),
    ("seed: 1", "training.batch=8", "with training.batch=8: training.batch is not a key that anything reads"),
    ("seed: 1", "training.batch_size=none", "training.batch_size: Input should be a valid integer"),
    ("seed: 1", "network.front_end.kind=wavelet", "there is no kind 'wavelet'"),
    ("seed: 1", "model.window_s", "expected key=value"),
]


def refused(*commands: str) -> Iterator[tuple[int, str, list[str]]]:
    """The exit code of each, what it says in one line, and which heavy packages are loaded by then."""
    arguments = json.dumps([command.split() for command in commands]), json.dumps(HEAVY)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == len(commands), done.stderr
    for code, said, loaded in map(json.loads, lines):
        yield code, " ".join(said.replace("│", "").split()), loaded


def test_nothing_heavy_is_loaded_for_it(tmp_path):
    soundfile.write(tmp_path / "tone.wav", tone(0.5), 16000)
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "full.yaml").write_text("data: {speech: [missing]}\ntraining: {start: absent}\n")
    (tmp_path / "wrong.yaml").write_text("mixtures: [{recipe: {wrong: 1}}]\n")
    designs = "{a: {simo_blocks: 1, siso_blocks: 1}, b: [seed=1]}"
    (tmp_path / "compare.yaml").write_text(f"recipe: full.yaml\ndesigns: {designs}\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").touch()
    results = refused(*(command.format(tmp_path) for command, _, _ in COMMANDS))
    for (command, code, reason), (found, said, loaded) in zip(COMMANDS, results, strict=True):
        assert (found, loaded) == (code, []), f"{command}: {said}"
        assert reason in said, command


def test_wrong_recipes_are_refused_before_anything_heavy_is_loaded(tmp_path):
    """Those of a run or of a comparison, and what is changed in them: on the command line, or by a design."""
    commands, reasons = [], []
    for number, (recipe, change, reason) in enumerate(RECIPES):
        (tmp_path / f"{number}.yaml").write_text(recipe)
        designs = {"a": [change] if change else {"simo_blocks": 1, "siso_blocks": 1}}
        (tmp_path / f"compare-{number}.yaml").write_text(json.dumps({"recipe": f"{number}.yaml", "designs": designs}))
        for given in (f"train {tmp_path}/{number}.yaml {change}", f"compare {tmp_path}/compare-{number}.yaml"):
            commands.append(f"{given} --speech {tmp_path} --out {tmp_path}/out")
            reasons.append(reason)
    for command, reason, (code, said, loaded) in zip(commands, reasons, refused(*commands), strict=True):
        assert (code, loaded) == (1, []), f"{command}: {said}"
        assert reason in said, command
    assert not (tmp_path / "out").exists()
