"""The diarizer: what it hears with, how it is trained, and that separation can use what comes out."""

import json
import math
import shutil

import numpy as np
import onnx
import pytest
import soundfile
import torch
from conftest import REPO, one_line_error, run_here, tone
from safetensors.torch import load_file, save_file

from unbabble import Separator
from unbabble.errors import CorpusError, ModelError, RecipeError, TrainingError
from unbabble.evaluation.diarization import DiarizationScores, equal_error
from unbabble.inference.engine import Diarizer as DiarizerInUse
from unbabble.inference.model_folder import BUNDLED, checksum
from unbabble.networks.config import DiarizerConfig
from unbabble.networks.diarizer import QUIETEST, Diarizer, LogMel, mel_filters
from unbabble.tracking.activity import Turn, runs, smooth, speech_frames, turns_of
from unbabble.training.checkpoint import read_checkpoint, write_checkpoint
from unbabble.training.data import DataModule
from unbabble.training.datasets import DiarizationBatch
from unbabble.training.diarization import DiarizationTask, cut_pieces, seconds_of
from unbabble.training.export import check_engines_agree, export_model
from unbabble.training.recipe import read_recipe, with_changes, with_data
from unbabble.training.run import train

RATE, FRAME = 8000, 320
RECIPE = """
kind: diarization
data: {valid_speakers: 0, workers: 0}
mixtures:
  - weight: 1
    recipe:
      {sample_rate: 8000, duration_s: 5.0, noise_snr_db: null, room: null,
       timeline:
         {kind: conversation, turn_s: [1.0, 2.5], pause_s: [0.2, 0.5],
          overlap_probability: 0.6, overlap_s: [0.4, 1.0]}}
network: {channels: 16, dilations: [1, 2], embedding: 8, bands: 20}
training: {max_epochs: 2, batch_size: 4, epoch_size: 8, valid_size: 4, checkpoint_minutes: 0, learning_rate: 0.01}
"""


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Speech of three speakers, each a hum of another height, in words of 0.4 s."""
    folder, rng = tmp_path_factory.mktemp("voices"), np.random.default_rng(0)
    time = np.arange(8 * RATE) / RATE
    for name, hertz in (("low", 120), ("middle", 310), ("high", 700)):
        hum = sum(np.sin(2 * np.pi * hertz * k * time + rng.uniform(0, 6)) / k for k in range(1, 5))
        (folder / name).mkdir()
        words = 0.1 * hum * (time % 0.5 < 0.4) + 1e-5 * rng.standard_normal(time.size)
        soundfile.write(folder / name / "hum.wav", words, RATE)
    return folder


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "diarizer.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def recipe(recipe_file, voices):
    return with_data(read_recipe(recipe_file), [voices])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, recipe_file, voices):
    """A run by the command, and what the command said."""
    run = tmp_path_factory.mktemp("runs") / "run"
    done = run_here("train", recipe_file, "--speech", voices, "--out", run, "--max-minutes", 60)
    assert done.returncode == 0, done.stderr
    return run, done


def test_what_is_heard_depends_neither_on_the_level_nor_on_the_mean_spectrum():
    mel = LogMel(DiarizerConfig())
    samples = torch.from_numpy(np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32))
    torch.testing.assert_close(mel(1e-3 * samples), mel(samples), atol=1e-3, rtol=0)
    torch.testing.assert_close(mel(samples).mean(-1), torch.zeros(2, 40), atol=1e-5, rtol=0)


def test_a_tone_that_grows_tenfold_grows_by_20_db_in_its_own_band():
    """Every frame has the same whole number of its periods, so that the difference is known."""
    config = DiarizerConfig()
    gain = torch.ones(2 * RATE)
    gain[RATE:] = 10
    samples = gain * torch.sin(2 * math.pi * 1000 * torch.arange(2 * RATE) / RATE)
    heard = LogMel(config)(samples[None])[0]
    band = int(mel_filters(config)[:, 1000 * config.window // RATE].argmax())
    soft, loud = heard[band, 10:90], heard[band, 110:190]
    power = (config.window / 4) ** 2 * mel_filters(config)[band] @ hann_of_tone(config)
    floor = QUIETEST * config.window**2 * 50.5 / 2  # the mean power before the level was taken out
    assert loud.mean() - soft.mean() == pytest.approx(math.log((100 * power + floor) / (power + floor)), abs=1e-3)
    assert soft.std() < 1e-3
    assert loud.std() < 1e-3


def hann_of_tone(config):
    """Power over the bins of a Hann window of a tone at the middle of bin 32: 1 there, a quarter beside it."""
    power = torch.zeros(config.window // 2 + 1)
    power[31:34] = torch.tensor([0.25, 1.0, 0.25])
    return power


@pytest.mark.parametrize("config", [DiarizerConfig(), DiarizerConfig(bands=20), DiarizerConfig(sample_rate=16000)])
def test_mel_filters_are_means_over_rising_bands(config):
    filters = mel_filters(config)
    assert (filters >= 0).all()
    torch.testing.assert_close(filters.sum(1), torch.ones(config.bands))
    middles = filters @ torch.arange(config.window // 2 + 1.0)
    assert (middles.diff() > 0).all()


def test_speech_is_found_where_it_is():
    rng = np.random.default_rng(0)
    signals = np.zeros((3, 100 * FRAME), np.float32)
    signals[0, 10 * FRAME : 30 * FRAME] = 0.1 * rng.standard_normal(20 * FRAME)
    signals[0, 60 * FRAME : 90 * FRAME] = 0.1 * rng.standard_normal(30 * FRAME)
    signals[1] = 1e-4 * rng.standard_normal(100 * FRAME)  # 60 dB below the loud frames
    signals[1, 20 * FRAME : 70 * FRAME] = 0.1 * rng.standard_normal(50 * FRAME)
    talking = speech_frames(signals, RATE)
    assert talking.shape == (3, 100)
    assert [runs(row) for row in talking] == [[(10, 30), (60, 90)], [(20, 70)], []]
    close, turns = pytest.approx, turns_of(talking)
    assert turns == (
        Turn(0, close(0.4), close(1.2), close(0.5)),
        Turn(1, close(0.8), close(2.8), close(0.4)),
        Turn(0, close(2.4), close(3.6), close(1 / 3)),
    )
    assert speech_frames(np.zeros((0, RATE), np.float32), RATE).shape == (0, 25)


@pytest.mark.parametrize(
    ("frames", "smoothed"),
    [
        ("111000111", "111111111"),  # a gap of 0.12 s
        ("11100000001111", "11100000001111"),  # of 0.28 s
        ("000110000000111", "000000000000111"),  # a click of 0.08 s
        ("0011100", "0011100"),  # what begins and ends is no gap
        ("110001", "111111"),  # gaps are filled before clicks are left out
        ("", ""),
    ],
)
def test_gaps_are_filled_and_clicks_left_out(frames, smoothed):
    given = np.array([frame == "1" for frame in frames], bool)
    before = given.copy()
    assert "".join("01"[int(frame)] for frame in smooth(given)) == smoothed
    np.testing.assert_array_equal(given, before)


def test_runs_are_the_unbroken_stretches():
    assert runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert runs(np.zeros(3, bool)) == runs(np.zeros(0, bool)) == []


def test_the_equal_error_of_known_distributions():
    rng = np.random.default_rng(0)
    apart, normal = np.array([0.8, 0.9]), rng.standard_normal(100_000)
    assert equal_error(apart, -apart) == 0
    assert equal_error(-apart, apart) == 1
    assert equal_error(normal, rng.standard_normal(50_000)) == pytest.approx(0.5, abs=0.01)
    two_deviations_apart = 0.5 * math.erfc(1 / math.sqrt(2))
    assert equal_error(normal + 2, rng.standard_normal(50_000)) == pytest.approx(two_deviations_apart, abs=0.005)
    assert math.isnan(equal_error(apart, np.zeros(0)))


def test_recall_and_precision_of_counts_and_what_did_not_occur():
    found = DiarizationScores(3)
    found.add_counts(np.array([[0, 0, 0, 0], [1, 1, 1, 1]]), np.array([[0, 0, 0, 1], [1, 1, 0, 0]]))
    assert found.scores() == {
        **{"recall_0": 0.75, "recall_1": 0.5, "recall_2": None},
        **{"precision_0": 0.6, "precision_1": 0.667, "precision_2": None},
        "equal_error": None,
    }
    east, north = np.array([[1.0, 0.0]] * 3, np.float32), np.array([[0.0, 1.0]] * 2, np.float32)
    found.add_embeddings([east, north])
    assert found.scores()["equal_error"] == 0


def test_pieces_are_of_one_talker_alone():
    """Voices that say which talker they are of, and what is shared another number."""
    alone = torch.zeros(1, 3, 100, dtype=torch.bool)
    alone[0, 0, 14:44], alone[0, 1, 50:100], alone[0, 2, :14] = True, True, True  # the last for 0.56 s only
    heard = torch.full((1, 101, 1), 99.0)
    for talker in range(3):
        heard[0, :100][alone[0, talker]] = float(talker)
    batch = DiarizationBatch(torch.zeros(1, 0), torch.zeros(1, 100), alone, torch.tensor([[7, 8, 9]]))
    pieces, whose = cut_pieces(heard, batch)
    assert pieces[:, 0].tolist() == [0, 0, 1, 1]
    assert whose.tolist() == [7, 7, 8, 8]
    nothing, nobody = cut_pieces(heard, batch._replace(alone=torch.zeros_like(alone)))
    assert (nothing.shape, nobody.shape) == ((0, 1), (0,))
    assert [len(seconds_of(heard[0], row)) for row in alone[0]] == [1, 2, 0]


def test_a_tiny_diarizer_learns_a_few_mixtures_by_heart(recipe, tmp_path, monkeypatch):
    torch.manual_seed(0)
    data = DataModule(with_changes(recipe, ["training.epoch_size=4"]), tmp_path)
    task = DiarizationTask(recipe.network.build(), recipe.training, data.speakers)
    monkeypatch.setattr(task, "log", lambda name, value, **_: None)
    batch = next(iter(data.train_dataloader()))
    optimizer = torch.optim.AdamW(task.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        task.loss(batch).backward()
        optimizer.step()
    with torch.inference_mode():
        task.eval().validation_step(batch, 0)
    task.on_validation_epoch_end()
    assert min(task.scores[f"recall_{count}"] for count in range(3)) > 0.8, task.scores
    assert task.scores["equal_error"] < 0.1, task.scores


def test_the_command_ends_with_a_diarizer_that_separation_can_use(trained, tiny_model):
    run, done = trained
    assert done.stdout.splitlines()[-1] == str(run / "model")
    assert "speakers to train on" in done.stdout
    assert "recall of 0, 1, 2 talkers" in " ".join(done.stdout.split())
    card = json.loads((run / "model" / "model.json").read_text())
    assert (card["kind"], card["training"]["steps"]) == ("diarization", 4)
    assert 0 <= card["scores_on_validation_speakers"]["recall_1"] <= 1
    separator = Separator(tiny_model, diarizer=run / "model")
    assert separator.diarizer.embedding_size == 8
    assert separator(tone(3.0), 16000).shape == (2, 48000)


def test_one_kind_of_model_is_not_taken_for_the_other(trained, tiny_model, recipe, tmp_path):
    with pytest.raises(ModelError, match="a model for 'diarization'; expected one for 'separation'"):
        Separator(trained[0] / "model")
    with pytest.raises(ModelError, match="a model for 'separation'; expected one for 'diarization'"):
        Separator(tiny_model, diarizer=tiny_model)
    with pytest.raises(ModelError, match="expected one for 'diarization'"):
        train(with_changes(recipe, [f"training.start={tiny_model}"]), tmp_path / "run")


def test_a_diarizer_trains_with_all_that_separators_have(recipe, trained, tmp_path):
    """Averaged weights, accumulated gradients, Muon, workers, and a start whose weights are kept."""
    options = ["training.ema=0.5", "training.accumulate=2", "training.optimizer=muon", "data.workers=1"]
    start = [f"training.start={trained[0] / 'model'}", "training.start_weight=1", "training.max_epochs=1"]
    model = train(with_changes(recipe, [*options, *start]), tmp_path / "run")
    begun, kept = (load_file(folder / "weights.safetensors") for folder in (trained[0] / "model", model))
    moved = [name for name in begun if not torch.allclose(begun[name], kept[name])]
    assert all(name.endswith("num_batches_tracked") for name in moved)


def as_of_old(model, folder):
    """A folder as it was before all networks had one format."""
    folder.mkdir()
    graph = onnx.load(model / "diarizer.onnx")
    for name in [output for node in graph.graph.node for output in node.output]:
        assert name != "voices"
    for names in (node.output for node in graph.graph.node):
        names[:] = ["voices" if name == "embeddings" else name for name in names]
    graph.graph.output[1].name = "voices"
    onnx.save(graph, folder / "listener.onnx")
    weights = load_file(model / "weights.safetensors")
    save_file(
        {name.replace("embeddings.", "voices."): weight for name, weight in weights.items()},
        folder / "weights.safetensors",
    )
    card = json.loads((model / "model.json").read_text())
    network = card["network"]
    network["voice"] = network.pop("embedding")
    old = {"name": "listener", "licence": "x", "sample_rate": 8000, "voice_size": 8, "network": network}
    old["checksums"] = {name: checksum(folder / name) for name in ("listener.onnx", "weights.safetensors")}
    (folder / "listener.json").write_text(json.dumps(old))
    return folder


def test_folders_of_old_are_still_read(trained, recipe, tmp_path):
    old = as_of_old(trained[0] / "model", tmp_path / "old")
    signals = np.stack([tone(1.0, 8000)])
    for one, other in zip(
        *(DiarizerInUse(model)(signals, 8000) for model in (old, trained[0] / "model")), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    changes = [f"training.start={old}", "training.max_epochs=1", "training.learning_rate=1e-12"]
    model = train(with_changes(recipe, changes), tmp_path / "run")
    assert json.loads((model / "model.json").read_text())["training"]["start"]["name"] == "listener"


def test_recipes_of_old_are_still_read(recipe, recipe_file, voices, tmp_path):
    old = RECIPE.replace("kind: diarization\n", "").replace("embedding: 8", "voice: 8")
    old = old.replace("max_epochs: 2", "minutes: 7, scale: 3, margin: 0.5, voice_weight: 0.7, max_epochs: 1")
    (tmp_path / "old.yaml").write_text(old + "licence: free\n")
    read = read_recipe(tmp_path / "old.yaml", "diarization")
    loss = read.training.loss
    assert (read.training.max_minutes, loss.scale, loss.margin, loss.weight) == (7, 3, 0.5, 0.7)
    assert (read.network, read.model.license) == (recipe.network, "free")
    done = run_here("train-listener", tmp_path / "old.yaml", "--speech", voices, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "train-listener" not in run_here("--help").stdout


def test_a_result_by_another_diarizer_is_not_the_one_wanted(trained, tiny_model, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16000)
    command = ("separate", tmp_path / "a.wav", "--out", tmp_path / "out", "--model", tiny_model)
    assert run_here(*command).returncode == 0
    one_line_error(run_here(*command, "--diarizer", trained[0] / "model"), "is there already with other settings")
    assert run_here(*command, "--diarizer", trained[0] / "model", "--force").returncode == 0
    again = run_here(*command, "--diarizer", trained[0] / "model")
    assert "was done before" in again.stderr


def test_a_run_goes_on_where_it_was_stopped(recipe, trained, tmp_path, monkeypatch):
    """To the same weights as one that was not."""
    run, loss = tmp_path / "run", DiarizationTask.loss

    def interrupted(task, batch):
        if task.global_step == 3:
            raise SystemExit
        return loss(task, batch)

    torch.manual_seed(0)
    monkeypatch.setattr(DiarizationTask, "loss", interrupted)
    with pytest.raises(SystemExit):
        train(recipe, run)
    monkeypatch.setattr(DiarizationTask, "loss", loss)
    assert read_checkpoint(run / "last.safetensors")["global_step"] == 3
    done = run_here("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    one, other = (read_checkpoint(folder / "last.safetensors") for folder in (run, trained[0]))
    assert one["DataModule"] == other["DataModule"] == {"drawn": 16}
    assert all(torch.equal(one["state_dict"][name], other["state_dict"][name]) for name in other["state_dict"])
    with pytest.raises(TrainingError, match="go on with --resume, or choose another --out"):
        train(recipe, run)
    with pytest.raises(TrainingError, match="other network"):
        train(with_changes(recipe, ["network.embedding=9"]), run, resume=True)


def test_a_run_of_old_is_not_gone_on_with(recipe, trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    write_checkpoint({"network": {}, "voices": {}, "minutes": 3.0}, tmp_path / "run" / "last.safetensors")
    with pytest.raises(TrainingError, match="begin anew"):
        train(recipe, tmp_path / "run", resume=True)


def test_a_run_of_other_speakers_cannot_go_on(recipe, voices, trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    shutil.copytree(voices, tmp_path / "voices")
    (tmp_path / "voices" / "low").rename(tmp_path / "voices" / "bass")
    with pytest.raises(TrainingError, match="other speakers; give them, or another --out"):
        train(with_data(recipe, [tmp_path / "voices"]), tmp_path / "run", resume=True)


def test_what_cannot_be_trained_is_told(recipe_file, recipe, tmp_path):
    with pytest.raises(TrainingError, match="to resume from; start the run without --resume"):
        train(recipe, tmp_path / "new", resume=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError):
        train(with_data(recipe, [tmp_path / "empty"]), tmp_path / "run")
    wrong = run_here("train", recipe_file, "speed=1", "--speech", tmp_path / "empty", "--out", tmp_path / "run")
    one_line_error(wrong, "is not a key")
    assert run_here("train").returncode == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("network.sample_rate=16000", "must agree on the sample rate"),
        ("network.hop=100", "a frame of 40 ms divided by 4"),
        ("data.mix_on_device=true", "mixtures that are drawn"),
        ("mixtures.0.recipe.duration_s=null", "duration_s"),
        ("training.minute=3", "is not a key that anything reads"),
    ],
)
def test_a_wrong_recipe_is_explained(recipe, change, told):
    with pytest.raises(RecipeError, match=told):
        with_changes(recipe, [change])


def test_the_recipe_of_the_bundled_diarizer_is_understood():
    recipe = read_recipe(REPO / "recipes" / "diarizer.yaml")
    card = json.loads((BUNDLED / "diarizer" / "model.json").read_text())
    assert (recipe.model.license, recipe.model.limits) == (card["license"], card["limits"])
    assert recipe.data.description == card["training"]["data"]
    assert recipe.network == with_changes(recipe, [f"network={json.dumps(card['network'])}"]).network
    recipe.network.build().load_state_dict(load_file(BUNDLED / "diarizer" / "weights.safetensors"))


def test_a_diarizer_that_onnx_runtime_computes_differently_is_refused(recipe, tmp_path, monkeypatch):
    folder = export_model(Diarizer(recipe.network), recipe, tmp_path / "one")
    with pytest.raises(ModelError, match="export refused: ONNX Runtime differs"):
        check_engines_agree(Diarizer(recipe.network).eval(), recipe, folder)
    monkeypatch.setattr("unbabble.training.export.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="export refused"):
        export_model(Diarizer(recipe.network), recipe, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "diarizer.onnx").write_bytes(b"0"), ("model.json: damaged or changed", "get")),
        (lambda folder: (folder / "diarizer.onnx").unlink(), ("diarizer.onnx: missing", "get the folder again")),
        (lambda folder: (folder / "model.json").unlink(), ("has no model.json",)),
        (lambda folder: (folder / "model.json").write_text("[]"), ("model.json: not a card",)),
        (lambda folder: (folder / "model.json").write_text("{"), ("model.json: not readable as JSON",)),
        (lambda folder: (folder / "model.json").write_text("{}"), ("not a model of format 1",)),
    ],
)
def test_a_damaged_diarizer_is_refused_in_one_line(damage, told, tiny_model, tmp_path):
    shutil.copytree(BUNDLED / "diarizer", tmp_path / "diarizer")
    damage(tmp_path / "diarizer")
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16000)
    command = ("separate", tmp_path / "a.wav", "--out", tmp_path / "out", "--model", tiny_model)
    one_line_error(run_here(*command, "--diarizer", tmp_path / "diarizer"), *told)
    with pytest.raises(ModelError):
        Separator(tiny_model, diarizer=tmp_path / "diarizer")
