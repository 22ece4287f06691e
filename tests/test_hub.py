"""Models by name from the Hub, and onto it: a server on localhost stands in for it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import REPO, one_line_error, run, run_here

pytest.importorskip("huggingface_hub")
pytest.importorskip("yaml")

import yaml
from hub_server import Hub, Repository, serving
from huggingface_hub import constants

from unbabble import Separator
from unbabble.errors import ModelError
from unbabble.inference import hub as ours
from unbabble.inference.hub import LARGEST, HubName, hub_name
from unbabble.inference.model_folder import BUNDLED, FILES, open_diarizer, open_model

BUNDLED_MODEL, BUNDLED_DIARIZER = BUNDLED / "default", BUNDLED / "diarizer"
SECRET = {"config.py": b"import os", "sub/model.json": b"{}", "pytorch_model.bin": b"\x80\x04pickle"}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The Hub, with one model of two commits, which this process knows as the only Hub; its cache is empty."""
    with serving() as hub:
        settings = {"ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": False}
        for name, value in (settings | {"HF_HUB_DISABLE_XET": True}).items():
            monkeypatch.setattr(constants, name, value)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        repository = hub.repositories["acme/mixed"] = Repository()
        repository.commit(files_of(BUNDLED_MODEL) | {"README.md": b"older"})
        repository.commit(files_of(BUNDLED_MODEL) | SECRET)
        yield hub


def environment(hub: Hub, home: Path, **more: str) -> dict[str, str]:
    """For programs: as a user sets it."""
    return os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **more}


def test_a_model_is_used_by_its_name(hub):
    samples, rate = soundfile.read(REPO / "examples" / "two-talkers.flac", frames=48000, dtype="float32")
    with Separator("acme/mixed", threads=1) as separator, Separator(threads=1) as expected:
        np.testing.assert_array_equal(separator(samples, rate), expected(samples, rate))


def test_only_known_files_are_taken(hub):
    folder = open_model("acme/mixed").path
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == set(files_of(BUNDLED_MODEL))
    assert set(files_of(BUNDLED_MODEL)) <= FILES
    assert hub.fetched() == set(files_of(BUNDLED_MODEL))


def test_what_is_in_the_cache_is_not_fetched_again(hub):
    first = open_model("acme/mixed").path
    assert hub.fetched() == set(files_of(BUNDLED_MODEL))
    hub.requests.clear()
    assert open_model("acme/mixed").path == first
    assert hub.fetched() == set()


def test_a_revision_is_a_commit(hub):
    old, new = hub.repositories["acme/mixed"].commits
    assert open_model(f"acme/mixed@{old}").path.name == old
    assert open_model("acme/mixed").path.name == new


def test_a_diarizer_too(hub):
    hub.repositories["acme/ears"] = Repository()
    hub.repositories["acme/ears"].commit(files_of(BUNDLED_DIARIZER))
    assert open_diarizer("acme/ears").checksums == open_diarizer().checksums
    with pytest.raises(ModelError, match="a model for 'diarization'; expected one for 'separation'"):
        open_model("acme/ears")


def test_offline_and_without_a_connection_the_cache_serves(hub, monkeypatch):
    folder = open_model("acme/mixed").path
    n_requests = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_model("acme/mixed").path == folder
    assert len(hub.requests) == n_requests
    with pytest.raises(ModelError, match=r"acme/other: not whole in the cache .* not reached"):
        open_model("acme/other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert open_model("acme/mixed").path == folder
    with pytest.raises(ModelError, match=r"acme/other: not whole in the cache .* not reached"):
        open_model("acme/other")


def lie(hub: Hub, **changes) -> None:
    """The card of the model says something else."""
    files = files_of(BUNDLED_MODEL)
    files["model.json"] = json.dumps(json.loads(files["model.json"]) | changes).encode()
    hub.repositories["acme/mixed"].commit(files)


def without_card(hub: Hub) -> None:
    hub.repositories["acme/mixed"].commit({"config.json": b"{}", "model.safetensors": b"x"})


def too_large(hub: Hub) -> None:
    hub.repositories["acme/mixed"].sizes["weights.safetensors"] = LARGEST + 1


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("acme/none", None, r"acme/none: no such folder here, and no such model on http"),
        ("acme/mixed@v9", None, r"acme/mixed@v9: .* no such revision"),
        ("acme/mixed", lambda hub: setattr(hub.repositories["acme/mixed"], "gated", True), "ask for it on its page"),
        ("acme/mixed", without_card, r"acme/mixed: not a model of unbabble: the repository has no model\.json"),
        ("acme/mixed", lambda hub: lie(hub, format=2), "not a model of format 1"),
        ("acme/mixed", lambda hub: lie(hub, sample_rate=1), "sample_rate is 1; expected"),
        (
            "acme/mixed",
            lambda hub: lie(hub, checksums={"separator.onnx": "0" * 64}),
            r"separator\.onnx: checksum differs",
        ),
        ("acme/mixed", too_large, r"weights\.safetensors has 2\.1 GB; expected at most 2\.1"),
        (
            "acme/mixed",
            lambda hub: setattr(hub, "broken", "."),
            "acme/mixed: not whole in the cache",
        ),
        ("acme/mi--xed", None, "acme/mi--xed: http.* does not take it: "),
    ],
)
def test_what_is_wrong_is_told_in_one_line(hub, tmp_path, name, change, told):
    if change:
        change(hub)
    soundfile.write(tmp_path / "talk.wav", np.zeros(16000), 16000)
    done = run_here("separate", tmp_path / "talk.wav", "--out", tmp_path / "out", "--model", name)
    assert done.returncode == 1
    one_line_error(done)
    with pytest.raises(ModelError, match=told):
        open_model(name)
    assert not (tmp_path / "out").exists()


def test_a_wrong_card_costs_no_large_download(hub):
    lie(hub, format=2)
    with pytest.raises(ModelError):
        open_model("acme/mixed")
    assert hub.fetched() == {"model.json"}


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(hub, monkeypatch):
    monkeypatch.setattr(ours.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 5_000_000))
    with pytest.raises(ModelError, match=r"12 MB are to be kept in the cache .* 5 MB are free; .*HF_HOME"):
        open_model("acme/mixed")


def test_a_cache_that_cannot_be_written_is_told(hub, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match=r"acme/mixed: cannot be kept in the cache .*: Not a directory"):
        open_model("acme/mixed")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("acme/mixed", HubName("acme/mixed")),
        ("acme/mixed@v1.0", HubName("acme/mixed", "v1.0")),
        ("./acme/mixed", None),
        ("../mixed", None),
        ("/acme/mixed", None),
        ("runs/mine/model", None),
        ("default", None),
    ],
)
def test_paths_are_no_names(text, name):
    assert hub_name(text) == name


def test_nobody_is_asked_for_a_path_that_was_mistyped(hub, tmp_path, monkeypatch):
    """Its first folder is here."""
    (tmp_path / "acme").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="acme/mixed: no such model; give a model folder, OWNER/NAME on the Hub, or"):
        open_model("acme/mixed")
    assert hub.requests == []


def test_without_the_extra_it_is_named(tmp_path):
    program = "import sys; sys.modules['huggingface_hub'] = None; import unbabble; unbabble.Separator('acme/mixed')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert "MissingExtra: getting acme/mixed, which is no folder here, from the Hub needs packages" in done.stderr
    assert 'pip install "unbabble[hub]"' in done.stderr


def test_a_model_is_pushed_with_a_page_and_fetched_again(hub, tmp_path):
    """As a user does it, who is logged in."""
    hub.token = "hf_let_me"
    shutil.copytree(BUNDLED_MODEL, tmp_path / "run" / "model")
    logged_in = environment(hub, tmp_path / "home", HF_TOKEN="hf_let_me")
    done = run("push", tmp_path / "run", "acme/mine", env=logged_in)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (commit,) = hub.repositories["acme/mine"].commits
    assert done.stdout == f"{hub.url}/acme/mine/commit/{commit}\n"
    pushed = dict(hub.repositories["acme/mine"].commits[commit])
    front, page = pushed.pop("README.md").decode().removeprefix("---\n").split("\n---\n", 1)
    assert pushed == files_of(BUNDLED_MODEL)
    values = yaml.safe_load(front)
    assert values["license"] == "apache-2.0"
    assert {"unbabble", "speech-separation"} <= set(values["tags"])
    assert values["metrics"] == ["si_sdr", "si_sdri"]
    paper = json.loads((BUNDLED_MODEL / "model.json").read_text())["scores"]["paper"]["rows"]["all"]
    shown = {one["value"] for result in values["model-index"][0]["results"] for one in result["metrics"]}
    assert {paper["si_sdr"]["mean"], paper["si_sdri"]["mean"]} <= shown
    assert "--model acme/mine" in page
    assert "81 training speakers" in page
    assert "unknown/None" in hub.requests[0][2]
    assert not [agent for _, _, agent in hub.requests if "torch" in agent or "agent/" in agent]  # telemetry is off
    assert not [path for _, path, _ in hub.requests if "telemetry" in path or "agent" in path]
    listed = run("models", tmp_path / "run", env=logged_in)
    assert not any(line.startswith("acme/mine") for line in listed.stdout.splitlines())
    shutil.copy(REPO / "examples" / "two-talkers.flac", tmp_path)
    arguments = ("separate", tmp_path / "two-talkers.flac", "--out", tmp_path / "out", "--model", "acme/mine", "-q")
    done = run(*arguments, env=logged_in)
    assert (done.returncode, done.stderr) == (0, "")
    listed = run("models", tmp_path / "run", env=logged_in).stdout.splitlines()
    assert [line.split()[0] for line in listed] == [
        "model",
        "default",
        "diarizer",
        "acme/mine",
        str(tmp_path / "run/model"),
    ]
    sizes = [re.search(r"\d+\.\d MB.*", line)[0] for line in listed[1:]]
    assert sizes[0] == sizes[2] == sizes[3] != sizes[1]


def test_the_page_names_other_licenses_and_data_sets():
    from unbabble.sharing.readme import readme

    card = {
        "name": "x",
        "version": "1",
        "license": "Mine alone",
        "training": {"datasets": ["a/b"]},
    }
    values = yaml.safe_load(readme(card, "acme/x").split("---")[1])
    assert (values["license"], values["license_name"]) == ("other", "Mine alone")
    assert values["datasets"] == ["a/b"]
    assert "metrics" not in values


@pytest.mark.parametrize(
    ("broken", "told"),
    [(r"/lfs/[0-9a-f]+$", "Error while uploading"), (r"/commit/main$", "500"), (r"info/lfs", "500")],
)
def test_half_an_upload_is_none(hub, tmp_path, monkeypatch, broken, told):
    hub.broken = broken
    monkeypatch.setattr("time.sleep", lambda _: None)  # between attempts
    done = run_here("push", BUNDLED_MODEL, "acme/mine")
    one_line_error(done, "acme/mine: ", told)
    assert done.returncode == 1
    assert hub.repositories["acme/mine"].commits == {}


def test_who_may_not_push_is_told(hub):
    hub.token = "another"
    done = run_here("push", BUNDLED_MODEL, "acme/mine")
    one_line_error(done, "acme/mine: ", "hf auth login")
    assert "acme/mine" not in hub.repositories


@pytest.mark.parametrize(
    ("run_folder", "name", "told"),
    [
        ("no", "acme/mine", "neither a model folder nor a training run"),
        (BUNDLED_MODEL, "mine", "expected OWNER/NAME"),
        ("damaged", "acme/mine", "checksum differs"),
    ],
)
def test_what_cannot_be_pushed_is_told(hub, tmp_path, run_folder, name, told):
    shutil.copytree(BUNDLED_MODEL, tmp_path / "damaged")
    (tmp_path / "damaged" / "separator.onnx").write_bytes(b"damaged")
    one_line_error(run_here("push", tmp_path / run_folder, name), told)
    assert "acme/mine" not in hub.repositories
