"""Where results go: names for every system, templates, results that are told from anything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unbabble.base.output import beside
from unbabble.errors import OutputError
from unbabble.files.results import Place, Template, free, publish, recover, safe, staged, track_of, unfinished


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *(("talk", "talk"), ("day 1", "day 1"), ("Größe 日本", "Größe 日本"), (".hidden", ".hidden")),
        *(("a.b", "a.b"), ("what?", "what_"), ('a<b>c:d"e|f*g\\h', "a_b_c_d_e_f_g_h"), ("tab\there", "tab_here")),
        *(("end.", "end"), ("end. .", "end"), ("...", "_"), ("..", "_"), (" ", "_")),
        *(("CON", "_CON"), ("con.txt", "_con.txt"), ("Lpt1", "_Lpt1"), ("COM¹", "_COM¹"), ("nul .x", "_nul .x")),
        *(("console", "console"), ("com10", "com10")),
    ],
)
def test_names_are_those_that_windows_takes(given, expected):
    assert safe(given) == expected
    assert safe(expected) == expected


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ("a.wav", "a"),
        ("day 1/b.é.flac", "day 1/b.é"),
        ("aux/a?.wav", "_aux/a_"),
        ("...wav", "_"),
        ("x /no suffix", "x/no suffix"),
    ],
)
def test_a_track_is_named_as_its_recording(relative, expected):
    assert track_of(Path(relative)) == expected


def test_names_that_some_system_takes_for_one_are_told_apart():
    taken: set[str] = set()
    given = ("a", "A", "a", "a-2", "é", "e\u0301")
    assert [free(name, taken) for name in given] == ["a", "A-2", "a-3", "a-2-2", "é", "e\u0301-2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{track}/{speaker}.{ext}", "day 1/talk/speaker1.wav"),
        ("{track}-{speaker}.{ext}", "day 1/talk-speaker1.wav"),
        ("{ext}/{speaker}/{track}_{channel}.{ext}", "wav/speaker1/day 1/talk_mix.wav"),
        ("{{{speaker}}}.{ext}", "{speaker1}.wav"),
        ("CON/what?{speaker}.{ext}", "_CON/what_speaker1.wav"),
        ("./{speaker}.{ext}", "speaker1.wav"),
    ],
)
def test_templates(text, expected):
    path = Template(text).path(track="day 1/talk", speaker="speaker1", ext="wav", channel="mix")
    assert path.as_posix() == expected


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        *(("{speaker}", ".{ext} at the end"), ("{track}.{ext}", "lacks {speaker}"), ("", "lacks")),
        *(("{stem}/{speaker}.{ext}", "not one of {track}"), ("{}{speaker}.{ext}", "not one of")),
        *(("{speaker!r}.{ext}", "not one of"), ("{track:999999999}{speaker}.{ext}", "not one of")),
        *(("{track.__class__}{speaker}.{ext}", "not one of"), ("{speaker}.{ext", "cannot be read")),
        *(("../{speaker}.{ext}", "leads out"), ("a/../../{speaker}.{ext}", "leads out")),
        *(
            ("/{speaker}.{ext}", "leads out"),
            ("C:{speaker}.{ext}", "leads out"),
            ("..\\{speaker}.{ext}", "leads out"),
        ),
        ("\\\\server\\share\\{speaker}.{ext}", "leads out"),
    ],
)
def test_templates_that_cannot_be(text, wrong):
    with pytest.raises(ValueError, match=r"filename .* expected one like \{track\}") as raised:
        Template(text)
    assert wrong in str(raised.value)


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path / "out", Template("{track}/{speaker}.{ext}"), "talk", "mix")


def fill(stage: Path, sidecar: str = '{"tracks": [{"file": "speaker1.wav"}]}') -> None:
    (stage / "speaker1.wav").write_text("new")
    (stage / "separation.json").write_text(sidecar)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def fail_in(place: Place) -> None:
    with staged(place) as stage:
        (stage / "speaker1.wav").write_text("half")
        raise ZeroDivisionError


def test_nothing_is_left_where_separating_fails(place, tmp_path):
    with pytest.raises(ZeroDivisionError):
        fail_in(place)
    assert not (tmp_path / "out").exists()


def test_what_was_there_stays_where_separating_fails(place, tmp_path):
    with staged(place) as stage:
        fill(stage)
    with pytest.raises(ZeroDivisionError):
        fail_in(place)
    assert names(tmp_path / "out") == ["talk/separation.json", "talk/speaker1.wav"]
    assert place.path("speaker1", "wav").read_text() == "new"


def test_nothing_is_left_where_publishing_fails(place, tmp_path):
    place.sidecar.mkdir(parents=True)
    with pytest.raises(OutputError, match=r"separation\.json: cannot be written"), staged(place) as stage:
        fill(stage)
    assert names(tmp_path / "out") == []


def test_a_sidecar_can_name_only_tracks_for_removal(place, tmp_path):
    with staged(place) as stage:
        fill(stage, '{"tracks": [{"file": "../../precious.wav"}, {"file": "notes.txt"}, {"file": "speaker2.wav"}]}')
    for path in (tmp_path / "precious.wav", tmp_path / "out/talk/notes.txt", tmp_path / "out/talk/speaker2.wav"):
        path.write_text("there")
    with staged(place) as stage:
        fill(stage)
    assert names(tmp_path) == [
        *("out/talk/notes.txt", "out/talk/separation.json", "out/talk/speaker1.wav", "precious.wav")
    ]


def left_behind(place: Place) -> Path:
    stage = beside(place.sidecar)
    stage.mkdir(parents=True)
    return stage


def test_what_a_killed_process_began_is_removed(place, tmp_path):
    stage = left_behind(place)
    (stage / "speaker1.wav").write_text("half")
    assert unfinished([place]) == {place: [stage]}
    recover(stage, place)
    assert names(tmp_path) == []


def test_what_a_killed_process_was_moving_is_moved(place, tmp_path):
    stage = left_behind(place)
    fill(stage)
    (stage / "speaker1.wav").rename(place.path("speaker1", "wav"))
    recover(stage, place)
    assert names(tmp_path) == ["out/talk/separation.json", "out/talk/speaker1.wav"]


def test_publishing_goes_on_from_any_point(place, tmp_path):
    """Killed after any of its steps: each step is a file gone from the stage."""
    for steps in range(3):
        stage = left_behind(place)
        fill(stage, '{"tracks": [{"file": "speaker1.wav"}, {"file": "speaker2.wav"}]}')
        (stage / "speaker2.wav").write_text("new")
        place.sidecar.unlink(missing_ok=True)
        for name in ("speaker1.wav", "speaker2.wav")[:steps]:
            (stage / name).replace(place.sidecar.with_name(name))
        publish(stage, place)
        assert names(tmp_path) == [f"out/talk/{name}" for name in ("separation.json", "speaker1.wav", "speaker2.wav")]


HOLDER = """
import sys, time
from pathlib import Path
from unbabble.base.output import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there open files cannot be removed")
def test_what_a_living_process_writes_is_let_be_and_what_a_dead_one_wrote_is_not(place):
    """Whatever their numbers: a process that is killed loses its lock, even while its number is still in use."""
    stage = left_behind(place)
    (stage / "speaker1.wav").write_text("half")
    process = subprocess.Popen([sys.executable, "-c", HOLDER, stage], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    recover(stage, place)
    assert (stage / "speaker1.wav").exists()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    recover(stage, place)
    assert not stage.exists()
    process.wait()


def test_what_older_versions_left_is_recovered_too(place):
    """They put the number of the process into the name: of this one, which lives, and of one that never did."""
    for number in (os.getpid(), 1, 2**22 + 1):
        stage = place.sidecar.with_name(f"separation.json.part-{number}")
        stage.mkdir(parents=True)
        assert unfinished([place]) == {place: [stage]}
        recover(stage, place)
        assert not stage.exists()
