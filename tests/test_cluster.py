"""Recordings and mixtures on a Ray cluster of two nodes, from and to an S3 server: all on this machine.

The cluster is started once; the last tests kill its nodes.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO, one_line_error, run, run_here
from talkers import assert_separated, talk

pytest.importorskip("ray")
pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

import ray
import s3fs
from moto.core import set_initial_no_auth_action_count
from moto.server import ThreadedMotoServer
from ray._private import ray_constants
from ray.cluster_utils import Cluster

from unbabble import __version__, cluster, simulate
from unbabble.base.progress import UNWATCHED
from unbabble.cluster import Spread, separate_on, tasks, workers
from unbabble.cluster.tasks import in_order, in_tasks
from unbabble.cluster.urls import Folder
from unbabble.errors import ClusterError, OutputError
from unbabble.files import Options, separate

SMALL = {"object_store_memory": 80_000_000}
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
TASK = {"num_cpus": 1, "max_retries": 2}


@pytest.fixture(scope="module")
def s3():
    """An S3 server that this process, and the workers that it starts, take for the only one; with two buckets."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "who", "AWS_SECRET_ACCESS_KEY": "what", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"AWS_ENDPOINT_URL": f"http://{host}:{port}", **keys}.items():
            patch.setenv(name, value)
        files = s3fs.S3FileSystem(use_listings_cache=False)
        files.mkdir("inbox"), files.mkdir("outbox")
        yield files
    server.stop()


@pytest.fixture(scope="module")
def nodes(s3):
    """A cluster of two nodes with a processor each, to which this process is connected."""
    search = os.pathsep.join([str(REPO / "tests"), os.environ.get("PYTHONPATH", "")])  # of what tests have workers do
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", search)
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **SMALL})
        started.add_node(num_cpus=1, **SMALL)
    with tasks.connected(started.address):
        yield started
    started.shutdown()


def write(path: Path, samples: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture
def inbox(tmp_path) -> Path:
    """Two recordings, one of them in a folder, and one that is none."""
    mixture = talk(RATE).sum(0)
    write(tmp_path / "in" / "whole.wav", mixture)
    write(tmp_path / "in" / "sub" / "half.wav", mixture[: len(mixture) // 2])
    (tmp_path / "in" / "none.wav").write_text("words")
    return tmp_path / "in"


def results(out: Path) -> dict[str, bytes]:
    """All that is written but the sidecars, which tell how long it took."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def stored(s3, prefix: str) -> dict[str, bytes]:
    """The same of what is in S3."""
    found = {path.removeprefix(f"{prefix}/"): s3.cat_file(path) for path in s3.find(prefix)}
    return {name: content for name, content in found.items() if not name.endswith(".json")}


def raylet(node) -> int:
    return node.all_processes[ray_constants.PROCESS_TYPE_RAYLET][0].process.pid


@pytest.mark.parametrize("spread", [Spread(), Spread(long_s=8.0, stretch=2)], ids=["recordings", "windows"])
def test_the_same_bytes_as_on_one_machine(nodes, inbox, tmp_path, oracle, spread):
    options = {**oracle, "activity": True, "bits": 16}
    here = separate(inbox, tmp_path / "here", **options)
    there = cluster.separate(inbox, tmp_path / "there", spread=spread, **options)
    assert [outcome.job.name for outcome in there] == [outcome.job.name for outcome in here]
    assert [str(outcome.error) for outcome in there] == [str(outcome.error) for outcome in here]
    assert results(tmp_path / "there") == results(tmp_path / "here")
    tracks = np.stack([soundfile.read(path)[0] for path in there[1].tracks])
    assert_separated(tracks.astype(np.float32), talk(RATE))
    again = cluster.separate(inbox, tmp_path / "there", spread=spread, **options)
    assert [outcome.earlier for outcome in again] == [False, True, True]


def test_from_s3_to_s3_and_on_from_where_it_was(nodes, s3, inbox, tmp_path, oracle, oracle_flags):
    separate(inbox, tmp_path / "here", **oracle)
    s3.put(str(inbox), "inbox/meetings", recursive=True)
    command = ("separate", "s3://inbox/meetings/", "--out", "s3://outbox/tracks", *oracle_flags, "--cluster", "auto")
    first = run_here(*command)
    assert first.returncode == 1
    (error,) = (line for line in first.stderr.splitlines() if line.startswith("error: "))
    assert error.startswith("error: s3://inbox/meetings/none.wav: not audio")
    assert stored(s3, "outbox/tracks") == results(tmp_path / "here")
    written = [f"s3://outbox/tracks/{name}" for name in results(tmp_path / "here")]
    assert sorted(first.stdout.splitlines()) == sorted(written)
    assert json.loads(s3.cat_file("outbox/tracks/whole/separation.json"))["input"] == "s3://inbox/meetings/whole.wav"
    made = {path: s3.info(path)["LastModified"] for path in s3.find("outbox/tracks")}
    again = run_here(*command)
    assert again.stderr.count("done before") == 2
    assert {path: s3.info(path)["LastModified"] for path in s3.find("outbox/tracks")} == made
    other = run_here(*command[:1], "s3://inbox/meetings/whole.wav", *command[2:], "--speakers", "1")
    one_line_error(other, "s3://outbox/tracks/whole/separation.json: is there already with other settings")
    forced = run_here(*command[:1], "s3://inbox/meetings/whole.wav", *command[2:], "--speakers", "1", "--force")
    assert forced.returncode == 0, forced.stderr
    assert {Path(path).name for path in s3.find("outbox/tracks/whole")} == {"speaker1.wav", "separation.json"}


def test_half_an_upload_is_made_again(nodes, s3, tmp_path, oracle):
    write(tmp_path / "whole.wav", talk(RATE).sum(0))
    (here,) = separate(tmp_path / "whole.wav", tmp_path / "here", **oracle)
    half = {"whole/speaker1.wav": here.tracks[0], "whole/separation.json": tmp_path / "killed before that"}
    with pytest.raises(OutputError, match="s3://outbox/half: cannot be written"):
        Folder("s3://outbox/half").put(half)
    assert set(stored(s3, "outbox/half")) == {"whole/speaker1.wav", "whole/separation.json.part-000000000000"}
    (there,) = cluster.separate(f"file://{tmp_path}/whole.wav", "s3://outbox/half", **oracle)
    assert there.error is None
    assert stored(s3, "outbox/half") == results(tmp_path / "here")


def test_mixtures_are_the_same_here_there_and_in_s3(nodes, s3, corpora, tmp_path):
    settings = {"noise": corpora[1], "seed": 3, "recipe": tmp_path / "recipe.yaml"}
    settings["recipe"].write_text("mixtures: [{weight: 1, recipe: {duration_s: 0.5, room: null}}]\n")
    simulate(corpora[0], tmp_path / "here", 20, **settings)
    simulate(corpora[0], tmp_path / "there", 20, **settings, cluster="auto")
    s3.pipe_file("outbox/set/000000/mixture.flac", b"half")
    s3.pipe_file("outbox/set/000000/facts.json.part-000000000000", b'["000000/mixture.flac", "000000/facts.json"]')
    written = simulate(corpora[0], "s3://outbox/set", 20, **settings, cluster="auto")
    assert written == ["s3://outbox/set/manifest.jsonl"]
    everything = {path.relative_to(tmp_path / "here").as_posix(): path for path in (tmp_path / "here").rglob("*.*")}
    for name, path in everything.items():
        if not name.startswith("scan/"):
            assert (tmp_path / "there" / name).read_bytes() == path.read_bytes(), name
            assert s3.cat_file(f"outbox/set/{name}") == path.read_bytes(), name
    assert len(s3.find("outbox/set")) == len(everything)
    made = {path: s3.info(path)["LastModified"] for path in s3.find("outbox/set") if path.endswith(".flac")}
    simulate(corpora[0], "s3://outbox/set", 20, **settings, cluster="auto")
    assert {path: s3.info(path)["LastModified"] for path in made} == made


def test_a_bucket_without_permission_and_places_that_are_none(nodes, s3, tmp_path):
    @set_initial_no_auth_action_count(0)
    def refused(command: list) -> subprocess.CompletedProcess:
        return run_here(*command)

    s3.pipe_file("inbox/closed/talk.wav", b"")
    write(tmp_path / "talk.wav", talk(RATE).sum(0)[:RATE])
    fetched = ["separate", "s3://inbox/closed", "--out", tmp_path / "out", "--cluster", "auto"]
    one_line_error(refused(fetched), "s3://inbox/closed: cannot be read: ", "check permissions, credentials")
    stored = ["separate", tmp_path / "talk.wav", "--out", "s3://outbox/closed", "--cluster", "auto"]
    one_line_error(refused(stored), "s3://outbox/closed: cannot be read: ", "check permissions, credentials")
    for url, reason in {
        "s3://nobucket/talk.wav": "there is no such file, folder or bucket",
        "s3://inbox/nothing": "no such file or folder",
        "nosuch://in/talk.wav": "Protocol not known: nosuch",
    }.items():
        one_line_error(run_here("separate", url, "--out", tmp_path / "out", "--cluster", "auto"), url, reason)
    (outcome,) = cluster.separate(tmp_path / "talk.wav", "s3://nobucket/out")
    assert str(outcome.error).startswith("s3://nobucket/out: cannot be written: there is no such")
    assert not s3.exists("nobucket")
    each = run_here(
        "separate", "s3://inbox/closed", "--out", tmp_path / "out", "--channel", "each", "--cluster", "auto"
    )
    assert (each.returncode, "channel 'each' is for files here" in each.stderr) == (2, True)


def test_urls_need_a_cluster_and_a_cluster_files(tmp_path):
    for arguments, reason in {
        ("s3://inbox", "--out", "out"): "URLs are read and written by a --cluster",
        ("-", "--out", "out", "--cluster", "auto"): "--cluster separates files",
    }.items():
        done = run_here("separate", *arguments)
        assert done.returncode == 2
        assert reason in " ".join(done.stderr.replace("│", "").split())


def test_without_the_extra_it_is_named(tmp_path):
    program = "import sys; sys.modules['ray'] = None; from unbabble.cli import main; main()"
    command = ["separate", "x.wav", "--out", "out", "--cluster", "auto"]
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, cwd=tmp_path)
    one_line_error(done, 'a cluster (ray) needs packages that are not installed: pip install "unbabble[cluster]"')


def test_a_cluster_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address in ("ray://127.0.0.1:9", "127.0.0.1:9", "nowhere"):
        with pytest.raises(ClusterError, match=rf"cluster {address}: cannot be reached"), tasks.connected(address):
            pass


def test_who_answers_but_is_no_cluster_is_told_in_one_line(tmp_path):
    write(tmp_path / "talk.wav", talk(RATE).sum(0)[:RATE])
    hurried = {"RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "1", "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "1"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"ray://127.0.0.1:{silent.getsockname()[1]}"
        command = ("separate", tmp_path / "talk.wav", "--out", tmp_path / "out", "--cluster", address)
        done = run(*command, env=os.environ | hurried)
    one_line_error(done, f"cluster {address}: cannot be reached", "RAY_AUTH_MODE=token")
    assert not (tmp_path / "out").exists()


def test_nobody_is_told_of_its_use():
    """Unless the user says so; imported anew, since tests may run with other settings."""
    program = "import os, unbabble.cluster; print(os.environ['RAY_USAGE_STATS_ENABLED'])"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_USAGE_STATS_ENABLED"}
    for given, expected in (({}, "0"), ({"RAY_USAGE_STATS_ENABLED": "1"}, "1")):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment | given, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr
    assert not pytest.importorskip("ray._common.usage.usage_lib").usage_stats_enabled()


def test_plain_separation_does_without_ray_and_fsspec():
    program = (
        "import sys, unbabble; unbabble.separate; unbabble.Separator; print(sys.modules.keys() & {'ray', 'fsspec'})"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"


def test_a_worker_without_a_package_or_of_another_version_is_told(nodes):
    @ray.remote
    def lacking(_number: int) -> None:
        import nonesuch  # noqa: F401

    with pytest.raises(ClusterError, match=r"a worker of the cluster lacks a package.* on every node"):
        list(in_order(lacking.remote, 2, 2, lambda number, error: error))
    work = workers.Work(Options(), [], "key", {}, 1.0, 1, 1)
    with pytest.raises(ClusterError, match=rf"has unbabble {__version__}, this program 0\.0"):
        workers._separator(replace(work, version="0.0"))


class Dies:
    """Of its numbers, one ends the worker: every time, or only the first."""

    def __init__(self, marker: Path, always: bool) -> None:
        self.marker, self.always = marker, always

    def __call__(self, number: int) -> int:
        if number == 17 and (self.always or not self.marker.exists()):
            self.marker.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_work_is_begun_again_where_a_worker_dies_but_not_for_ever(nodes, tmp_path, monkeypatch):
    assert list(in_tasks(Dies(tmp_path / "once", always=False), range(40), 1)) == list(range(40))
    assert (tmp_path / "once").exists()
    monkeypatch.setattr(tasks, "RETRIES", 0)
    numbers = in_tasks(Dies(tmp_path / "always", always=True), range(40), 1)
    assert [next(numbers) for _ in range(16)] == list(range(16))
    with pytest.raises(ClusterError, match="died again and again"):
        next(numbers)


def test_a_node_killed_in_the_middle_costs_nothing(nodes, tmp_path):
    """One recording is spread by windows, the others are not."""
    example = soundfile.read(REPO / "examples" / "two-talkers.flac", dtype="float32")[0]
    for number in range(5):
        write(
            tmp_path / "in" / f"{number}.wav",
            np.resize(np.roll(example, -number * RATE), RATE * (16 if number else 30)),
        )
    settings = {"window_s": 8.0, "overlap_s": 1.0, "activity": True}
    spread, outcomes = Spread(long_s=20.0, stretch=1), []
    inputs, out = [str(tmp_path / "in")], str(tmp_path / "there")
    with separate_on("auto", inputs, out, Options(**settings), spread, UNWATCHED) as (_, found):
        for outcome in found:
            outcomes.append(outcome)
            if len(outcomes) == 1:
                os.kill(raylet(nodes.worker_nodes.copy().pop()), signal.SIGKILL)
    assert [(outcome.job.source.name, outcome.error, outcome.earlier) for outcome in outcomes] == [
        (f"{number}.wav", None, False) for number in range(5)
    ]
    separate(tmp_path / "in", tmp_path / "here", **settings, jobs=1)
    assert results(tmp_path / "there") == results(tmp_path / "here")
    assert list(tmp_path.rglob("*.part-*")) == []


def test_a_cluster_that_is_gone_is_told_and_what_is_done_stays(nodes, tmp_path, oracle_flags):
    mixture = np.resize(talk(RATE).sum(0), RATE * 60)
    for number in range(6):
        write(tmp_path / "in" / f"{number}.wav", mixture)
    command = ["separate", tmp_path / "in", "--out", tmp_path / "out", *oracle_flags, "--cluster", nodes.address]
    program = [sys.executable, "-m", "unbabble", *map(str, command)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().endswith("speaker1.wav\n")
    head = nodes.head_node.all_processes
    for name in (ray_constants.PROCESS_TYPE_RAYLET, ray_constants.PROCESS_TYPE_GCS_SERVER):
        os.kill(head[name][0].process.pid, signal.SIGKILL)
    ray.shutdown()
    begun = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert time.monotonic() - begun < 60  # when Ray would end the program, in words of its own
    assert [line for line in err.splitlines() if line.startswith("error: the cluster is gone: its head")], err
    assert "Traceback" not in err
    done = {path.parent.name for path in (tmp_path / "out").glob("*/separation.json")}
    assert {Path(line).parent.name for line in out.splitlines()} <= done
