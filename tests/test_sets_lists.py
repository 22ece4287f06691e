"""Published lists render to exactly the mixtures that they state."""

import json
import math

import numpy as np
import pytest
import soundfile
from conftest import RATE, one_line_error, run_here

from unbabble.corpora.scan import scan_corpora
from unbabble.errors import CorpusError
from unbabble.mixing.recipe import MixtureRecipe, WeightedRecipe
from unbabble.mixing.signals import rms
from unbabble.sets.lists import read_list
from unbabble.sets.simulate import simulate

ENTRY = {  # in the fields of the authors' configuration
    "id": "val0007",
    "speech": ["1-2-0003", "4-5-0006"],
    "noise": "n14.wav",
    "start_idx": 1600,
    "overlap_ratio": 0.3,
    "spk_snr": 2.5,
    "noise_snr": 15.0,
    "RT60": 0.3,
    "room_size": [5.0, 4.0, 3.0],
    "mic_pos": [[2.0, 2.0, 1.5]],
    "spk_pos": [[1.0, 1.0, 1.0], [4.0, 3.0, 1.2]],
    "noise_pos": [[3.0, 1.0, 2.0]],
}


@pytest.fixture
def libri(tmp_path):
    """Speech and noise under the names that lists use."""
    rng = np.random.default_rng(0)
    for utterance in ("1-2-0003", "4-5-0006"):
        folder = tmp_path / "speech" / utterance.split("-")[0]
        folder.mkdir(parents=True)
        soundfile.write(folder / f"{utterance}.flac", 0.1 * rng.standard_normal(4 * RATE), RATE)
    (tmp_path / "noise").mkdir()
    soundfile.write(tmp_path / "noise" / "n14.flac", 0.1 * rng.standard_normal(RATE), RATE)
    return tmp_path


def listed(folder, *entries):
    path = folder / "list.json"
    path.write_text(json.dumps(entries))
    return path


def test_the_authors_fields_mean_what_their_generator_makes_of_them(libri):
    simulate(
        [libri / "speech"],
        [libri / "noise"],
        libri / "out",
        (),
        listed=listed(libri, ENTRY),
        audio_format="wav",
        dry=True,
    )
    signals = {path.stem: soundfile.read(path)[0] for path in (libri / "out" / "val0007").glob("*.wav")}
    length = int(4 / (2 - 0.3) * RATE)
    start = int((1 - 0.3) * length)
    said = [
        soundfile.read(libri / "speech" / one / f"{two}.flac")[0]
        for one, two in (("1", "1-2-0003"), ("4", "4-5-0006"))
    ]
    for name, begin, truth in (("dry_source1", 0, said[0]), ("dry_source2", start, said[1])):
        heard = signals[name]
        assert not heard[:begin].any()
        assert not heard[begin + length :].any()
        assert np.corrcoef(heard[begin : begin + length], truth[1600 : 1600 + length])[0, 1] > 0.9999
    one, other = signals["dry_source1"][:length], signals["dry_source2"][start : start + length]
    assert 20 * math.log10(rms(other) / rms(one)) == pytest.approx(2.5, abs=0.01)
    dry = signals["dry_source1"] + signals["dry_source2"]
    assert 20 * math.log10(rms(dry) / rms(signals["dry_noise"])) == pytest.approx(15, abs=0.01)
    direct = math.dist((2.0, 2.0, 1.5), (4.0, 3.0, 1.2)) / 343 * RATE
    first = np.flatnonzero(np.abs(signals["source2"]) > 1e-3)[0]
    assert start + direct - 45 <= first <= start + direct + 5


def test_a_set_can_be_made_again_from_its_own_manifest(corpora, tmp_path):
    parts = (WeightedRecipe(1.0, MixtureRecipe(duration_s=1.0, speed=(0.9, 1.1))),)
    speech, noise = [corpora[0]], [corpora[1]]
    simulate(speech, noise, tmp_path / "one", parts, count=4, seed=3)
    simulate(speech, noise, tmp_path / "again", parts, listed=tmp_path / "one" / "manifest.jsonl")
    for name in ("000000", "000003"):
        for kind in ("mixture.flac", "source1.flac", "noise.flac"):
            assert (tmp_path / "one" / name / kind).read_bytes() == (tmp_path / "again" / name / kind).read_bytes()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"speech": ["1-2-0003", "9-9-0009"]}, "val0007: no recording '9-9-0009'"),
        ({"noise": "n99.wav"}, "val0007: no recording 'n99'"),
        ({"overlap_ratio": 1.5}, "overlap_ratio 1.5"),
        ({"RT60": -1}, "t60_s"),
        ({"spk_pos": [[1.0, 1.0]]}, "val0007"),
        ({"spk_pos": [[1.0, 1.0, 1.0]]}, "sources_m has 2 positions; expected one for each of 2 talkers, and"),
        ({"mic_pos": [[2.0, 2.0, 5.0]]}, "is not inside the room"),
        ({"speech": ["1-2-0003"]}, "expected two utterances"),
        ({"spk_snr": float("nan")}, "level_db: Input should be a finite number"),
        ({"id": "scan"}, "is no name for a folder"),
        ({"id": "../up"}, "is no name for a folder"),
        ({"start_idx": None}, "val0007"),
    ],
)
def test_a_wrong_entry_is_named(libri, changed, told):
    heard = scan_corpora([libri / "speech"], [libri / "noise"])
    with pytest.raises(CorpusError, match=told.replace(".", r"\.")):
        read_list(listed(libri, {**ENTRY, **changed}), heard.speech, heard.noise)


def test_a_wrong_list_is_told(libri):
    heard = scan_corpora([libri / "speech"], [libri / "noise"])
    with pytest.raises(CorpusError, match="lacks or misstates 'RT60'"):
        read_list(listed(libri, {key: ENTRY[key] for key in ENTRY if key != "RT60"}), heard.speech, heard.noise)
    with pytest.raises(CorpusError, match="2 mixtures have the id val0007"):
        read_list(listed(libri, ENTRY, ENTRY), heard.speech, heard.noise)
    with pytest.raises(CorpusError, match="has a noise"):
        read_list(listed(libri, ENTRY), heard.speech, None)
    (libri / "list.json").write_text("words")
    with pytest.raises(CorpusError, match="not a list of mixtures"):
        read_list(libri / "list.json", heard.speech, heard.noise)
    with pytest.raises(CorpusError, match="no such list"):
        read_list(libri / "none.json", heard.speech, heard.noise)


def test_the_program_renders_the_part_of_a_list_that_a_split_has(libri):
    (libri / "splits.json").write_text('{"train": {"libri": ["1"]}, "test": {"libri": ["1", "4"], "noise": ["n14"]}}')
    shared = ["--speech", libri / "speech", "--noise", libri / "noise", "--list", listed(libri, ENTRY)]
    done = run_here("simulate", *shared, "--splits", libri / "splits.json", "--split", "test", "--out", libri / "out")
    assert done.returncode == 1
    one_line_error(done, "speaker '1' is in two splits")
    (libri / "splits.json").write_text('{"train": {"libri": ["1"]}, "test": {"libri": ["4"], "noise": ["n14"]}}')
    done = run_here("simulate", *shared, "--splits", libri / "splits.json", "--split", "test", "--out", libri / "out")
    one_line_error(done, "every mixture has speakers of other splits")
    theirs = {**ENTRY, "id": "val0008", "speech": ["4-5-0006", "4-5-0006"]}
    both = [*shared[:4], "--list", listed(libri, ENTRY, theirs)]
    done = run_here("simulate", *both, "--splits", libri / "splits.json", "--split", "test", "--out", libri / "part")
    assert "left out 1 of 2 mixtures" in done.stderr
    assert [path.parent.name for path in (libri / "part").glob("*/mixture.flac")] == ["val0008"]
    listed(libri, ENTRY)
    done = run_here("simulate", *shared, "--out", libri / "out")
    assert done.returncode == 0, done.stderr
    assert (libri / "out" / "val0007" / "source2.flac").is_file()
    done = run_here(
        "simulate", *shared[:4], "--list", listed(libri, {**ENTRY, "speech": ["1-2-0003", "x"]}), "--out", libri / "b"
    )
    assert done.returncode == 1
    one_line_error(done, "mixture val0007: no recording 'x'")
