"""What the flags of ``unbabble separate`` promise."""

import json
import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO, one_line_error, run_here, tone
from talkers import assert_separated, talk

from unbabble.inference.separator import TwoPass
from unbabble.tracking.activity import Turn

TALK = talk(RATE)[:, : 3 * RATE]
TURNS = (Turn(1, 0.1, 0.4, 0.0), Turn(1, 0.5, 0.75, 0.5))


@pytest.fixture
def separate(tmp_path, oracle_flags):
    """The command on files below ``tmp_path``, into ``tmp_path/out``."""

    def command(*arguments, out="out"):
        return run_here("separate", *arguments, "--out", tmp_path / out, *oracle_flags)

    return command


@pytest.fixture
def stereo(tmp_path) -> Path:
    path = tmp_path / "st.wav"
    soundfile.write(path, np.stack([TALK.sum(0), 0.5 * TALK[:, ::-1].sum(0)], axis=1), RATE, subtype="FLOAT")
    return path


@pytest.fixture
def mono(tmp_path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, TALK.sum(0), RATE, subtype="FLOAT")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def sidecar(folder: Path) -> dict:
    return json.loads((folder / "separation.json").read_text(encoding="utf-8"))


def heard(*tracks, turns=()):
    """Recordings in which these tracks have speech."""
    return mock.patch.multiple(TwoPass, active_speakers=tracks, turns=turns)


def tracks_in(folder: Path) -> np.ndarray:
    return np.stack([soundfile.read(path)[0] for path in sorted(folder.glob("speaker*.*"))])


def test_every_talker_is_a_track(separate, mono, tmp_path):
    done = separate(mono)
    assert done.returncode == 0
    assert "2 talkers heard" in done.stderr
    assert_separated(tracks_in(tmp_path / "out" / "a"), TALK)


def test_a_track_on_which_nobody_is_heard_is_left_out(separate, mono, tmp_path):
    with heard(1):
        done = separate(mono)
    assert done.returncode == 0
    assert names(tmp_path / "out") == ["a/separation.json", "a/speaker1.wav"]
    assert "1 talker heard" in done.stderr
    with heard(1):
        separate(mono, "--speakers", "2", out="forced")
    assert_separated(tracks_in(tmp_path / "forced" / "a"), TALK)
    kept, _ = soundfile.read(tmp_path / "out" / "a" / "speaker1.wav")
    np.testing.assert_array_equal(kept, tracks_in(tmp_path / "forced" / "a")[1])
    assert sidecar(tmp_path / "forced" / "a")["talkers_heard"] == 1


def test_nobody_heard_gives_no_tracks_and_says_how_to_get_them(separate, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    done = separate(tmp_path / "silent.wav")
    assert (done.returncode, done.stdout) == (0, "")
    assert names(tmp_path / "out") == ["silent/separation.json"]
    assert "nobody was heard" in done.stderr
    assert "--speakers 2" in done.stderr


def test_one_speaker_forced_is_one_track(separate, mono, tmp_path):
    assert separate(mono, "--speakers", "1").returncode == 0
    assert names(tmp_path / "out") == ["a/separation.json", "a/speaker1.wav"]


def test_more_speakers_than_there_are_estimates_and_bounds(separate, mono, tmp_path):
    assert separate(mono, "--speakers", "3").returncode == 0
    assert len(names(tmp_path / "out")) == 4
    assert separate(mono, "--speakers", "1-6", out="bounded").returncode == 0
    assert_separated(tracks_in(tmp_path / "bounded" / "a"), TALK)
    assert sidecar(tmp_path / "bounded" / "a")["settings"]["speakers"] == [1, 6]


@pytest.mark.parametrize("speakers", ["20", "0", "2-20", "6-2", "few"])
def test_numbers_of_speakers_that_cannot_be_are_refused_before_anything(separate, mono, tmp_path, speakers):
    done = separate(mono, "--speakers", speakers)
    assert done.returncode in (1, 2)
    assert "1 to 10" in done.stderr or "auto, a number" in done.stderr
    assert not (tmp_path / "out").exists()


def test_people_have_the_names_that_are_given(separate, mono, tmp_path):
    flags = ("--names", "Anna, Bénédicte,Carl", "--activity", "rttm,labels,textgrid,csv")
    done = separate(mono, *flags)
    assert done.returncode == 0
    folder = tmp_path / "out" / "a"
    files = (
        "Anna.wav",
        "Bénédicte.wav",
        *(f"separation.{ext}" for ext in ("TextGrid", "csv", "json", "rttm", "txt")),
    )
    assert names(folder) == sorted(files)
    assert "no track of Carl" in done.stderr
    assert [track["speaker"] for track in sidecar(folder)["tracks"]] == ["Anna", "Bénédicte"]
    spoken = sidecar(folder)["turns"]
    assert {turn["speaker"] for turn in spoken} == {"Anna", "Bénédicte"}
    for name in ("rttm", "txt", "csv", "TextGrid"):
        assert "Anna" in (folder / f"separation.{name}").read_text(encoding="utf-8")
    assert separate(mono, "--names", "Zoë", "--force").returncode == 0
    assert names(folder) == ["Zoë.wav", "separation.json", "speaker2.wav"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("Anna,anna", "given twice"),
        ("a/b", "cannot be that of a file"),
        ("Anna,con", "cannot be that of a file"),
        ("Anna,,Ben", "cannot be that of a file"),
        ("speaker2", "stands for something else"),
        ("separation", "stands for something else"),
        (",".join("abcdefghijk"), "10 at most"),
    ],
)
def test_names_that_cannot_be_are_refused(separate, mono, tmp_path, given, told):
    done = separate(mono, "--names", given)
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_activity_format_that_is_unknown_is_refused(separate, mono):
    done = separate(mono, "--activity", "rttm,srt")
    assert done.returncode in (1, 2)
    assert "'srt' is not one of rttm, labels, textgrid, csv" in done.stderr


@pytest.mark.parametrize(
    ("flags", "suffix", "subtype"),
    [
        ([], "wav", "FLOAT"),
        (["--bits", "16"], "wav", "PCM_16"),
        (["--bits", "24"], "wav", "PCM_24"),
        (["--format", "flac"], "flac", "PCM_24"),
    ],
)
def test_formats(separate, mono, tmp_path, flags, suffix, subtype):
    assert separate(mono, "--speakers", "2", *flags).returncode == 0
    assert soundfile.info(tmp_path / "out" / "a" / f"speaker2.{suffix}").subtype == subtype
    assert_separated(tracks_in(tmp_path / "out" / "a"), TALK)


def test_tracks_that_would_clip_are_kept_as_floats_and_scaled_together_as_integers(separate, tmp_path):
    speech, _ = soundfile.read(REPO / "examples" / "two-talkers.flac", frames=3 * RATE)
    soundfile.write(tmp_path / "loud.wav", 100 * speech, RATE, subtype="FLOAT")
    tracks = {}
    for audio_format in ("wav", "flac"):
        done = separate(tmp_path / "loud.wav", "--format", audio_format, "--speakers", "2", out=audio_format)
        assert done.returncode == 0
        paths = sorted((tmp_path / audio_format / "loud").glob(f"*.{audio_format}"))
        tracks[audio_format] = np.stack([soundfile.read(path)[0] for path in paths])
    assert np.abs(tracks["wav"]).max() > 1
    assert "scaled by" in done.stderr
    gain = 1 / np.abs(tracks["wav"]).max()
    written = sidecar(tmp_path / "flac" / "loud")
    assert written["gain"] == pytest.approx(gain)
    peaks_db = [track["peak_db"] for track in written["tracks"] if track["peak_db"] is not None]
    assert max(peaks_db) == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose(tracks["flac"], tracks["wav"] * gain, atol=1e-6)


def test_one_channel_gives_what_that_channel_alone_gives(separate, stereo, tmp_path):
    soundfile.write(tmp_path / "right.wav", soundfile.read(stereo)[0][:, 1], RATE, subtype="FLOAT")
    assert separate(stereo, "--channel", "2", "--speakers", "2").returncode == 0
    assert separate(tmp_path / "right.wav", "--speakers", "2").returncode == 0
    of_stereo, alone = (tracks_in(tmp_path / "out" / folder) for folder in ("st", "right"))
    assert_separated(alone[::-1], 0.5 * TALK[:, ::-1])  # backwards, the second talker is the first
    np.testing.assert_allclose(of_stereo, alone, atol=2e-5)


def test_a_channel_that_a_file_lacks_is_an_error_of_that_file(separate, stereo, mono, tmp_path):
    done = separate(mono, stereo, "--channel", "2", "--speakers", "2", "--quiet")
    assert done.returncode == 1
    one_line_error(done, "a.wav", "no channel 2")
    assert {name.split("/")[0] for name in names(tmp_path / "out")} == {"st"}


def test_each_channel_by_itself(separate, stereo, mono, tmp_path):
    assert separate(stereo, mono, tmp_path / "no.wav", "--channel", "each", "--speakers", "1").returncode == 1
    assert separate(stereo, "--channel", "2", "--speakers", "1", out="second").returncode == 0
    folders = {name.rpartition("/")[0] for name in names(tmp_path / "out")}
    assert folders == {"st/channel1", "st/channel2", "a/channel1"}
    for channel, talkers in (("channel1", TALK), ("channel2", 0.5 * TALK[:, ::-1])):
        assert_separated(tracks_in(tmp_path / "out" / "st" / channel), talkers.sum(0, keepdims=True))
    one, other = tmp_path / "out" / "st" / "channel2" / "speaker1.wav", tmp_path / "second" / "st" / "speaker1.wav"
    assert one.read_bytes() == other.read_bytes()


def test_names_by_a_template(separate, stereo, mono, tmp_path):
    (tmp_path / "in").mkdir()
    for path in (stereo, mono):
        path.rename(tmp_path / "in" / path.name)
    flags = ("--speakers", "1", "--format", "flac", "--activity", "rttm")
    assert separate(tmp_path / "in", *flags, "--filename", "{speaker}/{track}.{ext}").returncode == 0
    assert names(tmp_path / "out") == [
        *("separation/a.json", "separation/a.rttm", "separation/st.json", "separation/st.rttm"),
        *("speaker1/a.flac", "speaker1/st.flac"),
    ]
    template = ("--channel", "each", "--filename", "x-{track}.{channel}.{speaker}.{ext}")
    assert separate(tmp_path / "in", "--speakers", "1", *template, out="flat").returncode == 0
    assert [name for name in names(tmp_path / "flat") if name.endswith("wav")] == [
        f"x-{name}.speaker1.wav" for name in ("a.channel1", "st.channel1", "st.channel2")
    ]


def test_a_template_that_gives_two_recordings_one_name_is_an_error(separate, stereo, mono, tmp_path):
    done = separate(stereo, mono, "--filename", "{speaker}.{ext}")
    assert done.returncode == 1
    one_line_error(done, "--filename '{speaker}.{ext}'", "{track}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_result_is_never_written_onto_an_input(separate, mono, tmp_path, force):
    before = mono.read_bytes()
    (tmp_path / "speaker1.wav").hardlink_to(mono)
    done = separate(mono, "--filename", "{speaker}.{ext}", *force, out=".")
    assert done.returncode == 1
    one_line_error(done, "onto the input", "--out")
    assert mono.read_bytes() == before


def test_what_is_done_is_left_as_it_is(separate, mono, tmp_path):
    assert separate(mono, "--speakers", "2").returncode == 0
    track = tmp_path / "out" / "a" / "speaker1.wav"
    track.write_bytes(b"mine now")
    done = separate(mono, "--speakers", "2")
    assert (done.returncode, done.stdout.count("speaker")) == (0, 2)
    assert "done before" in done.stderr
    assert track.read_bytes() == b"mine now"
    assert separate(mono, "--speakers", "2", "--force").returncode == 0
    assert track.read_bytes() != b"mine now"


@pytest.mark.parametrize(
    "change",
    [
        lambda mono, track: ["--bits", "16"],
        lambda mono, track: ["--channel", "1"],
        lambda mono, track: ["--activity", "rttm"],
        lambda mono, track: ["--window-s", "1.5"],
        lambda mono, track: os.utime(mono, (1, 1)),
        lambda mono, track: soundfile.write(mono, tone(0.5), RATE),
        lambda mono, track: track.unlink(),
        lambda mono, track: track.with_name("separation.json").write_text("{"),
        lambda mono, track: track.with_name("separation.json").unlink(),
    ],
    ids=["bits", "channel", "activity", "window", "time", "content", "a track", "damaged", "no sidecar"],
)
def test_anything_else_that_is_there_is_not_replaced_without_force(separate, mono, tmp_path, change):
    assert separate(mono, "--speakers", "2").returncode == 0
    flags = change(mono, tmp_path / "out" / "a" / "speaker1.wav") or []
    before = {name: (tmp_path / "out" / name).read_bytes() for name in names(tmp_path / "out")}
    flags = [*(flags if isinstance(flags, list) else []), "--speakers", "2"]
    done = separate(mono, *flags)
    assert done.returncode == 1
    one_line_error(done, "is there already", "--force")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names(tmp_path / "out")} == before
    assert separate(mono, *flags, "--force").returncode == 0
    assert {"a/speaker1.wav", "a/speaker2.wav", "a/separation.json"} <= {*names(tmp_path / "out")}


def test_forced_results_replace_the_earlier_ones_and_nothing_else(separate, mono, tmp_path):
    assert separate(mono, "--speakers", "2", "--activity", "rttm,csv").returncode == 0
    (tmp_path / "out" / "a" / "notes.txt").write_text("mine")
    assert separate(mono, "--speakers", "1", "--format", "flac", "--force").returncode == 0
    assert names(tmp_path / "out" / "a") == ["notes.txt", "separation.json", "speaker1.flac"]


def test_activity_is_written_as_rttm_and_in_the_sidecar(separate, tmp_path):
    path = tmp_path / "my talk.wav"
    soundfile.write(path, TALK.sum(0), RATE)
    with heard(1, turns=TURNS):
        assert separate(path, "--activity", "rttm").returncode == 0
    folder = tmp_path / "out" / "my talk"
    assert sidecar(folder)["turns"] == [
        {"start_s": 0.1, "end_s": 0.4, "speaker": "speaker1", "overlapped_share": 0.0},
        {"start_s": 0.5, "end_s": 0.75, "speaker": "speaker1", "overlapped_share": 0.5},
    ]
    assert (folder / "separation.rttm").read_text().splitlines() == [
        "SPEAKER my_talk 1 0.100 0.300 <NA> <NA> speaker1 <NA> <NA>",
        "SPEAKER my_talk 1 0.500 0.250 <NA> <NA> speaker1 <NA> <NA>",
    ]
    with heard(1, turns=TURNS):
        assert separate(path, out="without").returncode == 0
    assert "turns" not in sidecar(tmp_path / "without" / "my talk")


def test_a_table_sums_up_several_recordings_and_failures_come_last(separate, mono, tmp_path):
    soundfile.write(tmp_path / "b.wav", tone(61.0, 8000), 8000)
    done = separate(tmp_path / "no.wav", mono, tmp_path / "b.wav", "--speakers", "1")
    table = [line.split() for line in done.stderr.splitlines()]
    assert table[0] == ["file", "length", "talkers", "time"]
    assert table[1][:2] == [str(tmp_path / "no.wav"), "failed:"]
    assert table[2][:2] == [str(mono), "0:00:03"]
    assert table[3][:2] == [str(tmp_path / "b.wav"), "0:01:01"]
    assert done.stderr.splitlines()[4:] == [f"error: {tmp_path / 'no.wav'}: no such file; check the path"]


def test_on_a_terminal_bars_and_a_table_are_drawn(separate, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take anything for a terminal,
    monkeypatch.setenv("COLUMNS", "200")  # a wide one
    names = [tmp_path / f"[red]{number}.wav" for number in range(2)]
    for path in names:
        soundfile.write(path, tone(0.5), RATE)
    for flags, drawn in (([], True), (["--quiet"], False)):
        done = separate(*names, tmp_path / "[/b]no.wav", *flags, "--speakers", "1", out=f"out{drawn}")
        assert done.returncode == 1
        assert ("talkers" in done.stderr and "[red]1.wav" in done.stderr and "━" in done.stderr) == drawn
        assert done.stderr.splitlines()[-1] == f"error: {tmp_path / '[/b]no.wav'}: no such file; check the path"


def test_an_input_that_is_gone_is_told_where_its_result_is_there(separate, mono):
    assert separate(mono, "--speakers", "1").returncode == 0
    mono.unlink()
    one_line_error(separate(mono, "--speakers", "1"), "no such file")


def test_tags_of_the_input_are_those_of_its_tracks(separate, mono, tmp_path):
    tagged = tmp_path / "tagged.flac"
    with soundfile.SoundFile(tagged, "w", RATE, 1) as file:
        file.title, file.date = "Breakfast", "2024-05-01"
        file.write(tone(1.0))
    assert separate(tagged, "--speakers", "1").returncode == 0
    with soundfile.SoundFile(tmp_path / "out" / "tagged" / "speaker1.wav") as file:
        assert (file.title, file.date) == ("Breakfast", "2024-05-01")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_in_folders_are_followed_and_loops_end(separate, mono, tmp_path):
    inbox, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"
    for folder in (inbox, elsewhere):
        folder.mkdir()
    mono.rename(elsewhere / "a.wav")
    (inbox / "there").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(inbox)
    (inbox / "self").symlink_to(inbox)
    (inbox / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (inbox / "round.wav").symlink_to(inbox / "round.wav")
    done = separate(inbox, "--speakers", "1", "--quiet")
    assert done.returncode == 1
    assert names(tmp_path / "out") == ["there/a/separation.json", "there/a/speaker1.wav"]
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [
        str(inbox / "gone.wav"),
        str(inbox / "round.wav"),
    ]
