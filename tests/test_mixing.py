"""Mixtures are what was drawn: overlap, levels, rooms; and the same for the same seed."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import soundfile
from conftest import RATE
from hypothesis import given
from hypothesis import strategies as st

from unbabble.base.config import parse_settings
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import CorpusError, RecipeError
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.plan import Plan
from unbabble.mixing.recipe import Conversation, LowPassRecipe, MixtureRecipe, Overlap, RoomRecipe, WeightedRecipe
from unbabble.mixing.recipe import WholeUtterances as Whole
from unbabble.mixing.rooms import EARLY_S
from unbabble.mixing.signals import rms
from unbabble.mixing.timeline import conversation, overlap_ratio, overlapping


def mixer(corpora, seed=0, **recipe) -> Mixer:
    heard = scan_corpora([corpora[0]], [corpora[1]])
    parts = (WeightedRecipe(1.0, MixtureRecipe(**{"duration_s": 1.5, **recipe})),)
    return Mixer(heard.speech, heard.noise, parts, DecodedAudio(RATE), seed)


DRY = {"room": None, "noise_snr_db": None}


@given(st.integers(2, 100_000), st.floats(0, 1))
def test_two_utterances_fill_the_mixture_and_share_the_ratio(n_samples, ratio):
    ((first, first_end),), ((second, second_end),) = overlapping(n_samples, ratio, 2)
    length = first_end - first
    assert (first, second_end) == (0, n_samples)
    assert second_end - second == length
    assert length == pytest.approx(n_samples / (2 - ratio), abs=0.5)
    assert abs((first_end - second) - ratio * length) <= 1 + 1e-6


@given(st.integers(100, 100_000), st.floats(0, 1), st.integers(1, 5))
def test_any_number_of_utterances_fills_the_mixture(n_samples, ratio, n_speakers):
    spans = [one for (one,) in overlapping(n_samples, ratio, n_speakers)]
    assert spans[0][0] == 0
    assert spans[-1][1] == n_samples or n_speakers == 1
    assert spans == sorted(spans)


@pytest.mark.parametrize(
    ("spans", "ratio"),
    [
        ((), 0.0),
        ((((0, 10),),), 0.0),
        ((((0, 10),), ((10, 20),)), 0.0),
        ((((0, 10),), ((0, 10),)), 1.0),
        ((((0, 10),), ((5, 15),)), 0.5),
        ((((0, 10),), ((5, 10),)), 0.75),  # half of the one's speech, all of the other's
        ((((0, 10), (20, 30)), ((5, 15),)), (0.25 + 0.5) / 2),
        ((((0, 10),), ((0, 10),), ((0, 10),)), 1.0),
        ((((0, 10),), ()), 0.0),
    ],
)
def test_overlap_ratio_of_known_spans(spans, ratio):
    assert overlap_ratio(spans) == pytest.approx(ratio)


@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(1, 60),
    st.builds(
        Conversation,
        pause_s=st.sampled_from([(0.0, 0.0), (0.0, 2.0), (5.0, 60.0)]),
        overlap_probability=st.floats(0, 1),
        backchannel_probability=st.floats(0, 1),
    ),
)
def test_conversations_are_turns_of_one_talker_each(seed, n_speakers, duration_s, recipe):
    n_samples = duration_s * 100
    spans = conversation(recipe, n_samples, n_speakers, 100, np.random.default_rng(seed))
    assert len(spans) == n_speakers
    for one in spans:
        assert all(0 <= start < stop <= n_samples for start, stop in one)
        assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(one))
    assert min(span for one in spans for span in one)[0] == 0


def test_a_long_conversation_has_pauses_interruptions_and_backchannels():
    recipe = Conversation(
        turn_s=(2.0, 4.0), pause_s=(0.5, 30.0), overlap_probability=0.4, backchannel_probability=0.5
    )
    spans = conversation(recipe, 600 * 100, 2, 100, np.random.default_rng(1))
    everything = sorted(span for one in spans for span in one)
    ends = np.maximum.accumulate([stop for _, stop in everything])
    gaps = np.array([start for start, _ in everything[1:]]) - ends[:-1]
    assert gaps.max() > 1000  # a pause of more than ten seconds
    assert (gaps < 0).sum() > 5
    assert any(stop - start <= 100 for start, stop in everything)
    assert 0 < overlap_ratio(spans) < 0.5
    quiet = dataclasses.replace(recipe, overlap_probability=0.0, backchannel_probability=0.0)
    assert overlap_ratio(conversation(quiet, 600 * 100, 2, 100, np.random.default_rng(1))) == 0


def test_the_overlap_measured_is_the_one_drawn(corpora):
    draw = mixer(corpora, room=None)
    for index in range(20):
        made = draw(index)
        (first,), (second,) = ([one.stretches[0]] for one in made.plan.talkers)
        active = [np.flatnonzero(source) for source in made.dry_sources]
        assert active[0][0] == 0
        assert active[1][-1] == made.mixture.size - 1
        assert first.length >= second.length - 1
        shared = active[0][-1] + 1 - active[1][0]
        length = active[0][-1] + 1
        assert abs(shared - made.plan.overlap_ratio * length) <= 1


@pytest.mark.parametrize("ratios", [((1.0, 1.0),), ((0.0, 0.0),), ((0.1, 0.2), (0.8, 0.9))])
def test_overlap_stays_in_its_ranges(corpora, ratios):
    draw = mixer(corpora, timeline=Overlap(ratios=ratios), **DRY)
    drawn = [draw.draw(index).overlap_ratio for index in range(20)]
    in_range = [[low - 1e-3 <= one <= high + 1e-3 for low, high in ratios] for one in drawn]
    assert all(any(one) for one in in_range)
    assert all(np.any(in_range, axis=0))


@pytest.mark.parametrize("length", ["min", "max"])
def test_whole_utterances_are_cut_to_the_shortest_or_kept_to_the_longest(corpora, length):
    draw = mixer(corpora, duration_s=None, timeline=Whole(length=length), **DRY)
    seen = set()
    for index in range(12):
        made = draw(index)
        lengths = [RATE * (2 + "abc".index(talker.speaker[0])) for talker in made.plan.talkers]  # as conftest says
        assert made.mixture.size == (min if length == "min" else max)(lengths)
        assert all(talker.stretches[0].start == talker.stretches[0].at == 0 for talker in made.plan.talkers)
        seen.add(made.mixture.size)
    assert len(seen) > 1


@pytest.mark.parametrize("duration_s", [0.5, 6.0])
def test_whole_utterances_can_be_cut_to_excerpts_of_one_length(corpora, duration_s):
    draw = mixer(corpora, duration_s=duration_s, timeline=Whole(length="max"), speed=(0.9, 1.1), **DRY)
    assert {draw(index).mixture.size for index in range(8)} == {round(duration_s * RATE)}


@pytest.mark.parametrize("room", [None, RoomRecipe()])
def test_level_and_snr_before_the_room_are_those_drawn(corpora, room):
    draw = mixer(corpora, seed=5, room=room)
    for index in range(5):
        made = draw(index)
        ((first, first_end),), ((second, second_end),) = made.plan.spans
        spoken = rms(made.dry_sources[0][first:first_end]), rms(made.dry_sources[1][second:second_end])
        level_db, snr_db = made.plan.talkers[1].level_db, made.plan.noise.snr_db
        assert 20 * math.log10(spoken[1] / spoken[0]) == pytest.approx(level_db, abs=0.1)
        measured = 20 * math.log10(rms(made.dry_sources.sum(0)) / rms(made.dry_noise))
        assert measured == pytest.approx(snr_db, abs=0.1)
        assert 0 <= level_db <= 5
        assert 10 <= snr_db <= 20


def test_the_mixture_is_the_sum_of_its_parts(corpora):
    made = mixer(corpora)(0)
    np.testing.assert_allclose(made.mixture, made.sources.sum(0) + made.noise, atol=1e-6)
    assert max(np.abs(made.mixture).max(), np.abs(made.sources).max()) == pytest.approx(0.9, abs=1e-3)
    assert rms(made.noise) > 0


def test_a_seed_defines_each_mixture_by_itself(corpora):
    once, again, other = mixer(corpora, seed=1), mixer(corpora, seed=1), mixer(corpora, seed=2)
    for index in range(3):
        once(index)
    np.testing.assert_array_equal(once(3).mixture, again(3).mixture)
    assert not np.array_equal(again(3).mixture, other(3).mixture)
    assert not np.array_equal(again(3).mixture, again(4).mixture)


def test_talkers_of_a_mixture_differ_and_short_files_are_joined(corpora):
    draw = mixer(corpora, duration_s=20.0, room=None)  # longer than any file
    for index in range(10):
        one, other = draw(index).plan.talkers
        assert one.speaker != other.speaker
        assert len(one.stretches) > 1
        ends = [stretch.at + stretch.length for stretch in one.stretches]
        assert [stretch.at for stretch in one.stretches[1:]] == ends[:-1]


@pytest.mark.parametrize(("n_speakers", "counts"), [(0, {0}), (1, {1}), (3, {3}), ((0, 3), {0, 1, 2, 3})])
def test_any_number_of_talkers(corpora, n_speakers, counts):
    made = [mixer(corpora, n_speakers=n_speakers, room=None)(index) for index in range(20)]
    assert {len(one.sources) for one in made} == counts
    for nobody in (one for one in made if one.plan.talkers == ()):
        assert rms(nobody.mixture) > 0
        assert np.array_equal(nobody.mixture, nobody.noise)


def test_speed_changes_the_length_of_what_is_heard(tmp_path):
    for speaker, hertz in (("low", 500), ("high", 2000)):
        (tmp_path / speaker).mkdir()
        wave = 0.1 * np.sin(2 * np.pi * hertz * np.arange(8 * RATE) / RATE)
        soundfile.write(tmp_path / speaker / "0.wav", wave, RATE)
    heard = scan_corpora([tmp_path], [])
    recipe = MixtureRecipe(duration_s=2.0, timeline=Overlap(ratios=((1.0, 1.0),)), speed=(0.9, 1.1), **DRY)
    made = Mixer(heard.speech, None, (WeightedRecipe(1.0, recipe),), DecodedAudio(RATE))(0)
    for talker, source in zip(made.plan.talkers, made.sources, strict=True):
        assert talker.speed != 1
        heard_hz = np.argmax(np.abs(np.fft.rfft(source * np.hanning(source.size)))) / 2.0
        assert heard_hz == pytest.approx({"low": 500, "high": 2000}[talker.speaker] * talker.speed, abs=1)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_mixtures_come_at_the_rate_asked_for_whatever_the_files_have(tmp_path, rate):
    rng = np.random.default_rng(0)
    for speaker, file_rate in (("ann", 44100), ("bob", 22050)):
        (tmp_path / speaker).mkdir()
        soundfile.write(tmp_path / speaker / "0.wav", 0.1 * rng.standard_normal((3 * file_rate, 2)), file_rate)
    heard = scan_corpora([tmp_path], [])
    recipe = MixtureRecipe(sample_rate=rate, duration_s=1.0, **DRY)
    made = Mixer(heard.speech, None, (WeightedRecipe(1.0, recipe),), DecodedAudio(rate))(0)
    assert made.sources.shape == (2, rate)
    assert (made.plan.sample_rate, made.plan.n_samples) == (rate, rate)


def test_low_pass_removes_what_lies_above(corpora):
    low_pass = LowPassRecipe(talker_probability=1.0, cutoff_hz=(2000.0, 2000.0))
    spectrum = np.abs(np.fft.rfft(mixer(corpora, low_pass=low_pass, **DRY)(0).mixture))
    hertz = np.fft.rfftfreq(int(1.5 * RATE), 1 / RATE)
    assert spectrum[hertz > 2600].max() < 0.02 * spectrum[hertz < 1800].max()


def test_targets_of_less_than_the_whole_room(corpora):
    """The same mixture; less and less of its reverberation in the sources."""
    made = {kind: mixer(corpora, target=kind)(3) for kind in ("reverberant", "early", "direct")}
    for one in made.values():
        np.testing.assert_array_equal(one.mixture, made["reverberant"].mixture)
    energy = {kind: float((one.sources**2).sum()) for kind, one in made.items()}
    assert 0 < energy["direct"] < energy["early"] < energy["reverberant"]
    room = made["direct"].plan.room
    delay = math.dist(room.sources_m[0], room.microphone_m) / 343 * RATE  # samples
    direct, dry = made["direct"].sources[0], made["direct"].dry_sources[0]
    turn = np.exp(-2j * np.pi * delay * np.fft.rfftfreq(2 * dry.size))
    delayed = np.fft.irfft(np.fft.rfft(dry, 2 * dry.size) * turn)[: dry.size]
    assert np.corrcoef(direct, delayed)[0, 1] > 0.95  # nothing but the delayed dry signal
    late = made["reverberant"].sources - made["early"].sources
    first_late = np.flatnonzero(np.abs(late[0]) > 1e-6)[0]
    assert first_late >= delay + EARLY_S * RATE - 45


def test_a_plan_renders_to_the_same_sound_again(corpora):
    draw = mixer(corpora, speed=(0.9, 1.1))
    made = draw(7)
    from unbabble.base.config import dump_settings

    again = parse_settings(Plan, dump_settings(made.plan), "here")
    assert again == made.plan
    np.testing.assert_array_equal(draw.render(again).mixture, made.mixture)


def test_a_recording_that_got_shorter_is_told(corpora):
    draw = mixer(corpora)
    plan = draw.draw(0)
    stretch = dataclasses.replace(plan.talkers[0].stretches[0], start=10_000_000)
    longer = dataclasses.replace(plan, talkers=(dataclasses.replace(plan.talkers[0], stretches=(stretch,)),))
    with pytest.raises(CorpusError, match="but the mixture is made of samples 10000000"):
        draw.render(longer)


def test_a_corpus_that_cannot_serve_is_refused(corpora):
    audio, paper = DecodedAudio(RATE), (WeightedRecipe(1.0, MixtureRecipe()),)
    heard = scan_corpora([corpora[0]], [corpora[1]])
    with pytest.raises(CorpusError, match="need 2 speakers, but there is only ann"):
        Mixer(heard.speech.only(["ann"]), None, paper, audio)
    for noise in (None, heard.noise.only([])):
        with pytest.raises(CorpusError, match="asks for noise"):
            Mixer(heard.speech, noise, paper, audio)


def test_parts_of_the_mixtures_can_join_later(corpora):
    clean = MixtureRecipe(duration_s=1.0, **DRY)
    noisy = MixtureRecipe(duration_s=1.0, room=None)
    heard = scan_corpora([corpora[0]], [corpora[1]])
    parts = (WeightedRecipe(1.0, clean), WeightedRecipe(9.0, noisy, first=20))
    draw = Mixer(heard.speech, heard.noise, parts, DecodedAudio(RATE)).draw
    noises = [draw(index).noise is not None for index in range(40)]
    assert not any(noises[:20])
    assert any(noises[20:])


def test_a_silent_speaker_is_named(tmp_path):
    for speaker in ("mute", "still"):
        (tmp_path / speaker).mkdir()
        soundfile.write(tmp_path / speaker / "0.wav", np.zeros(RATE), RATE)
    parts = (WeightedRecipe(1.0, MixtureRecipe(**DRY)),)
    with pytest.raises(CorpusError, match="only silence"):
        Mixer(scan_corpora([tmp_path], []).speech, None, parts, DecodedAudio(RATE))(0)


def test_a_speaker_with_one_short_file_is_heard_all_the_time(tmp_path, corpora):
    for speaker in ("brief", "short"):
        (tmp_path / speaker).mkdir()
        soundfile.write(tmp_path / speaker / "0.wav", 0.1 * np.random.default_rng(0).standard_normal(1000), RATE)
    heard = scan_corpora([tmp_path], [corpora[1]])
    parts = (WeightedRecipe(1.0, MixtureRecipe(duration_s=1.0, timeline=Overlap(ratios=((1.0, 1.0),)), room=None)),)
    made = Mixer(heard.speech, heard.noise, parts, DecodedAudio(RATE))(0)
    assert (np.abs(made.dry_sources).reshape(2, -1, 500).max(-1) > 0).all()


def test_a_noise_shorter_than_the_mixture_is_repeated(tmp_path, corpora):
    soundfile.write(tmp_path / "tick.wav", 0.1 * np.random.default_rng(0).standard_normal(2000), RATE)
    heard = scan_corpora([corpora[0]], [tmp_path])
    parts = (WeightedRecipe(1.0, MixtureRecipe(duration_s=1.0, room=None)),)
    noise = Mixer(heard.speech, heard.noise, parts, DecodedAudio(RATE))(0).noise
    np.testing.assert_allclose(noise[:2000], noise[2000:4000], atol=1e-6)
    assert rms(noise[-2000:]) > 0


@pytest.mark.parametrize("kept", [{}, {"folder": "cache"}, {"keep": 1}])
def test_decoded_audio_is_the_same_however_it_is_kept(corpora, tmp_path, kept):
    kept = {name: tmp_path / value if name == "folder" else value for name, value in kept.items()}
    audio, speech = DecodedAudio(RATE, **kept), scan_corpora([corpora[0]], []).speech
    audio.load(speech)
    for recording in speech.recordings:
        true, _ = soundfile.read(recording.path, dtype="float32")
        assert audio.length(recording.path) == true.size
        np.testing.assert_allclose(audio.read(recording.path), true, atol=1e-4)
        np.testing.assert_allclose(audio.read(recording.path, 100, 50), true[100:150], atol=1e-4)
        assert audio.read(recording.path, true.size - 5, 50).size == 5


def test_an_excerpt_is_read_once_for_drawing_and_rendering(corpora, monkeypatch):
    made_of, samples = mixer(corpora, noise_snr_db=(10, 20), room=None), DecodedAudio._samples
    opened = []
    monkeypatch.setattr(DecodedAudio, "length", lambda audio, path: int(samples(audio, path).size))
    monkeypatch.setattr(DecodedAudio, "_samples", lambda audio, path: opened.append(path) or samples(audio, path))
    plan = made_of(0).plan
    assert len(opened) == sum(len(talker.stretches) for talker in plan.talkers) + 1


def test_a_changed_recording_is_decoded_again(tmp_path):
    path, audio = tmp_path / "a.wav", DecodedAudio(RATE, tmp_path / "cache")
    soundfile.write(path, np.full(1000, 0.5), RATE)
    assert audio.length(path) == 1000
    soundfile.write(path, np.full(2000, 0.25), RATE)
    assert DecodedAudio(RATE, tmp_path / "cache").length(path) == 2000


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"timeline": {"kind": "overlap", "ratios": [[0.8, 0.2]]}}, "from low to high"),
        ({"timeline": {"kind": "overlap", "ratios": [[0, 1.5]]}}, "less than or equal to 1"),
        ({"timeline": {"kind": "overlap", "ratios": []}}, "ratios is empty"),
        ({"timeline": {"kind": "chaos"}}, "timeline"),
        ({"timeline": {"kind": "conversation", "pause_s": [-1, 2]}}, "a pause is not negative"),
        ({"durations": 3}, "durations is not a key that anything reads"),
        ({"duration_s": 0.001}, "greater than or equal to 0.025"),
        ({"level_db": [0, float("inf")]}, "finite"),
        ({"duration_s": None}, "for timelines of whole utterances only"),
        ({"n_speakers": -1}, "greater than or equal to 0"),
        ({"n_speakers": 0, "noise_snr_db": None}, "needs noise"),
        ({"n_speakers": [3, 2]}, "from low to high"),
        ({"n_speakers": [0, 2], "noise_snr_db": None}, "needs noise"),
        ({"speed": [1.1, 0.9]}, "from low to high"),
        ({"speed": [0, 1]}, "greater than 0"),
        ({"level_db": []}, "level_db"),
        ({"sample_rate": 100}, "greater than or equal to 8000"),
        ({"room": {"height_m": [0.5, 3.0]}}, "leaves no place"),
        ({"room": {"apart_m": 5.0}}, "apart_m is more than half"),
        ({"target": "wet"}, "target"),
    ],
)
def test_a_wrong_recipe_is_explained(values, told):
    with pytest.raises(RecipeError, match=told):
        parse_settings(MixtureRecipe, values, "here.yaml")
