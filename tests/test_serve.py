"""``unbabble serve``: what is sent over HTTP is separated as the command line does it, whatever is killed."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO, one_line_error, run, run_here
from serving import Server, serving, write_speech

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes as POSIX does")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def server(folder) -> Server:
    with serving(folder / "data") as started:
        yield started


@pytest.fixture(scope="module")
def talk(folder) -> Path:
    return write_speech(folder / "my talk.wav")


@pytest.fixture(scope="module")
def by_hand(folder, talk) -> Path:
    """What the command line makes of the same file."""
    done = run("separate", talk, "--out", folder / "out", "--activity", "rttm", "-q")
    assert done.returncode == 0, done.stderr
    return folder / "out" / "my talk"


@pytest.fixture(scope="module")
def done(server, talk) -> dict:
    return server.separated(talk.read_bytes(), talk.name)


def test_tracks_turns_and_zip_are_those_of_the_command_line(server, done, by_hand):
    assert [track["id"] for track in done["tracks"]] == ["speaker1", "speaker2"]
    made = {path.name: path.read_bytes() for path in by_hand.iterdir()}
    base = f"/api/recordings/{done['id']}"
    for track in done["tracks"]:
        answer = server.get(track["url"])
        assert answer.body == made[f"{track['id']}.wav"]
        assert answer.headers["Content-Type"] == "audio/wav"
    assert server.get(f"{base}/activity.rttm").body == made["separation.rttm"]
    with zipfile.ZipFile(io.BytesIO(server.get(f"{base}/all.zip").body)) as archive:
        assert archive.testzip() is None
        names = {f"my talk/{name}" for name in made} | {"my talk/labels.txt"}
        assert set(archive.namelist()) == names
        for name in ("speaker1.wav", "speaker2.wav", "separation.rttm"):
            assert archive.read(f"my talk/{name}") == made[name]
    assert len(done["activity"]) == made["separation.rttm"].count(b"\n")


def test_other_formats_are_those_of_the_command_line(server, talk, folder):
    view = server.separated(talk.read_bytes(), talk.name, format="flac", speakers=1)
    assert run_here("separate", talk, "--out", folder / "flac", "--format", "flac", "--speakers", 1).returncode == 0
    answer = server.get(view["tracks"][0]["url"])
    assert answer.body == (folder / "flac" / "my talk" / "speaker1.flac").read_bytes()
    assert answer.headers["Content-Type"] == "audio/flac"


def test_parts_of_a_track_and_of_all_lanes_in_step(server, done, by_hand):
    whole = (by_hand / "speaker1.wav").read_bytes()
    part = server.get(done["tracks"][0]["url"], Range="bytes=1000-1999")
    assert (part.status, part.body) == (206, whole[1000:2000])
    assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(whole)}"
    url = f"/api/recordings/{done['id']}/lanes.pcm"
    lanes = server.get(url).body
    assert len(lanes) == 3 * 2 * done["n_samples"]
    tracks = [soundfile.read(by_hand / f"speaker{number}.wav", dtype="float32")[0] for number in (1, 2)]
    heard = np.frombuffer(lanes, "<i2").reshape(-1, 3)[:, 1:].T / 32767
    np.testing.assert_allclose(heard, np.clip(tracks, -1, 1), atol=0.6 / 32767)
    for asked, start, stop in (("bytes=7-10006", 7, 10007), ("bytes=-11", len(lanes) - 11, len(lanes))):
        answer = server.get(url, Range=asked)
        assert (answer.status, answer.body) == (206, lanes[start:stop])
    assert server.get(url, Range=f"bytes={len(lanes)}-").status == 416
    assert server.get(url, Range="rows=1-2").body == lanes


def test_talkers_are_named_in_all_that_is_downloaded(server, talk):
    view = server.separated(talk.read_bytes(), talk.name)
    base, kind = f"/api/recordings/{view['id']}", {"Content-Type": "application/json"}
    name = '../Ann <b> "Lee"'
    changed = server.ask("PATCH", base, b'{"names": {"speaker1": "../Ann <b> \\"Lee\\"\\u0000"}}', **kind).json
    assert [track["name"] for track in changed["tracks"]] == [name, "Talker 2"]
    assert server.recording(view["id"])["tracks"][0]["name"] == name
    assert '../Ann_<b>_"Lee"' in server.get(f"{base}/activity.rttm").body.decode()
    assert f"\t{name}\n" in server.get(f"{base}/activity.txt").body.decode()
    saved = server.get(view["tracks"][0]["url"]).headers["Content-Disposition"]
    assert saved == "attachment; filename*=utf-8''.._Ann%20_b_%20_Lee_.wav"
    with zipfile.ZipFile(io.BytesIO(server.get(f"{base}/all.zip").body)) as archive:
        assert "my talk/.._Ann _b_ _Lee_.wav" in archive.namelist()
    assert server.ask("PATCH", base, b'{"names": {"speaker9": "Bob"}}', **kind).status == 404
    assert server.ask("PATCH", base, b'{"names": 3}', **kind).status == 422
    changed = server.ask("PATCH", base, b'{"names": {"speaker1": ""}}', **kind).json
    assert changed["tracks"][0]["name"] == "Talker 1"


def client(language: str, server: Server) -> str:
    """The example in the documentation, led to a server."""
    page = (REPO / "docs" / "serve.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    (block,) = (block for block in blocks if "8000" in block and "docker" not in block)
    return block.replace("http://127.0.0.1:8000", server.url)


def test_the_client_of_curl_in_the_documentation(server, talk, by_hand, tmp_path):
    if not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("needs curl and jq")
    shutil.copy(talk, tmp_path / "talk.m4a")
    before = server.get("/api/recordings").json
    done = subprocess.run(
        ["sh", "-ec", client("sh", server)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "talk.zip") as archive:
        assert archive.read("talk/speaker1.wav") == (by_hand / "speaker1.wav").read_bytes()
    assert server.get("/api/recordings").json == before


def test_the_client_of_python_in_the_documentation(server, talk, tmp_path, monkeypatch):
    pytest.importorskip("httpx")
    shutil.copy(talk, tmp_path / "talk.m4a")
    monkeypatch.chdir(tmp_path)
    exec(client("python", server), {})
    assert [soundfile.info(f"speaker{number}.flac").frames for number in (1, 2)] == [3 * RATE] * 2


@pytest.mark.parametrize(
    ("content", "parts"),
    [(b"", "the file is empty"), (b"words\n" * 999, "not audio"), (b"RIFF\0\0", "damaged or cut short")],
    ids=["empty", "text", "cut"],
)
def test_what_is_wrong_with_a_file_is_told_as_by_the_command_line(server, content, parts, tmp_path):
    (tmp_path / "a [b].wav").write_bytes(content)
    told = run_here("separate", tmp_path / "a [b].wav", "--out", tmp_path / "out")
    view = server.wait(server.send(content, "a [b].wav").json["id"])
    assert view["state"] == "failed"
    assert f"error: {view['error']}\n" == told.stderr.replace(f"{tmp_path}/", "")
    answer = server.get(f"/api/recordings/{view['id']}/all.zip")
    assert (answer.status, answer.json) == (409, {"error": view["error"]})


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"model": "/etc"}, "/etc: no such model; expected one of: default"),
        ({"speakers": "11"}, "expected 1 to 10"),
        ({"speakers": "no"}, "speakers 'no' is not auto, a number, or two such as 2-6"),
        ({"speakers": "9" * 5000}, "is not auto, a number, or two"),
        ({"channel": "each"}, "send the recording once for each"),
        ({"format": "mp3"}, "format 'mp3' is not one of wav, flac"),
        ({"bits": "17"}, "wav has 32 or 24 or 16 bits, not 17"),
        ({"bits": "many"}, "bits: "),
        ({"window_s": "nan"}, "window_s: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be_are_refused_at_once(server, fields, parts):
    before = server.get("/api/recordings").json
    answer = server.send(b"no audio", **fields)
    assert answer.status == 422
    assert parts in answer.json["error"]
    assert server.get("/api/recordings").json == before


def test_addresses_that_there_are_not_are_told_as_json(server, done):
    base = f"/api/recordings/{done['id']}"
    for method, path, status in (
        ("GET", "/api/recordings/0123", 404),
        ("DELETE", "/api/recordings/..%2f..%2fetc", 404),
        ("GET", f"{base}/tracks/speaker3.wav", 404),
        ("GET", f"{base}/tracks/..%2f..%2frecording.json", 404),
        ("GET", f"{base}/spectrogram/source?start_s=0&end_s=1&columns=1&rows=1", 404),
        ("GET", f"{base}/peaks?start_s=1&end_s=1&columns=9", 422),
        ("GET", f"{base}/peaks?start_s=0&end_s=inf&columns=9", 422),
        ("GET", f"{base}/peaks?start_s=0&end_s=1&columns=999999", 422),
        ("GET", "/assets/..%2fapp.py", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/api/recordings", 405),
        ("POST", "/api/recordings", 422),
    ):
        answer = server.ask(method, path)
        assert (answer.status, list(answer.json)) == (status, ["error"]), path
        assert "\n" not in answer.json["error"]


def test_models_health_and_openapi(server):
    told = server.get("/api/models").json
    assert [(model["name"], model["tracks"]) for model in told["models"]] == [("default", 2)]
    assert server.get("/healthz").json["status"] == "ok"
    paths = server.get("/openapi.json").json["paths"]
    assert {"/api/recordings", "/api/recordings/{id}", "/api/models", "/healthz"} <= set(paths)


def test_any_number_of_talkers(tiny_siso_only_model, talk, tmp_path):
    with serving(tmp_path / "data", "--model", tiny_siso_only_model, "--jobs", 1) as server:
        view = server.separated(talk.read_bytes(), speakers=6)
        assert [track["name"] for track in view["tracks"]] == [f"Talker {number}" for number in range(1, 7)]
        n_lanes, n_bytes = 7, len(server.get(f"/api/recordings/{view['id']}/lanes.pcm").body)
        assert n_bytes == 2 * n_lanes * view["n_samples"]
        span = "start_s=0&end_s=3&columns=50"
        assert len(server.get(f"/api/recordings/{view['id']}/peaks?{span}").body) == 2 * 2 * n_lanes * 50
        assert server.send(b"", model="default").status == 422


def long_recording(path: Path, seconds: int) -> bytes:
    example, _ = soundfile.read(REPO / "examples" / "two-talkers.flac")
    soundfile.write(path, np.resize(example, seconds * RATE), RATE)
    return path.read_bytes()


def test_a_killed_server_finishes_after_a_restart(tmp_path, talk):
    content = long_recording(tmp_path / "long.wav", 40)
    first = Server(tmp_path / "data", "--jobs", 1)
    running, waiting = (first.send(content, "long.wav").json["id"], first.send(talk.read_bytes()).json["id"])
    first.wait(running, "running")
    assert first.recording(waiting)["position"] == 0
    first.kill()
    folder = tmp_path / "data" / "recordings"
    (folder / "0123.part-0123456789ab").mkdir()  # an upload that was being written
    with serving(tmp_path / "data", "--jobs", 1) as second:
        assert second.wait(waiting)["state"] == "done"
        view = second.recording(running)
        assert view["state"] == "done"
        assert (
            run_here("separate", tmp_path / "long.wav", "--out", tmp_path / "out", "--activity", "rttm").returncode
            == 0
        )
        made = (tmp_path / "out" / "long" / "speaker1.wav").read_bytes()
        assert second.get(view["tracks"][0]["url"]).body == made
    assert {path.name for path in folder.iterdir()} == {running, waiting}
    assert not list(folder.rglob("*.part-*"))


def test_what_was_begun_too_often_is_reported(tmp_path, talk):
    from unbabble.serve.settings import Limits
    from unbabble.serve.store import MOST_STARTS, Store

    store = Store(tmp_path, Limits())
    with talk.open("rb") as file:
        bad, good = (store.add(name, {"model": "default"}, file).id for name in ("bad.wav", "good.wav"))
    for _ in range(MOST_STARTS):
        store.begin(bad)
    store.begin(good)
    store.close()
    again = Store(tmp_path, Limits())
    assert [one.id for one in again.unfinished()] == [good]
    assert again.get(bad).error == "bad.wav: the server was interrupted 3 times while it was separated; send it again"


def test_the_size_of_a_folder_in_which_others_work(tmp_path):
    from unbabble.serve.store import folder_bytes

    (tmp_path / "kept").write_bytes(bytes(1000))
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            (tmp_path / "a" / "b").mkdir(parents=True)
            (tmp_path / "a" / "b" / "c").write_bytes(bytes(10))
            (tmp_path / "a").rename(tmp_path / "d")
            shutil.rmtree(tmp_path / "d")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        sizes = {folder_bytes(tmp_path) for _ in range(500)}
    finally:
        ended.set()
        worker.join()
    assert sizes <= {1000, 1010}


def workers(server: Server) -> list[int]:
    """Processes that separate, of a server."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, ppid, args in rows if int(ppid) == server.process.pid and "spawn_main" in args]


def test_a_killed_worker_costs_one_recording_and_a_deleted_one_nothing(tmp_path, talk):
    content = long_recording(tmp_path / "long.wav", 120)
    with serving(tmp_path / "data", "--jobs", 1) as server:
        killed, deleted, last = (server.send(one).json["id"] for one in (content, content, talk.read_bytes()))
        server.wait(killed, "running")
        for pid in workers(server):
            os.kill(pid, signal.SIGKILL)
        assert "its process was killed" in server.wait(killed)["error"]
        server.wait(deleted, "running")
        assert server.ask("DELETE", f"/api/recordings/{deleted}").status == 204
        assert server.get(f"/api/recordings/{deleted}").status == 404
        assert not (tmp_path / "data" / "recordings" / deleted).exists()
        assert server.wait(last)["state"] == "done"
        again = server.send(content).json["id"]
        server.wait(again, "running")
        pids = workers(server)
        assert server.stop() == 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert '"queued"' in (tmp_path / "data" / "recordings" / again / "recording.json").read_text()


def test_what_the_server_cannot_use_is_told_in_one_line(server, folder, tmp_path, monkeypatch):
    one_line_error(run_here("serve", "--port", 0, "--data", folder / "data"), "another server has this folder")
    one_line_error(run_here("serve", "--port", server.port, "--data", tmp_path / "a"), "cannot be listened at: Addr")
    one_line_error(run_here("serve", "--port", 0, "--data", tmp_path / "b", "--model", "no"), "no: no such model")
    (tmp_path / "file").write_text("")
    one_line_error(run_here("serve", "--port", 0, "--data", tmp_path / "file" / "c"), "cannot be written")
    for name in [name for name in sys.modules if name.startswith("unbabble.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    one_line_error(run_here("serve"), "unbabble serve (uvicorn) needs packages", 'pip install "unbabble[web]"')
