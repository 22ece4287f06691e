"""Corpora: known layouts, manifests, splits."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, make_tones
from hypothesis import given
from hypothesis import strategies as st

from unbabble.corpora.corpus import Corpus, Recording, check_disjoint, read_splits
from unbabble.corpora.manifest import read_manifest, write_manifest
from unbabble.corpora.readers import EXPECTED, LAYOUTS
from unbabble.corpora.scan import scan
from unbabble.errors import CorpusError


def recording(key: str, name: str = "ann", split: str | None = None) -> Recording:
    return Recording(name, key, Path("/data") / key, 1.0, split)


def table(corpus: Corpus) -> set[tuple[str, str, str | None, str | None]]:
    return {(one.name, one.key, one.split, one.gender) for one in corpus.recordings}


class TestCorpus:
    def test_is_sorted_whatever_the_order(self):
        keys = ["b/2.wav", "b/1.wav", "a/9.wav"]
        corpus = Corpus(tuple(recording(key, key[0]) for key in keys))
        assert [one.key for one in corpus.recordings] == sorted(keys)
        assert corpus == Corpus(corpus.recordings[::-1])
        assert corpus.names == ("a", "b")
        assert [one.key for one in corpus.of("b")] == ["b/1.wav", "b/2.wav"]
        assert corpus.hours == pytest.approx(3 / 3600)

    def test_keeps_two_files_with_one_key_in_the_order_given(self):
        twins = tuple(Recording("ann", "ann/1.wav", Path(disk) / "ann/1.wav", 1.0) for disk in ("/z", "/a"))
        assert Corpus(twins).recordings == twins

    def test_only_and_without_pass_unknown_names_over(self):
        corpus = Corpus((recording("1.wav", "ann"), recording("2.wav", "bob")))
        assert corpus.only(["bob", "zoe"]).names == ("bob",)
        assert corpus.without(["bob", "zoe"]).names == ("ann",)

    def test_in_split_names_the_splits_that_there_are(self):
        corpus = Corpus((recording("1.wav", "ann", "train"), recording("2.wav", "bob", "valid")))
        assert corpus.in_split("valid").names == ("bob",)
        with pytest.raises(CorpusError, match="'test'; expected train, valid"):
            corpus.in_split("test")
        with pytest.raises(CorpusError, match="split file"):
            Corpus((recording("1.wav"),)).in_split("test")

    def test_with_splits_replaces_all_splits(self):
        corpus = Corpus((recording("1.wav", "ann", "train"), recording("2.wav", "bob", "train")))
        assert [one.split for one in corpus.with_splits({"test": ["ann", "zoe"]}).recordings] == ["test", None]

    def test_with_splits_refuses_a_speaker_in_two(self):
        corpus = Corpus((recording("1.wav", "ann"),))
        corpus.with_splits({"train": ["ann", "zoe"], "test": ["zoe"]})
        with pytest.raises(CorpusError, match="'ann' is in two splits, train and test"):
            corpus.with_splits({"train": ["ann"], "test": ["ann"]})

    def test_check_disjoint(self):
        check_disjoint(Corpus((recording("1.wav", split="train"), recording("2.wav"))))
        with pytest.raises(CorpusError, match="'ann' is in two splits, test and train"):
            check_disjoint(Corpus((recording("1.wav", split="train"), recording("2.wav", split="test"))))

    def test_find_by_key_bare_key_and_stem(self):
        corpus = Corpus((recording("x/1.wav"), recording("x/2.a.flac"), recording("y/1.wav")))
        assert corpus.find("x/1.wav").key == corpus.find("x/1").key == "x/1.wav"
        assert corpus.find("2.a").key == "x/2.a.flac"
        with pytest.raises(CorpusError, match=r"'1' could be any of 2: .*whole key"):
            corpus.find("1")
        with pytest.raises(CorpusError, match=r"no recording 'x/3'; searched .* 3 recordings of 1 names"):
            corpus.find("x/3")
        with pytest.raises(CorpusError, match="the corpus is empty"):
            Corpus(()).find("1")


class TestSpeechLayouts:
    SPEAKERS = ";ID  |SEX| SUBSET |MINUTES| NAME\n19   | F | train-clean-100 | 25.19 | Kara\n84 | M | dev-clean |"

    @pytest.fixture
    def libri(self, tmp_path) -> Path:
        files = ("train-clean-100/19/198/19-198-0000.flac", "dev-clean/84/121123/84-121123-0000.flac")
        root = make_tones(
            tmp_path / "LibriSpeech", *files, "test-other/7/8/7-8-0000.flac", "dev-clean/84/1/84-1.trans.txt"
        )
        (root / "SPEAKERS.TXT").write_text(self.SPEAKERS)
        return root

    def test_librispeech(self, libri):
        assert table(scan([libri], "speech").corpus) == {
            ("19", "train-clean-100/19/198/19-198-0000.flac", "train", "f"),
            ("84", "dev-clean/84/121123/84-121123-0000.flac", "valid", "m"),
            ("7", "test-other/7/8/7-8-0000.flac", "test", None),
        }

    def test_one_subset_of_librispeech(self, libri):
        expected = {("19", "19/198/19-198-0000.flac", "train", "f")}
        assert table(scan([libri / "train-clean-100"], "speech").corpus) == expected
        (libri / "SPEAKERS.TXT").unlink()
        assert table(scan([libri / "train-clean-100"], "speech").corpus) == {(*expected.pop()[:3], None)}

    def test_libritts(self, tmp_path):
        root = make_tones(tmp_path, "train-clean-360/14/208/14_208_000001_000000.wav")
        (root / "speakers.tsv").write_text("READER\tGENDER\tSUBSET\tNAME\n14\tF\ttrain-clean-360\tKristin\n")
        expected = {("14", "train-clean-360/14/208/14_208_000001_000000.wav", "train", "f")}
        assert table(scan([root], "speech", layout="libritts").corpus) == expected
        assert table(scan([root], "speech").corpus) == expected

    def test_vctk_takes_the_first_microphone(self, tmp_path):
        takes = [
            f"wav48_silence_trimmed/{take}_mic{mic}.flac" for take in ("p225/p225_001", "s5/s5_001") for mic in "12"
        ]
        root = make_tones(tmp_path, *takes)
        (root / "speaker-info.txt").write_text(
            "ID  AGE  GENDER  ACCENTS  REGION\np225  23  F  English  Surrey\ns5 24 M\n"
        )
        assert table(scan([root], "speech").corpus) == {("p225", takes[0], None, "f"), ("s5", takes[2], None, "m")}

    def test_folders_that_only_resemble_subsets_are_speakers(self, tmp_path):
        make_tones(tmp_path, "test-pilot/1.wav", "train-driver/x/2.wav")
        assert scan([tmp_path], "speech").corpus.names == ("test-pilot", "train-driver")

    def test_older_vctk(self, tmp_path):
        root = make_tones(tmp_path, "wav48/p226/p226_001.wav")
        (root / "speaker-info.txt").write_text("ID  AGE  GENDER  ACCENTS  REGION\n226  22  M  English  Surrey\n")
        assert table(scan([root], "speech").corpus) == {("p226", "wav48/p226/p226_001.wav", None, "m")}

    def test_folders_pass_over_hidden_files_and_files_of_nobody(self, tmp_path):
        names = (
            "ann/1.wav",
            "bob/x/y/2.flac",
            "nobody.wav",
            "ann/._1.wav",
            ".git/3.wav",
            "bob/.x/4.wav",
            "ann/note.txt",
        )
        corpus = scan([make_tones(tmp_path, *names)], "speech").corpus
        assert table(corpus) == {("ann", "ann/1.wav", None, None), ("bob", "bob/x/y/2.flac", None, None)}

    def test_links_to_speakers_are_followed_but_not_in_circles(self, tmp_path):
        make_tones(tmp_path, "disk/ann/1.wav", "speech/bob/1.wav")
        try:
            (tmp_path / "speech/ann").symlink_to(tmp_path / "disk/ann", target_is_directory=True)
            (tmp_path / "speech/bob/up").symlink_to(tmp_path / "speech", target_is_directory=True)
        except OSError:
            pytest.skip("no links on this system")
        assert [one.key for one in scan([tmp_path / "speech"], "speech").corpus.recordings] == [
            "ann/1.wav",
            "bob/1.wav",
        ]

    def test_a_speaker_in_two_splits_is_refused(self, tmp_path):
        make_tones(tmp_path, "train-clean-100/19/1/a.flac", "test-clean/19/1/b.flac")
        with pytest.raises(CorpusError, match="'19' is in two splits, test and train"):
            scan([tmp_path], "speech")


class TestNoiseLayouts:
    def test_nonspeech(self, tmp_path):
        make_tones(tmp_path, "n1.wav", "n100.flac")
        assert scan([tmp_path], "noise", layout="nonspeech").corpus.names == ("n1", "n100")

    def test_wham(self, tmp_path):
        make_tones(tmp_path, "tr/a_-0.2.wav", "cv/b.wav", "tt/c.wav", "metadata/d.csv")
        assert table(scan([tmp_path], "noise").corpus) == {
            ("a_-0.2", "tr/a_-0.2.wav", "train", None),
            ("b", "cv/b.wav", "valid", None),
            ("c", "tt/c.wav", "test", None),
        }

    def test_musan_without_music_and_speech(self, tmp_path):
        make_tones(
            tmp_path,
            "noise/free-sound/noise-1.wav",
            "music/fma/music-1.wav",
            "speech/librivox/speech-1.wav",
            "README",
        )
        assert scan([tmp_path], "noise").corpus.names == ("noise-1",)

    def test_auto_leaves_nothing_out_of_a_folder_that_only_resembles_a_corpus(self, tmp_path):
        make_tones(tmp_path, "n1.wav", "noise/hum.wav", "rain/rain.wav", "rain/._rain.wav")
        assert scan([tmp_path], "noise").corpus.names == ("hum", "n1", "rain")


class TestRefusals:
    @pytest.mark.parametrize("kind", ["speech", "noise"])
    def test_a_wrong_layout_says_what_was_expected(self, tmp_path, kind):
        make_tones(tmp_path, "a.txt")
        for layout in LAYOUTS[kind]:
            with pytest.raises(CorpusError) as error:
                scan([tmp_path], kind, layout=layout)
            assert f"expected {EXPECTED[layout]}" in str(error.value)
        with pytest.raises(CorpusError, match=f"found .*{next(iter(LAYOUTS[kind]))}"):
            scan([tmp_path], kind)
        with pytest.raises(CorpusError, match="no layout called 'tape'; expected auto, "):
            scan([tmp_path], kind, layout="tape")

    def test_folders_of_speakers_are_no_librispeech(self, tmp_path):
        make_tones(tmp_path, "ann/1.wav")
        with pytest.raises(CorpusError, match="no speakers found"):
            scan([tmp_path], "speech", layout="librispeech")

    def test_a_folder_that_may_not_be_listed(self, tmp_path):
        (tmp_path / "locked").mkdir(mode=0)
        if os.access(tmp_path / "locked", os.R_OK):
            pytest.skip("this user may list anything")
        with pytest.raises(CorpusError, match="locked: cannot be read: Permission denied"):
            scan([tmp_path / "locked"], "speech")

    def test_missing_sources(self, tmp_path):
        with pytest.raises(CorpusError, match=r"gone: no such folder"):
            scan([tmp_path / "gone"], "speech")
        with pytest.raises(CorpusError, match=r"gone\.csv: not a readable manifest"):
            scan([tmp_path / "gone.csv"], "speech")
        with pytest.raises(CorpusError, match="no source given"):
            scan([], "noise")

    def test_unreadable_files_are_named_and_left_out(self, tmp_path):
        make_tones(tmp_path, "ann/1.wav", "ann/words.txt")
        (tmp_path / "ann/words.txt").rename(tmp_path / "ann/words.wav")
        (tmp_path / "ann/empty.wav").touch()
        (tmp_path / "ann/gone.wav").symlink_to(tmp_path / "nowhere.wav")
        soundfile.write(tmp_path / "ann/silent.wav", np.zeros(0), RATE)
        found = scan([tmp_path], "speech")
        assert [one.key for one in found.corpus.recordings] == ["ann/1.wav"]
        assert len(found.unreadable) == 4
        for line, name in zip(found.unreadable, ("empty", "gone", "silent", "words"), strict=True):
            assert line.startswith(f"{tmp_path / 'ann' / name}.wav: ")
            assert "\n" not in line

    def test_nothing_readable(self, tmp_path):
        make_tones(tmp_path, "ann/words.txt")
        (tmp_path / "ann/words.txt").rename(tmp_path / "ann/words.wav")
        with pytest.raises(CorpusError, match=r"none of 1 files can be read: .*words\.wav"):
            scan([tmp_path], "speech")


class TestManifests:
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
    corpora = st.lists(
        st.builds(
            Recording,
            name=text,
            key=text,
            path=text.map(lambda name: Path("/data").absolute() / name.replace("/", "_")),
            duration_s=st.floats(0, exclude_min=True, allow_infinity=False),
            split=st.none() | text,
            gender=st.sampled_from([None, "f", "m"]),
        ),
        max_size=5,
    ).map(lambda recordings: Corpus(tuple(recordings)))

    @given(corpus=corpora, suffix=st.sampled_from([".csv", ".jsonl"]))
    def test_written_and_read_again(self, tmp_path_factory, corpus, suffix):
        path = tmp_path_factory.mktemp("manifest") / f"m{suffix}"
        write_manifest(corpus, path)
        assert read_manifest(path) == corpus

    @pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
    def test_moves_with_its_folder(self, tmp_path, suffix):
        corpus = scan([make_tones(tmp_path / "old", "ann/1.wav")], "speech").corpus
        write_manifest(corpus, tmp_path / "old" / f"m{suffix}")
        (tmp_path / "old").rename(tmp_path / "new")
        (moved,) = scan([tmp_path / "new" / f"m{suffix}"], "speech").corpus.recordings
        assert moved.path == tmp_path / "new/ann/1.wav"
        assert moved.key == "ann/1.wav"

    def test_is_not_scanned_again(self, tmp_path, opened):
        (tmp_path / "m.csv").write_text(
            "\ufeffspeaker,path,duration_s,mood\n19,../a/1.wav,2.5,calm\n19,/far/2.wav,1,\n", "utf-8"
        )
        corpus = scan([tmp_path / "m.csv", make_tones(tmp_path / "speech", "ann/1.wav")], "speech").corpus
        assert corpus.names == ("19", "ann")
        assert opened == [tmp_path / "speech/ann/1.wav"]
        assert [one.key for one in corpus.of("19")] == ["../a/1.wav", "19/2.wav"]

    def test_takes_numbers_as_names_and_words_as_genders(self, tmp_path):
        row = {"speaker": 19, "path": "1.wav", "duration_s": "2", "gender": "Female", "split": None}
        (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n\n")
        assert table(read_manifest(tmp_path / "m.jsonl")) == {("19", "1.wav", None, "f")}

    @pytest.mark.parametrize(
        ("name", "content", "wrong"),
        [
            ("m.csv", "name,path,duration_s\nann,1.wav,1\nann,2.wav,long\n", "line 3: duration_s is 'long'"),
            ("m.csv", "name,path,duration_s\nann,1.wav,0\n", "line 2: duration_s is '0'; expected seconds above 0"),
            ("m.csv", "name,path\nann,1.wav\n", "line 2: duration_s is None"),
            ("m.csv", "name,path,duration_s\n,1.wav,1\n", "line 2: no name"),
            ("m.csv", "name,path,duration_s\nann\n", "line 2: no path"),
            ("m.jsonl", '\n{"name": "ann",\n', "line 2: not JSON"),
            ("m.jsonl", "[1]\n", "line 1: not a JSON object"),
            ("m.jsonl", '{"name": ["ann"], "path": "1.wav", "duration_s": 1}', r"line 1: name is \['ann'\]"),
            ("m.jsonl", '{"name": "ann", "path": "1.wav", "duration_s": NaN}', "line 1: duration_s is nan"),
            ("m.txt", "", "ends in .csv or .jsonl"),
        ],
    )
    def test_errors_name_file_and_line(self, tmp_path, name, content, wrong):
        (tmp_path / name).write_text(content)
        with pytest.raises(CorpusError, match=f"{name}.*{wrong}"):
            read_manifest(tmp_path / name)


class TestSplits:
    def test_both_forms(self, tmp_path):
        path = tmp_path / "splits.json"
        path.write_text('{"train": {"libri": ["19", "26"], "voices": ["ann"]}, "test": ["bob"]}')
        assert read_splits(path) == {"train": ("19", "26", "ann"), "test": ("bob",)}

    @pytest.mark.parametrize(
        "content", ["", "[]", '{"train": "ann"}', '{"train": {"libri": "ann"}}', '{"train": [19]}']
    )
    def test_refusals(self, tmp_path, content):
        path = tmp_path / "splits.json"
        with pytest.raises(CorpusError, match="not a readable split file"):
            read_splits(path)
        path.write_text(content)
        with pytest.raises(CorpusError, match="not a readable split file"):
            read_splits(path)
