"""Training runs: from a recipe to a model folder that separates, checkpoints, refusals."""

import dataclasses
import json
import math
import os
import pickle
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import REPO, run_here, tone
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unbabble import Separator
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import ModelError, TrainingError
from unbabble.inference.model_folder import open_model
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import Overlap, WeightedRecipe
from unbabble.networks.config import MixedDesign, SisoOnlyDesign
from unbabble.networks.network import SeparationNetwork
from unbabble.training.checkpoint import LastCheckpoint, read_checkpoint, read_weights, write_checkpoint
from unbabble.training.config import DataConfig
from unbabble.training.data import DataModule, split_corpora
from unbabble.training.export import export_run
from unbabble.training.optimizers import TrapezoidSchedule
from unbabble.training.recipe import read_recipe, recipe_of_run, with_changes, with_data
from unbabble.training.run import Processes, train
from unbabble.training.separation import SeparationTask


def short_recipe(**training):
    """The smoke recipe, made shorter still."""
    recipe = read_recipe(REPO / "recipes" / "smoke.yaml")
    changed = {"max_epochs": 2, "epoch_size": 8, "valid_size": 4, **training}
    return dataclasses.replace(
        recipe,
        mixtures=recipe.mixtures[:1],
        training=dataclasses.replace(recipe.training, **changed),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(short_recipe(), folder)
    return folder


def test_a_run_ends_with_a_model_that_separates(run):
    tracks = Separator(run / "model")(tone(0.5), 16000)
    assert tracks.shape == (2, 8000)
    card = json.loads((run / "model" / "model.json").read_text())
    assert card["name"] == "smoke"
    assert card["training"]["settings"]["epoch_size"] == 8
    assert list((run / "logs").iterdir())


@pytest.mark.parametrize("design", [MixedDesign(0, 1), MixedDesign(1, 0), SisoOnlyDesign(1, 1)])
def test_every_design_trains_for_any_number_of_talkers(corpora, tmp_path, design):
    recipe = with_data(short_recipe(max_epochs=1), [corpora[0]], [], None)
    three = WeightedRecipe(1.0, dataclasses.replace(recipe.mixtures[0].recipe, n_speakers=3))
    network = dataclasses.replace(recipe.network, design=design, n_sources=3)
    model = train(dataclasses.replace(recipe, mixtures=(three,), network=network), tmp_path / "run")
    assert Separator(model)(tone(0.5), 16000).shape == (3, 8000)


def test_a_run_can_be_resumed_and_is_not_overwritten(run, tmp_path):
    with pytest.raises(TrainingError, match="--resume"):
        train(short_recipe(), run)
    with pytest.raises(TrainingError, match="to resume from"):
        train(short_recipe(), tmp_path / "new", resume=True)
    before = read_checkpoint(run / "last.safetensors")
    train(short_recipe(max_epochs=3), run, resume=True)
    after = read_checkpoint(run / "last.safetensors")
    assert (before["global_step"], after["global_step"]) == (4, 6)


def test_another_network_cannot_go_on_with_a_run_and_leaves_it_whole(run):
    other = read_recipe(REPO / "recipes" / "paper.yaml")
    with pytest.raises(TrainingError, match="other network"):
        train(dataclasses.replace(short_recipe(), network=other.network), run, resume=True)
    assert export_run(run, run / "model").is_dir()


def test_a_resumed_run_counts_the_minutes_it_had(run):
    assert read_checkpoint(run / "last.safetensors")["minutes"] > 0
    task = SeparationTask(torch.nn.Linear(1, 1), short_recipe(max_minutes=10.0).training)
    task.on_load_checkpoint({"minutes": 7.5, "generator": torch.get_rng_state()})
    task.on_train_start()
    task.on_train_batch_end()
    assert task.minutes == pytest.approx(7.5, abs=0.1)


@pytest.mark.parametrize(("epoch_size", "accumulate", "n_steps"), [(12, 2, 4), (11, 1, 4), (3, 1, 2)])
def test_the_schedule_ends_with_the_last_step(tmp_path, monkeypatch, epoch_size, accumulate, n_steps):
    progress = []
    monkeypatch.setattr(TrapezoidSchedule, "factor_at", lambda _, now: progress.append(now.progress) or 1.0)
    sizes = {"batch_size": 4, "epoch_size": epoch_size, "accumulate": accumulate, "valid_size": 2}
    train(short_recipe(max_epochs=2, schedule=TrapezoidSchedule(), **sizes), tmp_path / "run")
    assert progress == [step / n_steps for step in range(n_steps + 1)]


def test_loaders_can_be_sent_to_workers_on_any_system(tmp_path):
    """Systems without fork pickle the dataset."""
    recipe = read_recipe(REPO / "recipes" / "smoke.yaml")
    training = dataclasses.replace(recipe.training, epoch_size=4)
    data = DataModule(dataclasses.replace(recipe, training=training), tmp_path)
    mixture, *_ = pickle.loads(pickle.dumps(data.train))[1]
    assert torch.equal(mixture, data.train[1][0])


def test_a_step_whose_gradient_is_no_number_changes_nothing_and_ten_in_a_row_end_the_run(
    tmp_path, monkeypatch, capsys
):
    step, poisoned = SeparationTask.training_step, {1, 2}
    monkeypatch.setattr(
        SeparationTask,
        "training_step",
        lambda task, batch, index: step(task, batch, index) * (math.nan if task.global_step in poisoned else 1.0),
    )
    train(short_recipe(max_epochs=2), tmp_path / "run")
    assert capsys.readouterr().out.count("skipped, its gradient is no number") == 2
    weights = load_file(tmp_path / "run" / "model" / "weights.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())
    poisoned = set(range(4, 99))
    with pytest.raises(
        TrainingError, match=r"no number in 10 steps in a row.*the last good checkpoint is .*last\.safe"
    ):
        train(short_recipe(max_epochs=50, patience=99), tmp_path / "other")


def test_bins_without_validation_mixtures_are_named_once(tmp_path, capsys):
    recipe = short_recipe(log_steps=1)
    alike = dataclasses.replace(recipe.mixtures[0].recipe, timeline=Overlap(ratios=((0.3, 0.4),)))
    train(dataclasses.replace(recipe, mixtures=(WeightedRecipe(1.0, alike),)), tmp_path / "run")
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("no validation mixture has an overlap of <25 %, 50-75 %, >75 %: nothing is measured there") == 1
    assert re.search(r"epoch 2: .* waiting for data \d+\.\d% of the time", told)


def test_a_batch_too_large_for_the_device_is_answered_with_one_that_fits(tmp_path, monkeypatch):
    forward = SeparationNetwork.forward

    def small_device(network, mixture, n_sources=None):
        if len(mixture) > 3:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 2 GiB")
        return forward(network, mixture, n_sources)

    monkeypatch.setattr(SeparationNetwork, "forward", small_device)
    with pytest.raises(TrainingError, match=r"batch_size 8 is too large .*batch_size: 2 fits; with accumulate: 4 it"):
        train(short_recipe(batch_size=8), tmp_path / "run")


def test_a_run_can_be_changed_and_resumed_from_the_command_line(run, tmp_path):
    recipe, out = REPO / "recipes" / "smoke.yaml", tmp_path / "run"
    few = ["training.max_epochs=1", "training.epoch_size=4", "training.valid_size=2"]
    done = run_here("train", recipe, *few, "training.accumulate=2", "training.ema=0.5", "--out", out)
    assert done.returncode == 0, done.stderr
    assert str(out / "model") in done.stdout
    settings = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["training"]
    assert (settings["accumulate"], settings["ema"]) == (2, 0.5)
    done = run_here("train", "--resume", tmp_path / "run", "training.max_epochs=2", "--max-minutes", 5)
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(out / "last.safetensors")["epoch"] == 1
    assert run_here("train").returncode == 2
    done = run_here("train", "--resume", tmp_path / "run", "--start", "default")
    assert (done.returncode, "holds a run with other training.start" in " ".join(done.stderr.split())) == (1, True)


def test_tensorboard_has_scores_by_overlap_examples_and_throughput(tmp_path):
    recipe = short_recipe(max_epochs=1, valid_size=12, log_steps=1)
    train(recipe, tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "logs"), {"audio": 0})
    events.Reload()
    scalars = events.Tags()["scalars"]
    assert {"train/loss_step", "train/mixtures_per_s", "train/waiting_for_data", "valid/loss"} <= set(scalars)
    assert sum(name.startswith("valid/si_sdr_improvement at overlap") for name in scalars) >= 3
    assert len(events.Tags()["audio"]) == 4 * 3
    assert 0 <= events.Scalars("train/waiting_for_data")[0].value <= 1


def test_a_run_can_start_from_a_model(run, tmp_path):
    still = short_recipe(max_epochs=1, learning_rate=1e-12)
    model = train(with_changes(still, [f"training.start={run / 'model'}"]), tmp_path / "run")
    one, other = (load_file(folder / "weights.safetensors") for folder in (run / "model", model))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    begun = open_model(run / "model").card
    assert open_model(model).card["training"]["start"] == {
        "name": begun["name"],
        "version": begun["version"],
        "checksum": begun["checksums"]["weights.safetensors"],
    }
    with pytest.raises(ModelError, match=r"another network.*training.start=null"):
        train(with_changes(still, ["training.start=default"]), tmp_path / "other")
    (tmp_path / "run" / "start.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"start.safetensors: no such checkpoint"):
        export_run(tmp_path / "run", tmp_path / "exported")


def test_the_start_keeps_its_weight(run, tmp_path):
    """On the straight line between what the run began with and what it found."""
    changes = [f"training.start={run / 'model'}", "training.start_weight=0.25"]
    model = train(with_changes(short_recipe(max_epochs=1), changes), tmp_path / "run")
    found = read_weights(read_checkpoint(tmp_path / "run" / "best.safetensors"), "network.")
    start, kept = (load_file(folder / "weights.safetensors") for folder in (run / "model", model))
    assert any(not torch.equal(found[name], start[name]) for name in found)
    for name, weight in kept.items():
        torch.testing.assert_close(weight, 0.75 * found[name] + 0.25 * start[name])


def test_training_stops_when_nothing_gets_better(tmp_path):
    train(short_recipe(max_epochs=50, patience=2, learning_rate=1e-12), tmp_path / "run")
    assert read_checkpoint(tmp_path / "run" / "last.safetensors")["epoch"] < 10


def test_a_run_keeps_to_its_minutes(tmp_path):
    train(short_recipe(max_epochs=10_000, patience=10_000, max_minutes=0.03), tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.json").is_file()


KILLED = """
import os, signal, sys
from pathlib import Path
import unbabble.training.fit
from unbabble.training.run import train
from unbabble.training.separation import SeparationTask

run, kill_at, resume = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "resume"
step = SeparationTask.training_step

def watched(task, batch, index):
    if task.global_step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    loss = step(task, batch, index)
    with open(run / "losses.txt", "a") as file:
        print(task.global_step, loss.item().hex(), file=file)
    return loss

SeparationTask.training_step = watched
unbabble.training.fit.export_run = lambda run, folder: folder
from conftest import REPO
from unbabble.training.recipe import read_recipe, recipe_of_run, with_changes
if resume:
    recipe = recipe_of_run(run)
else:
    recipe = with_changes(read_recipe(REPO / "recipes/smoke.yaml"), sys.argv[4:])
train(recipe, run, resume=resume)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
@pytest.mark.parametrize(
    ("kill_at", "more"),  # within an epoch of four steps, and at its end
    [(3, ()), (4, ("training.epoch_size=32", "training.ema=0.9", "training.accumulate=2", "data.workers=1"))],
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, kill_at, more):
    changes = ["training.max_epochs=2", "training.epoch_size=16", "training.valid_size=4", "training.batch_size=4"]
    changes += ["training.schedule={kind: step}", "training.checkpoint_minutes=0", *more]
    for name, *stages in (("whole", (-1, "start")), ("killed", (kill_at, "start"), (-1, "resume"))):
        (tmp_path / name).mkdir()
        for at, stage in stages:
            command = [sys.executable, "-c", KILLED, str(tmp_path / name), str(at), stage, *changes]
            done = subprocess.run(
                command,
                cwd=REPO / "tests",
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                timeout=200,
            )
            assert done.returncode == (0 if at < 0 else -signal.SIGKILL), done.stderr.decode()
    whole, killed = ((tmp_path / name / "losses.txt").read_text().split("\n") for name in ("whole", "killed"))
    assert len(whole) > 8
    assert killed == whole
    one, other = (read_checkpoint(tmp_path / name / "last.safetensors")["state_dict"] for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_an_older_version_began_goes_on(tmp_path):
    """Stopped within its second epoch of four batches of four, by a version in which only Lightning counted."""
    shutil.copytree(Path(__file__).parent / "old_run", tmp_path / "run")
    before = read_checkpoint(tmp_path / "run" / "last.safetensors")
    assert "DataModule" not in before
    recipe = with_data(recipe_of_run(tmp_path / "run"), [REPO / "examples" / "voices"])
    numbers, draw = [], Mixer.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mixer, "__call__", lambda mixer, index: numbers.append(index) or draw(mixer, index))
        train(recipe, tmp_path / "run", resume=True)
    after = read_checkpoint(tmp_path / "run" / "last.safetensors")
    assert [number for number in numbers if number >= 4] == list(range(24, 48))  # 0 to 3 are validated on
    assert (before["global_step"], after["global_step"]) == (6, 12)
    assert int(after["optimizer_states"][0]["state"][0]["step"]) == 12
    assert after["minutes"] > before["minutes"] > 0
    assert after["DataModule"] == {"drawn": 48}


def test_rooms_are_made_once_a_run(run_of_rooms, monkeypatch):
    recipe, run, mixture = run_of_rooms
    monkeypatch.setattr("unbabble.training.data.make_bank", lambda *_: pytest.fail("made again"))
    for processes in (Processes(), Processes(1, 2, 2)):  # resumed, and the second of two
        again = DataModule(recipe, run, processes)
        torch.testing.assert_close(again.train[3].mixture, mixture, atol=0, rtol=0)


@pytest.fixture
def run_of_rooms(tmp_path):
    """A recipe of mixtures in rooms, the folder of its run, and the fourth mixture."""
    recipe = read_recipe(REPO / "recipes" / "smoke.yaml")
    recipe = dataclasses.replace(recipe, mixtures=recipe.mixtures[1:])
    recipe = with_changes(
        recipe, ["training.epoch_size=4", "data.rooms=2", "mixtures.0.recipe.room.t60_s=[0.1, 0.2]"]
    )
    return recipe, tmp_path / "run", DataModule(recipe, tmp_path / "run").train[3].mixture


def test_processes_save_at_the_same_step_whatever_their_own_clocks_say(tmp_path):
    task = SeparationTask(torch.nn.Linear(1, 1), short_recipe().training)
    saved = []
    trainer = SimpleNamespace(save_checkpoint=lambda path: saved.append(task.minutes))
    checkpoints = LastCheckpoint(tmp_path, minutes=10.0)
    for task.minutes in (4.0, 9.9, 10.1, 19.0, 20.2, 21.0):  # the clock that all processes share
        checkpoints.on_train_batch_end(trainer, task)
    assert saved == [10.1, 20.2]


@pytest.mark.slow
def test_training_lowers_the_loss(tmp_path):
    recipe = short_recipe(max_epochs=8, epoch_size=40, learning_rate=5e-3)
    train(recipe, tmp_path / "run")
    states = read_checkpoint(tmp_path / "run" / "best.safetensors")["callbacks"]
    best = next(state["best_model_score"] for state in states.values() if state.get("best_model_score") is not None)
    assert float(best) < -3.5  # the mixture itself, halved, has about -2.5


def test_a_checkpoint_keeps_its_tree(tmp_path):
    tree = {
        "epoch": 3,
        "state": {0: {"step": torch.tensor(2.0), "m": torch.arange(3)}, "name": None},
        "list": [1, (2.5, "x"), torch.eye(2)[:, 0]],
        "flag": True,
    }
    write_checkpoint(tree, tmp_path / "a.safetensors")
    back = read_checkpoint(tmp_path / "a.safetensors")
    assert back["epoch"] == 3
    assert back["flag"] is True
    assert back["list"][1] == (2.5, "x")
    assert torch.equal(back["state"][0]["m"], torch.arange(3))
    assert torch.equal(back["list"][2], torch.tensor([1.0, 0.0]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_checkpoint_that_cannot_be_stored_is_refused(tmp_path):
    with pytest.raises(TypeError, match="cannot hold"):
        write_checkpoint({"a": object()}, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_checkpoint_is_told(tmp_path):
    torch.save({"a": 1}, tmp_path / "pickle.ckpt")
    with pytest.raises(TrainingError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "pickle.ckpt")
    with pytest.raises(TrainingError, match="not a training run"):
        export_run(tmp_path, tmp_path / "model")


def test_speakers_held_out_are_in_no_mixture_of_the_training(corpora):
    everything = scan_corpora([corpora[0]], [])
    train_part, valid_part = split_corpora(everything, DataConfig(valid_speakers=1), seed=0)
    assert len(valid_part.speech.names) == 1
    assert set(train_part.speech.names) | set(valid_part.speech.names) == set(everything.speech.names)
    assert not set(train_part.speech.names) & set(valid_part.speech.names)


def test_training_mixtures_never_come_again_and_validation_mixtures_always_do(tmp_path):
    data = DataModule(short_recipe(), tmp_path)
    sampler = data.train_dataloader().sampler
    numbers = list(sampler)
    data.drawn = 8
    assert numbers + list(sampler) == list(range(16))
    first, again = ([batch.mixture for batch in data.val_dataloader()] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept with glibc only")
def test_a_process_that_trains_asks_for_fresh_pages_once():
    """32 MB at a time, from the second time on in pages that were there before."""
    program = (
        "import resource, sys, numpy\n"
        "from unbabble.cli.toolkit import keep_freed_memory\n"
        "if sys.argv[1] == 'keep': keep_freed_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "numpy.ones(1 << 22); before = faults()\n"
        "for _ in range(10): numpy.ones(1 << 22)\n"
        "print(faults() - before)\n"
    )
    fresh, kept = (
        int(subprocess.run([sys.executable, "-c", program, how], capture_output=True, check=True).stdout)
        for how in ("fresh", "keep")
    )
    assert kept < 0.1 * fresh
