"""How mixtures are heard: over telephones, through codecs, one speaker as two talkers; old draws as they were."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import RATE, REPO
from test_mixing import mixer

from unbabble.base.config import dump_settings, parse_settings
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import CorpusError, OutputError, RecipeError
from unbabble.mixing.bank import Rooms, make_bank
from unbabble.mixing.codecs import coded
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.on_device import DeviceMixer, ResponseTable
from unbabble.mixing.plan import Codec, Plan
from unbabble.mixing.recipe import (
    CodecRecipe,
    Conversation,
    LowPassRecipe,
    MixtureRecipe,
    RoomRecipe,
    SameSpeakerRecipe,
    TelephoneRecipe,
    WeightedRecipe,
    read_mixtures,
)
from unbabble.mixing.signals import band_pass, rms
from unbabble.sets.preview import write_preview
from unbabble.sets.simulate import simulate
from unbabble.training.datasets import DrawnDataset, DryDataset

CODECS = ("mp3", "opus")
DRY = {"room": None, "noise_snr_db": None}
TELEPHONE = TelephoneRecipe(probability=1.0)
CODED = CodecRecipe(mp3_probability=0.5, opus_probability=0.5)
TWICE = SameSpeakerRecipe(probability=1.0)
LOW_PASS = LowPassRecipe(0.5, 0.5, (2500.0, 7500.0))
AS_THEY_WERE = {  # speakers, where their excerpts begin, speeds, low pass (Hz), T60 (s), RMS of the mixture
    "paper": [
        ("cyd ann", [48976, 5002], [1.0, 1.0], None, 0.459071, 0.184288),
        ("bob cyd", [22605, 24931], [1.0, 1.0], None, 0.295858, 0.223825),
        ("cyd bob", [19781, 15387], [1.0, 1.0], None, 0.493758, 0.19585),
    ],
    "varied": [
        ("", [], [], 4416.844, 0.49967, 0.23632),
        ("ann bob cyd", [6485, 1446, 33972], [1.007587, 1.003459, 0.942044], 2673.493, 0.29997, 0.156223),
        ("ann cyd", [2950, 5132], [1.040292, 0.910669], 3080.835, 0.149551, 0.208929),
    ],
    "turns": [
        ("cyd ann", [618, 8221], [0.95716, 0.910786], 4098.923, 0.194478, 0.160365),
        ("bob cyd", [491, 27086], [1.063308, 1.007587], None, 0.272319, 0.138822),
        ("cyd bob", [28078, 18371], [1.040292, 0.910669], None, 0.457499, 0.142263),
    ],
}
RECIPES = {
    "paper": {},
    "varied": {"n_speakers": (0, 3), "speed": (0.9, 1.1), "low_pass": LOW_PASS},
    "turns": {
        "duration_s": 6.0,
        "timeline": Conversation(turn_s=(0.5, 2.0)),
        "speed": (0.9, 1.1),
        "low_pass": LOW_PASS,
    },
}


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two synthetic voices at once, 4 s."""
    voices = [soundfile.read(path)[0] for path in sorted((REPO / "examples" / "voices").rglob("*.flac"))[:2]]
    both = sum(voice[: 4 * RATE] for voice in voices)
    return (0.9 * both / np.abs(both).max()).astype(np.float32)


def level_db(signal: np.ndarray, low: float, high: float) -> float:
    """Of what lies between two frequencies, over all of it."""
    power = np.abs(np.fft.rfft(signal * np.hanning(signal.size))) ** 2
    hertz = np.fft.rfftfreq(signal.size, 1 / RATE)
    return float(10 * np.log10(power[(low <= hertz) & (hertz < high)].sum() / power.sum() + 1e-30))


def lag(heard: np.ndarray, truth: np.ndarray) -> int:
    """Samples by which one signal comes after another, by their cross-correlation."""
    n_fft = 2 * truth.size
    found = int(np.argmax(np.fft.irfft(np.fft.rfft(heard, n_fft) * np.conj(np.fft.rfft(truth, n_fft)))))
    return found if found < truth.size else found - n_fft


@pytest.mark.parametrize("name", RECIPES)
def test_the_mixtures_of_older_recipes_stay_as_they_were(corpora, name):
    draw = mixer(corpora, seed=5, **RECIPES[name])
    for index, (speakers, starts, speeds, cutoff_hz, t60_s, loudness) in enumerate(AS_THEY_WERE[name]):
        made = draw(index)
        talkers = made.plan.talkers
        assert [talker.speaker for talker in talkers] == speakers.split()
        assert [talker.stretches[0].start for talker in talkers] == starts
        assert [talker.speed for talker in talkers] == pytest.approx(speeds, abs=1e-6)
        assert made.plan.cutoff_hz == (None if cutoff_hz is None else pytest.approx(cutoff_hz, abs=1e-3))
        assert made.plan.room.t60_s == pytest.approx(t60_s, abs=1e-6)
        assert rms(made.mixture) == pytest.approx(loudness, abs=2e-6)
        assert (made.plan.lower_hz, made.plan.codec) == (0, None)


@pytest.mark.parametrize(
    ("hertz", "gain_db"),
    [(60, -60), (200, -60), (300, -6.02), (400, 0), (1000, 0), (3300, 0), (3400, -6.02), (3500, -60), (7000, -60)],
)
def test_a_band_keeps_what_is_in_it_halves_its_edges_and_takes_away_the_rest(hertz, gain_db):
    sine = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    left = 20 * np.log10(rms(band_pass(sine, 300, 3400, RATE)) / rms(sine) + 1e-30)
    assert left < -60 if gain_db == -60 else left == pytest.approx(gain_db, abs=0.05)


def test_over_a_telephone_all_signals_have_its_band(corpora):
    draw = mixer(corpora, telephone=TELEPHONE, low_pass=LowPassRecipe(0, 1.0, (6000.0, 6000.0)), room=None)
    made = draw(0)
    assert (made.plan.lower_hz, made.plan.cutoff_hz) == (300, 3400)
    for signal in (made.mixture, *made.sources, made.noise):
        assert level_db(signal, 300, 3400) > -0.2
        assert level_db(signal, 0, 200) < -50
        assert level_db(signal, 3500, 8000) < -50
    np.testing.assert_allclose(made.mixture, made.sources.sum(0) + made.noise, atol=1e-6)
    narrow = dataclasses.replace(TELEPHONE, band_hz=(500.0, 2000.0))
    assert level_db(mixer(corpora, telephone=narrow, **DRY)(0).mixture, 500, 2000) > -0.2


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("name", ["mp3", "opus"])
@pytest.mark.parametrize("kbps", [12, 24, 64, 256])
def test_coded_signals_lie_on_the_uncoded_to_the_sample(speech, name, kbps, rate):
    codec, said = Codec(name, kbps), soxr.resample(speech, RATE, rate)
    said = said[: rate * 2 + 7]  # no whole number of frames
    heard = coded(said, codec, rate)
    assert heard.shape == said.shape
    assert heard.dtype == np.float32
    assert lag(heard, said) == 0
    assert rms(heard - said) < 0.5 * rms(said)
    click = np.zeros(rate, np.float32)
    click[rate // 2 + 123] = 0.9
    beat = np.abs(coded(click, codec, rate)).argmax() - (rate // 2 + 123)
    assert abs(beat) <= rate / 32000  # at higher rates than a codec's band, its crest is broader than a sample


@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_telephone_bands_noise_and_brief_or_silent_signals_are_coded_in_step(speech, name):
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(2 * RATE)).astype(np.float32)
    for signal in (band_pass(speech, 300, 3400, RATE), noise, speech[: RATE // 2]):
        for kbps in (12, 16, 32):
            assert lag(coded(signal, Codec(name, kbps), RATE), signal) == 0
    assert coded(speech[:400], Codec(name, 32), 6 * RATE).shape == (400,)
    assert rms(coded(np.zeros(RATE, np.float32), Codec(name, 32), RATE)) < 1e-4


@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_more_bits_leave_more_of_a_signal(speech, name):
    errors = [rms(coded(speech, Codec(name, kbps), RATE) - speech) for kbps in (12, 24, 64)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * rms(speech)


def test_a_codec_is_heard_in_the_mixture_alone(corpora):
    draw = mixer(corpora, codec=CODED, room=None)
    for index in range(4):
        made = draw(index)
        plain = draw.render(dataclasses.replace(made.plan, codec=None))
        for kind in ("sources", "noise", "dry_sources", "dry_noise"):
            np.testing.assert_array_equal(getattr(made, kind), getattr(plain, kind))
        np.testing.assert_array_equal(made.mixture, coded(plain.mixture, made.plan.codec, RATE))
        assert not np.array_equal(made.mixture, plain.mixture)
        np.testing.assert_array_equal(made.mixture, draw(index).mixture)


def test_shares_and_ranges_are_those_of_the_recipe(corpora):
    codec = CodecRecipe(mp3_probability=0.2, opus_probability=0.4, mp3_kbps=(40.0, 50.0), opus_kbps=(12.0, 20.0))
    draw = mixer(corpora, codec=codec, telephone=TelephoneRecipe(probability=0.3), **DRY).draw
    plans = [draw(index) for index in range(400)]
    found = {name: [plan.codec.kbps for plan in plans if plan.codec and plan.codec.name == name] for name in CODECS}
    assert 50 < len(found["mp3"]) < 110
    assert 120 < len(found["opus"]) < 200
    assert 40 <= min(found["mp3"]) < 41 < 49 < max(found["mp3"]) <= 50
    assert 12 <= min(found["opus"]) < 13 < 19 < max(found["opus"]) <= 20
    assert 85 < sum(plan.lower_hz == 300 for plan in plans) < 155


@pytest.mark.parametrize("speed", [(0.9, 1.1), (0.95, 1.05), (0.95, 1.05000001)])
def test_one_speaker_at_two_speeds_is_two_talkers(corpora, speed):
    draw = mixer(
        corpora, same_speaker=TWICE, speed=speed, n_speakers=(0, 3), **DRY | {"noise_snr_db": (0.0, 9.0)}
    ).draw
    plans = [draw(index) for index in range(60)]
    pairs = [plan.talkers[:2] for plan in plans if len(plan.talkers) > 1]
    assert len(pairs) > 15
    for one, other in pairs:
        assert one.speaker == other.speaker
        assert abs(one.speed - other.speed) > 0.1 - 1e-9
        assert speed[0] - 1e-9 <= min(one.speed, other.speed) < max(one.speed, other.speed) <= speed[1] + 1e-9
    assert {one.speed < other.speed for one, other in pairs} == {True, False}
    assert {len(plan.talkers) for plan in plans} == {0, 1, 2, 3}
    assert all(plan.talkers[2].speaker != plan.talkers[0].speaker for plan in plans if len(plan.talkers) == 3)
    assert len({plan.talkers[0].speaker for plan in plans if plan.talkers}) == 3


def test_some_mixtures_are_of_one_speaker_where_the_recipe_says_some(corpora):
    draw = mixer(corpora, same_speaker=SameSpeakerRecipe(probability=0.2), speed=(0.9, 1.1), **DRY).draw
    count = sum(one.speaker == other.speaker for one, other in (draw(index).talkers for index in range(200)))
    assert 20 < count < 65


def test_every_condition_is_replayed_from_a_list(corpora, tmp_path):
    recipe = MixtureRecipe(
        duration_s=1.0, speed=(0.9, 1.1), telephone=TelephoneRecipe(probability=0.5), codec=CODED, same_speaker=TWICE
    )
    simulate([corpora[0]], [corpora[1]], tmp_path / "set", (WeightedRecipe(1.0, recipe),), count=4, jobs=2)
    listed = tmp_path / "set" / "manifest.jsonl"
    simulate([corpora[0]], [corpora[1]], tmp_path / "again", (), listed=listed)
    plans = [parse_settings(Plan, json.loads(line)["plan"], "") for line in listed.read_text().splitlines()]
    assert {plan.codec.name for plan in plans} == set(CODECS)
    assert {plan.lower_hz for plan in plans} == {0, 300}
    files = sorted(path.relative_to(tmp_path / "set") for path in (tmp_path / "set").glob("*/*.flac"))
    assert len(files) == 4 * 4
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "set" / file).read_bytes()


def test_lists_of_before_these_conditions_are_read(corpora):
    draw = mixer(corpora, low_pass=LOW_PASS)
    made = draw(1)
    values = dump_settings(made.plan)
    old = {key: value for key, value in values.items() if key not in ("lower_hz", "codec")}
    again = parse_settings(Plan, old, "an old list")
    assert again == made.plan
    np.testing.assert_array_equal(draw.render(again).mixture, made.mixture)


def test_mixing_on_the_device_gives_coded_mixtures_but_for_their_level(corpora):
    heard, room = scan_corpora([corpora[0]], [corpora[1]]), RoomRecipe(length_m=(3, 4), t60_s=(0.1, 0.3))
    recipe = MixtureRecipe(duration_s=1.0, room=room, target="early", n_speakers=(0, 2))
    half = CodecRecipe(mp3_probability=0.3, opus_probability=0.3)
    parts = (WeightedRecipe(1.0, dataclasses.replace(recipe, codec=half)),)
    rooms = Rooms(RATE, {room: make_bank(room, 3, 3, RATE, 0)})
    each = Mixer(heard.speech, heard.noise, parts, DecodedAudio(RATE), rooms=rooms)
    table, count = ResponseTable(rooms, ("early",)), 12
    dry, drawn = DryDataset(count, each, table, 2), DrawnDataset(count, each, 2)
    batch = tuple(torch.stack(ones) for ones in zip(*(dry[index] for index in range(count)), strict=True))
    assert {each.draw(index).codec is None for index in range(count)} == {True, False}
    for index, (mixture, sources) in enumerate(zip(*DeviceMixer(table)(batch), strict=True)):
        expected, expected_sources, _ = drawn[index]
        gain = expected.norm() / mixture.norm()
        assert 0.8 < gain < 1.25
        torch.testing.assert_close(gain * mixture, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(gain * sources, expected_sources, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"codec": {"mp3_probability": 0.6, "opus_probability": 0.6}}, "more than 1 together"),
        ({"codec": {"opus_kbps": [6, 32]}}, "12 to 256 kbit/s"),
        ({"codec": {"mp3_kbps": [64, 320]}}, "12 to 256 kbit/s"),
        ({"codec": {"mp3_kbps": [64, 32]}}, "from low to high"),
        ({"telephone": {"band_hz": [3400, 300]}}, "from low to high"),
        ({"telephone": {"band_hz": [300, 300]}}, "nothing between its edges"),
        ({"telephone": {"probability": 2}}, "less than or equal to 1"),
        ({"same_speaker": {"probability": 0.1}}, "needs a range of speed"),
        (
            {"same_speaker": {"probability": 0.1, "speeds_apart": 0.3}, "speed": [0.9, 1.1]},
            "as wide as its speeds_apart",
        ),
    ],
)
def test_a_wrong_condition_is_explained(values, told):
    with pytest.raises(RecipeError, match=told):
        parse_settings(MixtureRecipe, values, "here.yaml")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"lower_hz": 300}, "expected a cutoff_hz above it"),
        ({"lower_hz": 300, "cutoff_hz": 300}, "expected a cutoff_hz above it"),
        ({"lower_hz": 3400, "cutoff_hz": 300}, "expected a cutoff_hz above it"),
        ({"codec": {"name": "flac", "kbps": 64}}, "'mp3' or 'opus'"),
        ({"codec": {"name": "mp3", "kbps": 1000}}, "less than or equal to 256"),
    ],
)
def test_a_wrong_plan_is_explained(values, told):
    with pytest.raises(RecipeError, match=told):
        parse_settings(Plan, {"sample_rate": RATE, "n_samples": RATE, "talkers": [], **values}, "a list")


OLD_KEYS = """
- share: 3
  recipe:
    timeline: {kind: conversation, long_pause_share: 0.1, overlap_share: 0.4, backchannel_share: 0.3}
    speed: [0.9, 1.1]
    low_pass: {talker_share: 0.1, mixture_share: 0.2}
    telephone: {share: 0.5}
    codec: {mp3_share: 0.3, opus_share: 0.4}
    same_speaker: {share: 0.6}
"""


def test_recipes_with_the_keys_of_before_are_read(tmp_path):
    new = OLD_KEYS.replace("- share", "- weight").replace("share", "probability")
    read = []
    for name, text in (("old.yaml", OLD_KEYS), ("new.yaml", new)):
        (tmp_path / name).write_text("mixtures:" + text)
        read.append(read_mixtures(tmp_path / name))
    assert read[0] == read[1]
    assert read[0][0].weight == 3
    assert read[0][0].recipe.timeline.backchannel_probability == 0.3


def test_of_the_old_key_and_the_new_one_the_last_counts():
    """Changes on the command line come last, and so do keys after those of an anchor."""
    assert parse_settings(TelephoneRecipe, {"probability": 0.1, "share": 0.2}, "").probability == 0.2
    assert parse_settings(TelephoneRecipe, {"share": 0.1, "probability": 0.2}, "").probability == 0.2


def test_a_set_made_with_the_keys_of_before_can_be_gone_on_with(corpora, tmp_path):
    parts = (WeightedRecipe(1.0, MixtureRecipe(duration_s=1.0, room=None, telephone=TELEPHONE)),)
    simulate([corpora[0]], [corpora[1]], tmp_path, parts, count=1)
    origin = tmp_path / "origin.json"
    values = json.loads(origin.read_text().replace('"weight"', '"share"').replace('probability"', 'share"'))
    del values["mixtures"][0]["recipe"]["noise_minutes_power"]  # did not exist
    origin.write_text(json.dumps(values))
    simulate([corpora[0]], [corpora[1]], tmp_path, parts, count=2)
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 2
    with pytest.raises(OutputError, match=r"holds mixtures .* with other mixtures"):
        simulate([corpora[0]], [corpora[1]], tmp_path, (dataclasses.replace(parts[0], weight=2.0),), count=2)


def test_the_page_says_band_and_codec(corpora, tmp_path):
    draw = mixer(corpora, telephone=TELEPHONE, codec=CodecRecipe(mp3_probability=1.0, mp3_kbps=(32.0, 32.0)), **DRY)
    write_preview([("heard", draw(0))], tmp_path / "preview.html", "Mixtures")
    page = (tmp_path / "preview.html").read_text(encoding="utf-8")
    assert "300 to 3400 Hz, of everything" in page
    assert "MP3, 32 kbit/s, of the mixture alone" in page


def test_speakers_are_drawn_by_a_power_of_their_minutes(corpora):
    """With a power of 2, a speaker of twice the minutes is the lone talker four times as often."""
    draw = mixer(corpora, n_speakers=1, minutes_power=2.0, **DRY)
    squares = {name: sum(one.duration_s for one in draw.speech.of(name)) ** 2 for name in draw.speech.names}
    drawn = [draw.draw(index).talkers[0].speaker for index in range(600)]
    for name, square in squares.items():
        assert drawn.count(name) / 600 == pytest.approx(square / sum(squares.values()), abs=0.07)


def test_noises_are_drawn_by_a_power_of_their_minutes(tmp_path, corpora):
    """Nine noises of 1 s and one of 9 s: each is heard as often as it is long, or all alike."""
    rng = np.random.default_rng(0)
    for number in range(10):
        noise = rng.normal(size=(1 + 8 * (number == 0)) * RATE) / 10
        soundfile.write(tmp_path / f"{number}.wav", noise, RATE)
    for power, expected in ((1.0, 0.5), (0.0, 0.1)):
        draw = mixer((corpora[0], tmp_path), n_speakers=(0, 1), noise_minutes_power=power, room=None).draw
        drawn = [draw(index).noise.recording for index in range(400)]
        assert drawn.count("0.wav") / 400 == pytest.approx(expected, abs=0.08)


def test_noises_can_be_chosen_by_their_names(corpora):
    noise = mixer(corpora).noise
    wanted = noise.names[-1]
    chosen = mixer(corpora, n_speakers=(0, 2), noise_names=wanted[:-1] + "?", room=None).draw
    keys = {recording.key for recording in noise.of(wanted)}
    assert len(noise.names) > 1
    assert {chosen(index).noise.recording for index in range(20)} <= keys
    with pytest.raises(CorpusError, match=r"no noise has a name like 'music-\*'"):
        mixer(corpora, noise_names="music-*")
