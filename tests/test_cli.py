"""The program as a user runs it: what it writes, what it says, how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO, Told, one_line_error, run, run_here, tone
from talkers import assert_separated, talk

from unbabble import __version__


def written(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


TALKERS = {folder: talk(rate)[:, : 3 * rate] for folder, rate in (("a", 8000), ("day 1/b.é", 48000), ("c", 44100))}


@pytest.fixture
def inbox(tmp_path):
    """A folder of recordings at several depths, rates and channel counts, with a file that is none of them."""
    root = tmp_path / "inbox"
    (root / "day 1").mkdir(parents=True)
    soundfile.write(root / "a.wav", TALKERS["a"].sum(0), 8000)
    soundfile.write(root / "day 1" / "b.é.flac", np.stack([TALKERS["day 1/b.é"].sum(0)] * 2, axis=1), 48000)
    (root / "notes.txt").write_text("not audio")
    return root


def test_files_and_folders_are_separated_and_the_structure_is_kept(inbox, oracle_flags, tmp_path):
    single = tmp_path / "c.flac"
    soundfile.write(single, TALKERS["c"].sum(0), 44100)
    done = run("separate", inbox, single, "--out", tmp_path / "out", *oracle_flags)
    assert done.returncode == 0, done.stderr
    assert written(tmp_path / "out") == [
        f"{folder}/{name}"
        for folder in ("a", "c", "day 1/b.é")
        for name in ("separation.json", "speaker1.wav", "speaker2.wav")
    ]
    assert "2 channels averaged into one" in done.stderr
    listed = [Path(line) for line in done.stdout.splitlines()]
    assert listed == [
        tmp_path / "out" / folder / f"speaker{n}.wav" for folder in ("a", "day 1/b.é", "c") for n in (1, 2)
    ]
    for folder, source in (("a", inbox / "a.wav"), ("day 1/b.é", inbox / "day 1" / "b.é.flac"), ("c", single)):
        given = soundfile.info(source)
        sidecar = json.loads((tmp_path / "out" / folder / "separation.json").read_text(encoding="utf-8"))
        assert sidecar["sample_rate"] == given.samplerate
        assert sidecar["n_samples"] == given.frames
        assert sidecar["model"] == "tiny"
        assert {"input", "model_version", "duration_s", "window_s", "seconds_taken"} <= sidecar.keys()
        tracks = np.stack(
            [soundfile.read(tmp_path / "out" / folder / track["file"])[0] for track in sidecar["tracks"]]
        )
        assert_separated(tracks, TALKERS[folder])
        for track, samples in zip(sidecar["tracks"], tracks, strict=True):
            assert track["peak_db"] == pytest.approx(20 * np.log10(np.abs(samples).max()), abs=0.01)


def test_inputs_of_the_same_name_do_not_collide(tmp_path, tiny_model):
    for folder, name in (("x", "a.wav"), ("y", "a.wav"), ("y", "a.flac"), ("z", "A.wav")):
        (tmp_path / folder).mkdir(exist_ok=True)
        soundfile.write(tmp_path / folder / name, tone(0.3), 16000)
    names = [tmp_path / name for name in ("x/a.wav", "y/a.wav", "y/a.flac", "z/A.wav")]
    assert run_here("separate", *names, "--out", tmp_path / "out", "--model", tiny_model).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["A-4", "a", "a-2", "a-3"]


def test_results_inside_the_input_folder_are_not_separated_again(inbox, tiny_model):
    for _ in range(2):
        arguments = ("separate", inbox, "--out", inbox / "out", "--model", tiny_model, "--speakers", "2")
        assert run_here(*arguments).returncode == 0
    assert len(written(inbox / "out")) == 6


@pytest.mark.parametrize("out", [".", "inbox", "elsewhere/../inbox/out"])
def test_a_folder_and_its_results_may_lie_in_one_another(inbox, tiny_model, out):
    (inbox.parent / "elsewhere").mkdir()
    for given in ("inbox", inbox):
        done = run("separate", given, "--out", out, "--model", tiny_model, "--quiet", cwd=inbox.parent)
        assert (done.returncode, done.stderr) == (0, "")
    folders = [path.parent for path in (inbox.parent / out).resolve().rglob("separation.json")]
    assert sorted(path.name for path in folders) == ["a", "b.é"]


def test_every_bad_input_is_told_and_the_good_ones_are_done(tmp_path, tiny_model):
    soundfile.write(tmp_path / "good.wav", tone(0.5), 16000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "zero.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "one.wav", np.zeros(1), 16000)
    soundfile.write(tmp_path / "10ms.wav", tone(0.01), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("hello " * 50)
    for suffix in ("mp3", "flac"):
        soundfile.write(tmp_path / f"cut.{suffix}", tone(3.0), 16000)
        whole = (tmp_path / f"cut.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "nothing here").mkdir()
    bad = [
        "missing.wav",
        "nothing here",
        "zero.wav",
        "one.wav",
        "10ms.wav",
        "nan.wav",
        "text.wav",
        "cut.mp3",
        "cut.flac",
    ]
    names = [*bad[:4], "good.wav", *bad[4:], "silent.wav"]
    arguments = ("--out", tmp_path / "out", "--model", tiny_model, "--speakers", "2")
    done = run_here("separate", *(tmp_path / name for name in names), *arguments)
    assert done.returncode == 1
    errors = done.stderr.splitlines()[-len(bad) :]
    assert "error" not in done.stderr.split(errors[0])[0], done.stderr
    for name, error in zip(bad, errors, strict=True):
        assert error.startswith(f"error: {tmp_path / name}: ")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good", "silent"]
    for track in ("speaker1.wav", "speaker2.wav"):
        samples, _ = soundfile.read(tmp_path / "out" / "silent" / track)
        assert samples.shape == (16000,)
        assert not samples.any()


@pytest.mark.skipif(sys.platform != "linux", reason="names of raw bytes and of this length are Linux's")
def test_strange_names_cost_nothing_else(tmp_path, tiny_model):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    soundfile.write(inbox / "a.wav", tone(0.5), 16000)
    os.rename(inbox / "a.wav", os.fsencode(inbox) + b"/caf\xe9.wav")
    arguments = ("--out", tmp_path / "out", "--model", tiny_model, "--speakers", "2", "--quiet")
    done = run("separate", "x" * 300, inbox, *arguments)
    assert done.returncode == 1
    one_line_error(done, "xxx", "cannot be read")
    assert len(written(tmp_path / "out")) == 3


def test_huge_samples_are_told_and_not_taken_for_silence(tmp_path, tiny_model):
    soundfile.write(tmp_path / "huge.wav", 1e30 * tone(0.5), 16000, subtype="FLOAT")
    done = run_here("separate", tmp_path / "huge.wav", "--out", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    one_line_error(done, "huge.wav", "levels far beyond full scale")


def test_debug_shows_the_traceback(tmp_path, tiny_model):
    done = run_here("--debug", "separate", tmp_path / "no.wav", "--out", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_unknown_model_is_one_line(tmp_path):
    done = run_here(
        "separate", REPO / "examples" / "two-talkers.flac", "--out", tmp_path / "out", "--model", "nonesuch"
    )
    assert done.returncode == 1
    one_line_error(done, "nonesuch", "default")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags",
    [
        *(["--overlap-s", "9"], ["--window-s", "inf"], ["--window-s", "0.1"], ["--threads", "0"], ["--jobs", "0"]),
        *(["--format", "tape"], ["--format", "flac", "--bits", "16"], ["--bits", "20"], ["--bits", "none"]),
        *(["--speakers", "0"], ["--speakers", "many"], ["--speakers", "-1"]),
        *(["--channel", "0"], ["--channel", "left"]),
        *(["--filename", name] for name in ("{speaker}", "{track}.{ext}", "{mood}/{speaker}.{ext}", "{")),
        *(["--filename", name] for name in ("../{speaker}.{ext}", "/{speaker}.{ext}", "{track:9}{speaker}.{ext}")),
        *(["--stdout"], ["--raw", "s16le", "--rate", "8000"], ["--rate", "8000"]),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(tmp_path, tiny_model, flags):
    soundfile.write(tmp_path / "a.wav", tone(0.5), 16000)
    done = run_here("separate", tmp_path / "a.wav", "--out", tmp_path / "out", "--model", tiny_model, *flags)
    assert done.returncode == 2
    assert "Error: Invalid value" in done.stderr
    assert not (tmp_path / "out").exists()


def test_wrong_commands_end_with_2(tmp_path):
    for arguments in (["separate"], ["nonesuch"], ["separate", "a.wav"], ["separate", "-", "a.wav", "--out", "out"]):
        assert run_here(*arguments).returncode == 2


def test_an_output_folder_that_is_a_file(tmp_path, tiny_model):
    soundfile.write(tmp_path / "a.wav", tone(0.5), 16000)
    (tmp_path / "out").write_text("a file")
    done = run_here("separate", tmp_path / "a.wav", "--out", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    one_line_error(done, str(tmp_path / "out"), "cannot be written", "--out")
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_a_disk_that_takes_no_more_leaves_no_partial_files(tmp_path, tiny_model, audio_format):
    """A limit on the size of files stands for the full disk."""
    import resource

    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).standard_normal(160_000) * 0.1, 16000)

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    arguments = ("--model", tiny_model, "--format", audio_format, "--speakers", "2")
    done = run("separate", tmp_path / "a.wav", "--out", tmp_path / "out", *arguments, preexec_fn=limited)
    assert done.returncode == 1
    one_line_error(done, str(tmp_path / "out" / "a" / f"speaker1.{audio_format}"), "cannot be written")
    assert not (tmp_path / "out").exists()


def test_quiet_says_nothing(inbox, tiny_model, tmp_path):
    done = run_here("separate", inbox, "--out", tmp_path / "out", "--model", tiny_model, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_python_interface_does_the_same(inbox, tiny_model, tmp_path):
    from unbabble import separate

    told = Told()
    given = [inbox, tmp_path / "no.wav"]
    outcomes = separate(given, tmp_path / "out", model=tiny_model, speakers=2, progress=told)
    assert [name for name, _ in told.tasks] == ["2 recordings", *(str(one.job.source) for one in outcomes[:2])]
    assert all(done == total for _, steps in told.tasks for done, total in steps[-1:])
    assert [outcome.error is None for outcome in outcomes] == [True, True, False]
    assert len(written(tmp_path / "out")) == 6
    assert all(track.exists() for outcome in outcomes for track in outcome.tracks)
    with pytest.raises(ValueError, match="bits"):
        separate(inbox, tmp_path / "out", audio_format="flac", bits=16)
    with pytest.raises(TypeError):
        separate(inbox, tmp_path / "out", colour="blue")


IMPORTS = """
import sys
import unbabble
if {separate}:
    import numpy
    unbabble.Separator({model!r})(numpy.zeros(8000), 16000)
heavy = {{"torch", "lightning", "matplotlib", "scipy", "pydantic"}} | ({{"onnxruntime"}} if not {separate} else set())
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("separate", [False, True])
def test_using_imports_nothing_of_making(tiny_model, separate):
    script = IMPORTS.format(separate=separate, model=str(tiny_model))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_extra_is_named(tmp_path):
    """With torch hidden, training says which installation brings it."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = run("train", REPO / "recipes" / "smoke.yaml", "--out", tmp_path / "run", env=environment)
    assert done.returncode == 1
    one_line_error(done, "unbabble train (", "needs packages", 'pip install "unbabble[train]"')


def test_the_version_needs_no_command():
    done = run_here("--version")
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_standard_streams_are_no_trouble(closed, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.5), RATE)
    command = f'"{sys.executable}" -m unbabble separate a.wav --out out {closed}'
    assert subprocess.run(command, shell=True, cwd=tmp_path, timeout=120).returncode == 0
    assert (tmp_path / "out" / "a" / "separation.json").is_file()


@pytest.mark.parametrize(
    "command",
    [
        ["separate", "{MIXTURE}", "--out", "{LONG}"],
        ["separate", "{MIXTURE}", "--jobs", "2", "--out", "{LONG}"],
        ["separate", "{LONG}", "--out", "{OUT}"],
        ["separate", "{MIXTURE}", "--model", "{LONG}", "--out", "{OUT}"],
        ["corpus", "{SPEECH}", "--out", "{LONG}.csv"],
        ["corpus", "{LONG}", "--out", "{OUT}.csv"],
        ["rooms", "--count", "1", "--out", "{LONG}.npz"],
        ["simulate", "--speech", "{SPEECH}", "--count", "1", "--out", "{LONG}"],
        ["simulate", "--speech", "{SPEECH}", "--count", "1", "--rooms", "{LONG}", "--out", "{OUT}"],
        ["simulate", "--speech", "{SPEECH}", "--list", "{LONG}", "--out", "{OUT}"],
        ["train", "{LONG}", "--out", "{OUT}"],
        ["train", "--resume", "{LONG}"],
        ["train", "{RECIPE}", "--speech", "{SPEECH}", "--out", "{LONG}"],
        ["evaluate", "default", "{LONG}", "--out", "{OUT}"],
        ["compare", "{LONG}", "--out", "{OUT}"],
        ["export", "{LONG}", "--out", "{OUT}"],
        ["quantize", "default", "--out", "{LONG}"],
        ["quantize", "{LONG}", "--out", "{OUT}"],
    ],
    ids=" ".join,
)
def test_names_that_no_system_takes_are_told_in_a_line(tmp_path, corpora, command):
    """Of 300 characters, wherever a name is given."""
    if command[0] in ("rooms", "simulate", "train", "quantize", "compare", "evaluate", "export"):
        pytest.importorskip("torch")  # without it, they say so first
    names = {
        "LONG": tmp_path / ("x" * 300),
        "OUT": tmp_path / "out",
        "MIXTURE": REPO / "examples" / "two-talkers.flac",
        "RECIPE": REPO / "recipes" / "smoke.yaml",
        "SPEECH": corpora[0],
    }
    given = [part.format(**names) for part in command]
    done = run_here(*given)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert any(reason in errors[0] for reason in ("File name too long", "no such model", "no such folder"))
    assert "report" not in errors[0]
