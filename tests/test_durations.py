"""Durations of a corpus's recordings: true, and remembered."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from conftest import RATE, Told, make_tones, tone

from unbabble.corpora.scan import scan


class TestDurations:
    @staticmethod
    def write_mp3(path: Path, seconds: float = 3.0, header: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", options={"write_xing": str(int(header))}) as container:
            stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone(seconds)[None], format="fltp", layout="mono")
            frame.rate = RATE
            container.mux([*stream.encode(frame), *stream.encode()])

    def duration_s(self, path: Path) -> float:
        return scan([path.parent], "noise").corpus.find(path.name).duration_s

    def test_of_wav(self, tmp_path):
        assert self.duration_s(make_tones(tmp_path, "a.wav", seconds=0.25) / "a.wav") == 0.25

    @pytest.mark.parametrize("header", [True, False])
    def test_of_mp3(self, tmp_path, header):
        self.write_mp3(tmp_path / "a.mp3", header=header)
        assert self.duration_s(tmp_path / "a.mp3") == pytest.approx(3.0, abs=0.001 if header else 0.15)

    def lying_mp3(self, path: Path, lie: float) -> None:
        self.write_mp3(path)
        content = bytearray(path.read_bytes())
        count = slice(content.index(b"Info") + 8, content.index(b"Info") + 12)
        content[count] = int(lie * int.from_bytes(content[count], "big")).to_bytes(4, "big")
        path.write_bytes(content)

    def test_of_mp3_whose_header_promises_too_little(self, tmp_path):
        self.lying_mp3(tmp_path / "a.mp3", 0.25)
        assert self.duration_s(tmp_path / "a.mp3") == pytest.approx(3.0, abs=0.15)

    def test_mp3_with_less_than_its_header_promises_is_left_out_by_name(self, tmp_path):
        make_tones(tmp_path, "good.wav")
        self.lying_mp3(tmp_path / "lie.mp3", 10)
        self.write_mp3(tmp_path / "short.mp3")
        (tmp_path / "short.mp3").write_bytes((tmp_path / "short.mp3").read_bytes()[:4000])
        found = scan([tmp_path], "noise")
        assert found.corpus.names == ("good",)
        assert all("its header promises" in line for line in found.unreadable)
        assert [Path(line.split(":")[0]).name for line in found.unreadable] == ["lie.mp3", "short.mp3"]

    @pytest.mark.parametrize("name", ["short.wav", "short.flac"])
    def test_files_cut_short_are_left_out_by_name(self, tmp_path, name):
        make_tones(tmp_path, "good.wav", name, seconds=1.0)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-2000])
        found = scan([tmp_path], "noise")
        assert found.corpus.names == ("good",)
        assert "damaged or cut short" in found.unreadable[0]

    def test_files_too_short_to_hear_anything_are_left_out(self, tmp_path):
        soundfile.write(make_tones(tmp_path, "good.wav") / "blip.wav", np.ones(10), RATE)
        found = scan([tmp_path], "noise")
        assert found.corpus.names == ("good",)
        assert "expected at least 25 ms" in found.unreadable[0]

    def test_of_a_stream_without_a_duration(self, tmp_path):
        path = tmp_path / "a.webm"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libopus", rate=48000, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone(1.0, 48000)[None], format="flt", layout="mono")
            frame.rate = 48000
            container.mux([*stream.encode(frame), *stream.encode()])
        assert self.duration_s(path) == pytest.approx(1.0, abs=0.05)

    def test_recordings_of_one_key_in_two_folders_are_kept_apart(self, tmp_path):
        one, other = make_tones(tmp_path / "one", "a/0.wav"), make_tones(tmp_path / "other", "a/0.wav")
        corpus = scan([one, other, one], "speech").corpus
        assert sorted(recording.path for recording in corpus.recordings) == [one / "a/0.wav", other / "a/0.wav"]
        for recording in corpus.recordings:
            assert corpus.find(recording.key) == recording

    def test_progress(self, tmp_path):
        told = Told()
        scan([make_tones(tmp_path, "a.wav", "b.wav")], "noise", jobs=1, progress=told)
        assert told.tasks == [("scanning", [(1, 2), (2, 2)])]


class TestCache:
    def test_only_new_and_changed_files_are_opened(self, tmp_path, opened):
        root, cache = make_tones(tmp_path / "noise", "a.wav", "b.wav"), tmp_path / "out" / "durations.jsonl"
        first = scan([root], "noise", cache=cache)
        assert len(opened) == 2
        opened.clear()
        assert scan([root], "noise", cache=cache) == first
        assert opened == []
        make_tones(root, "b.wav", "c.wav", seconds=0.2)
        assert scan([root], "noise", cache=cache).corpus.hours == pytest.approx(0.5 / 3600)
        assert sorted(opened) == [root / "b.wav", root / "c.wav"]
        assert sorted(path.name for path in root.iterdir()) == ["a.wav", "b.wav", "c.wav"]

    def test_a_file_of_the_same_size_with_another_time_is_opened(self, tmp_path, opened):
        root, cache = make_tones(tmp_path / "noise", "a.wav"), tmp_path / "durations.jsonl"
        scan([root], "noise", cache=cache)
        os.utime(root / "a.wav", ns=(1, 1))
        scan([root], "noise", cache=cache)
        assert len(opened) == 2

    def test_one_cache_serves_several_corpora(self, tmp_path, opened):
        cache = tmp_path / "durations.jsonl"
        roots = [make_tones(tmp_path / "one", "a.wav"), make_tones(tmp_path / "two", "b.wav")]
        for root in roots * 2:
            scan([root], "noise", cache=cache)
        assert len(opened) == 2

    @pytest.mark.parametrize("content", [b"\xff", b"words\n", b"[1]\n", b'{"path": "a"}\n'])
    def test_a_broken_cache_is_ignored_and_rewritten(self, tmp_path, opened, content):
        root, cache = make_tones(tmp_path / "noise", "a.wav"), tmp_path / "durations.jsonl"
        cache.write_bytes(content)
        scan([root], "noise", cache=cache)
        scan([root], "noise", cache=cache)
        assert len(opened) == 1
