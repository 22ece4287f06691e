"""Who talks when, and tracks that keep their talkers: talkers here are tones, which a diarizer of its own knows."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO
from hypothesis import given
from hypothesis import strategies as st

from unbabble import Separator
from unbabble.inference.windows import Known, SeparatedWindows, WindowJoiner
from unbabble.tracking import people
from unbabble.tracking.activity import FRAME_S, Turn, smooth, turns_of
from unbabble.tracking.parameters import Parameters
from unbabble.tracking.people import Bounds, KnownPeople, Pieces, agglomerated, find_people, pieces_of
from unbabble.tracking.stitch import Stitcher, WindowFrames, mix, observe, spread
from unbabble.tracking.viterbi import Observations, averaged, decode, n_states, states_of, unit, viterbi

FRAME = round(FRAME_S * RATE)
TONES_HZ = (300.0, 1000.0, 2500.0, 4000.0, 5500.0, 7000.0)
PARAMETERS = Parameters()


class ToneDiarizer:
    """Finds the tones in each frame: so many talk, and each embedding is an axis."""

    sample_rate, embedding_size, parameters = RATE, len(TONES_HZ), PARAMETERS

    def __call__(self, signals, sample_rate):
        n_frames = -(-signals.shape[1] // FRAME)
        padded = np.pad(signals, ((0, 0), (0, n_frames * FRAME - signals.shape[1])))
        frames = padded.reshape(len(signals), n_frames, FRAME)
        time = np.arange(FRAME) / sample_rate
        waves = np.exp(-2j * np.pi * np.outer(TONES_HZ, time))
        strength = np.abs(frames @ waves.T) / FRAME  # (signals, frames, tones)
        counts = np.full((len(signals), n_frames, 3), -5.0, np.float32)
        n_tones = np.minimum((strength > 0.01).sum(-1), 2)
        np.put_along_axis(counts, n_tones[..., None], -0.01, axis=-1)
        return counts, strength.astype(np.float32)


def talker(number, spans_s, length_s):
    """A tone that sounds in the spans."""
    time = np.arange(round(length_s * RATE)) / RATE
    sounds = np.zeros(time.size, np.float32)
    for start, stop in spans_s:
        sounds[round(start * RATE) : round(stop * RATE)] = 0.3
    return (sounds * np.sin(2 * np.pi * TONES_HZ[number] * time)).astype(np.float32)


def stitched(mixture, estimate, speakers="auto", window_s=4.0, overlap_s=1.0):
    """Tracks of a mixture whose windows are estimated by ``estimate(start, stop)``, and turns, with hindsight."""
    window, overlap = round(window_s * RATE), round(overlap_s * RATE)
    frames, starts = WindowFrames(RATE, window, overlap), itertools.count(0, window - overlap)

    def separate(piece):
        start = next(starts)
        return Known(estimate(start, start + piece.shape[1])[np.newaxis])

    through = SeparatedWindows(window, overlap, RATE, separate)
    windows = [*through.push(mixture[np.newaxis]), *through.finish()]
    seen = [observe(one.mixture, one.estimates, RATE, ToneDiarizer()) for one in windows]
    pieces = [pieces_of(one, frames.unheard(number), PARAMETERS) for number, one in enumerate(seen)]
    found = find_people(Pieces.joined(pieces, len(TONES_HZ)), Bounds.of(speakers), PARAMETERS)
    stitcher, joiner = Stitcher(frames, PARAMETERS), WindowJoiner(overlap)
    blocks = [
        joiner.push(stitcher.push(one.mixture, one.estimates, of_one, found))
        for one, of_one in zip(windows, seen, strict=True)
    ]
    return np.concatenate([*blocks, joiner.finish()], axis=1), stitcher.turns(mixture.size / RATE)


def loss(track, source):
    return float(np.square(track - source).sum() / np.square(source).sum())


def in_any_order(sources, seed=0):
    rng = np.random.default_rng(seed)
    return lambda start, stop: sources[rng.permutation(len(sources)), start:stop]


@pytest.mark.parametrize("seed", range(4))
def test_talkers_keep_their_tracks_through_pauses_longer_than_windows(seed):
    length_s = 60.0
    sources = np.stack(
        [
            talker(0, [(0, 3), (5, 6), (20, 23), (40, 41.5), (55, 57)], length_s),
            talker(1, [(2.5, 5), (38, 40.2), (56, 59)], length_s),
        ]
    )
    tracks, turns = stitched(sources.sum(0), in_any_order(sources, seed))
    assert max(loss(track, source) for track, source in zip(tracks, sources, strict=True)) < 0.01
    starts = [[turn.start_s for turn in turns if turn.speaker == number] for number in (0, 1)]
    np.testing.assert_allclose(starts[0], [0, 5, 20, 40, 55], atol=0.1)
    np.testing.assert_allclose(starts[1], [2.5, 38, 56], atol=0.1)


@pytest.mark.parametrize(("n_people", "n_outputs"), [(3, 2), (6, 2), (3, 3), (4, 3)])
def test_everybody_has_a_track_however_many_the_network_can_tell_apart(n_people, n_outputs):
    """Turns of 2.5 s that overlap by half a second; each is on any output that is free."""
    rng, n_turns = np.random.default_rng(n_people), 5 * n_people
    spans = [
        [(2.0 * turn, 2.0 * turn + 2.5) for turn in range(n_turns) if turn % n_people == n] for n in range(n_people)
    ]
    length_s = 2.0 * n_turns + 1
    sources = np.stack([talker(number, one, length_s) for number, one in enumerate(spans)])

    def estimate(start, stop):
        outputs = np.zeros((n_outputs, stop - start), np.float32)
        order = rng.permutation(n_outputs)
        for turn in range(n_turns):
            here = slice(max(0, round(2.0 * turn * RATE) - start), max(0, round((2.0 * turn + 2.5) * RATE) - start))
            outputs[order[turn % n_outputs], here] += sources[turn % n_people, start:stop][here]
        return outputs

    tracks, turns = stitched(sources.sum(0), estimate)
    assert len(tracks) == n_people
    assert max(loss(track, source) for track, source in zip(tracks, sources, strict=True)) < 0.01
    assert [turn.speaker for turn in turns] == [turn % n_people for turn in range(n_turns)]


def test_three_who_talk_at_once_are_on_three_tracks():
    sources = np.stack([talker(number, [(number, 8.0 - number)], 9.0) for number in range(3)])
    tracks, _ = stitched(sources.sum(0), in_any_order(sources))
    assert max(loss(track, source) for track, source in zip(tracks, sources, strict=True)) < 0.01


def test_people_who_never_talk_alone_are_told_apart_by_the_estimates():
    sources = np.stack([talker(number, [(0.5, 3.5)], 4.0) for number in range(2)])
    tracks, _ = stitched(sources.sum(0), in_any_order(sources))
    losses = [[loss(track, source) for track in tracks] for source in sources]
    assert np.max(np.min(losses, axis=1)) < 0.01
    assert {int(one) for one in np.argmin(losses, axis=1)} == {0, 1}


def test_one_talker_is_on_one_track_however_the_network_shares_them_out():
    source = talker(1, [(1, 9), (12, 19)], 20.0)
    rng = np.random.default_rng(0)

    def torn(start, stop):
        first = np.repeat(rng.random(-(-(stop - start) // FRAME)) < 0.5, FRAME)[: stop - start]
        return np.stack([source[start:stop] * first, source[start:stop] * ~first])

    tracks, turns = stitched(source, torn)
    assert len(tracks) == 1
    np.testing.assert_allclose(tracks[0], source, atol=1e-6)
    assert {turn.speaker for turn in turns} == {0}


def test_nobody_is_silence():
    noise = 0.001 * np.random.default_rng(0).standard_normal(10 * RATE).astype(np.float32)
    tracks, turns = stitched(noise, lambda start, stop: np.stack([noise[start:stop], -noise[start:stop]]))
    assert tracks.shape == (0, noise.size)
    assert turns == ()


def test_one_track_has_everybody():
    sources = np.stack([talker(0, [(0, 3)], 8.0), talker(1, [(2, 6)], 8.0)])
    mixture = sources.sum(0)
    tracks, _ = stitched(mixture, lambda start, stop: mixture[np.newaxis, start:stop], speakers=1)
    np.testing.assert_allclose(tracks[0, : 6 * RATE], mixture[: 6 * RATE], atol=1e-6)


def voices(axes, n_frames=25, spread=0.2, seed=0, size=16):
    """Pieces of a second, each of the voice along an axis, somewhat blurred."""
    rng = np.random.default_rng(seed)
    vectors = np.eye(size)[axes] + spread * rng.standard_normal((len(axes), size))
    return Pieces(unit(vectors), np.full(len(axes), float(n_frames)), np.full(len(axes), -1))


@pytest.mark.parametrize("n_people", [1, 2, 5, 10])
def test_as_many_people_are_found_as_talk(n_people):
    axes = np.random.default_rng(n_people).permutation(np.repeat(np.arange(n_people), 12))
    found = find_people(voices(axes), Bounds.of("auto"), PARAMETERS)
    first = [int(axis) for axis in dict.fromkeys(axes.tolist())]
    assert (found @ np.eye(16)).argmax(1).tolist() == first


def test_people_are_as_many_as_the_bounds_allow():
    pieces = voices([0] * 20 + [1] * 20 + [2] * 20)
    for speakers, n_found in (("auto", 3), (2, 2), (3, 3), (5, 5), ("4-6", 4), ("1-2", 2), ((2, 6), 3)):
        assert len(find_people(pieces, Bounds.of(speakers), PARAMETERS)) == n_found
    nobody = find_people(voices([]), Bounds.of(3), PARAMETERS)
    assert nobody.shape == (0, 16)


def test_whoever_is_left_with_too_little_speech_is_nobody(monkeypatch):
    monkeypatch.setattr(people, "_clustered", lambda *_: np.eye(16, dtype=np.float32)[:3])
    found = find_people(voices([0] * 30 + [1] * 10 + [2]), Bounds.of("auto"), PARAMETERS)
    assert (found @ np.eye(16)).argmax(1).tolist() == [0, 1]


def test_a_cough_is_no_person_and_a_lone_word_is():
    pieces = voices([0] * 40 + [1])
    assert len(find_people(pieces, Bounds.of("auto"), PARAMETERS)) == 1
    assert len(find_people(voices([1], n_frames=13), Bounds.of("auto"), PARAMETERS)) == 1


def test_words_too_short_to_be_told_apart_make_no_person():
    words = voices([1] * 12, n_frames=6)
    pieces = Pieces.joined([voices([0] * 12), words], 16)
    assert len(find_people(pieces, Bounds.of("auto"), PARAMETERS)) == 1
    assert len(find_people(words, Bounds.of("auto"), PARAMETERS)) == 1


def test_a_monologue_is_cut_into_pieces():
    counts = np.log(np.tile([0.01, 0.98, 0.01], (250, 1)))
    seen = Observations(counts, np.ones((3, 250, 4), np.float32), np.zeros((2, 250), np.float32))
    lengths_s = pieces_of(seen, slice(None), PARAMETERS).frames * FRAME_S
    assert lengths_s.sum() == pytest.approx(10)
    assert 0.8 < lengths_s.min() <= lengths_s.max() < 2.5


def test_ten_hours_of_pieces_are_clustered_stretch_by_stretch():
    axes = np.random.default_rng(0).integers(0, 6, 20_000)
    found = find_people(voices(axes), Bounds.of("auto"), PARAMETERS)
    assert len(found) == 6
    assert sorted((found @ np.eye(16)).argmax(1)) == list(range(6))


def test_estimates_of_one_moment_are_two_people():
    pieces = voices([0, 0, 0, 0], spread=0.05)
    assert len(set(agglomerated(pieces, PARAMETERS))) == 1
    for moments in ([0, 0, 1, 1], [-1, -1, 0, 0], [-1, 0, 0, -1]):  # whomever they are joined with first
        labels = agglomerated(Pieces(pieces.vectors, pieces.frames, np.array(moments)), PARAMETERS)
        assert len(set(labels)) == 2
        assert all(
            labels[one] != labels[other]
            for one, other in itertools.combinations(range(4), 2)
            if moments[one] == moments[other] >= 0
        )


@pytest.mark.parametrize(("n_moments", "n_alone", "n_people"), [(3, 0, 2), (3, 6, 2), (3, 30, 1), (0, 9, 1)])
def test_who_talk_at_once_for_long_are_two_however_alike_they_sound(n_moments, n_alone, n_people):
    """But where that is little of the speech, it is an echo."""
    together = Pieces.joined(
        [replace(voices([0, 0], spread=0.05, seed=n), moments=np.zeros(2, np.intp)) for n in range(n_moments)], 16
    )
    pieces = Pieces.joined([together, voices([0] * n_alone, spread=0.05)], 16)
    assert pieces.together_s == n_moments
    assert len(find_people(pieces, Bounds.of("auto"), PARAMETERS)) == n_people
    assert len(find_people(pieces, Bounds.of(1), PARAMETERS)) == 1


def test_pieces_of_one_moment_stay_those_of_one_when_windows_are_joined():
    both = Pieces(np.eye(2, dtype=np.float32), np.ones(2), np.array([0, 0]))
    alone = Pieces(np.eye(2, dtype=np.float32)[:1], np.ones(1), np.array([-1]))
    assert Pieces.joined([both, alone, both], 2).moments.tolist() == [0, 0, -1, 1, 1]


def test_the_numbers_of_people_stay_as_more_are_heard():
    known, seen = KnownPeople(10, PARAMETERS, 16), []
    for window, axes in enumerate(([3] * 10, [1] * 10 + [3] * 3, [0] * 10, [1] * 5 + [2] * 8, [0, 1, 2, 3] * 4)):
        known.hear(voices(axes, seed=window))
        seen.append((known.embeddings @ np.eye(16)).argmax(1).tolist())
    assert seen == [[3], [3, 1], [3, 1, 0], [3, 1, 0, 2], [3, 1, 0, 2]]


def test_a_stream_knows_no_more_people_than_it_may_and_forgets_nobody():
    known = KnownPeople(2, PARAMETERS, 16)
    for window in range(100):
        known.hear(voices([window % 3] * 12, seed=window))
    assert known.embeddings.shape == (2, 16)


@pytest.mark.parametrize(
    ("speakers", "bounds"), [("auto", (0, 10)), (3, (3, 3)), ("3", (3, 3)), ("2-6", (2, 6)), ((1, 10), (1, 10))]
)
def test_numbers_of_speakers(speakers, bounds):
    found = Bounds.of(speakers)
    assert (found.least, found.most) == bounds


@pytest.mark.parametrize(
    "speakers",
    [0, 11, 20, -1, "many", "", "2-", "-2", "6-2", "1-20", "2-6-8", 2.0, True, None, (2, 3, 4), [2, 6], "auto-3"],
)
def test_numbers_of_speakers_that_cannot_be_are_refused(speakers):
    with pytest.raises(ValueError, match=r"speakers .*(is not auto, a number, or two|expected 1 to 10)"):
        Bounds.of(speakers)


@pytest.mark.parametrize(("n_people", "n_estimates"), [(0, 2), (1, 1), (2, 2), (10, 2), (4, 3), (3, 4)])
def test_states_are_all_ways_to_put_people_on_estimates(n_people, n_estimates):
    owners = states_of(n_people, n_estimates).owners
    ways = itertools.product(range(-1, n_people), repeat=n_estimates)
    expected = {way for way in ways if len({*way} - {-1}) == sum(one >= 0 for one in way)}
    assert len(owners) == n_states(n_people, n_estimates) == len(expected)
    assert {tuple(row) for row in owners.tolist()} == expected


def test_transitions_cost_what_changes():
    states = states_of(3, 2)
    costs = states.costs(Parameters(begin=1.0, relay=10.0, swap=100.0))

    def cost(before, after):
        where = [states.owners.tolist().index(list(one)) for one in (before, after)]
        return costs[where[0], where[1]]

    nobody = -1
    for before, after, expected in (
        ((nobody, nobody), (nobody, nobody), 0),
        ((nobody, nobody), (1, nobody), 1),
        ((1, nobody), (1, 2), 1),
        ((1, nobody), (2, 1), 101),
        ((1, nobody), (nobody, 1), 100),
        ((1, nobody), (2, nobody), 10),
        ((1, nobody), (0, 2), 11),
        ((0, 1), (1, 0), 100),
        ((0, 1), (0, 2), 10),
        ((0, 1), (nobody, nobody), 1),
    ):
        assert cost(before, after) == cost(after, before) == expected


def test_of_too_many_people_those_are_considered_who_are_there():
    """Four outputs and ten people have 6000 states and more."""
    counts = np.log(np.tile([0.01, 0.98, 0.01], (50, 1))).astype(np.float32)
    embeddings = np.zeros((5, 50, 10), np.float32)
    embeddings[:, :25, 7] = embeddings[:, 25:, 9] = 1
    owners = decode(
        Observations(counts, embeddings, np.zeros((4, 50), np.float32)), np.eye(10, dtype=np.float32), PARAMETERS
    )
    assert owners[:25].max(1).tolist() == [7] * 25
    assert owners[25:].max(1).tolist() == [9] * 25


@pytest.mark.parametrize("values", [{"nonesuch": 1.0}, {"relay": "much"}, {"relay": float("nan")}, {"relay": True}])
def test_parameters_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match=r"is none of|expected a number"):
        Parameters.of(values)
    assert Parameters.of({"relay": 4}) == Parameters(relay=4)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
def test_the_viterbi_path_is_the_best_of_all_paths(n_frames, n_states, seed):
    rng = np.random.default_rng(seed)
    scores, costs = rng.standard_normal((n_frames, n_states)), rng.random((n_states, n_states))

    def score(path):
        changes = sum(costs[first, second] for first, second in itertools.pairwise(path))
        return sum(scores[frame, state] for frame, state in enumerate(path)) - changes

    best = max(map(score, itertools.product(range(n_states), repeat=n_frames)))
    assert score(viterbi(scores, costs)) == pytest.approx(best)


def test_embeddings_are_averaged_over_the_speech_around_them():
    embeddings, speech = np.eye(2, dtype=np.float32)[[0] * 50 + [1] * 50], np.ones(100, bool)
    speech[40:60] = False
    found = averaged(embeddings, speech, around_s=0.4)
    np.testing.assert_allclose(found[:30], embeddings[:30], atol=1e-6)
    assert not found[40:60].any()
    np.testing.assert_allclose(np.linalg.norm(found[60:], axis=1), 1, atol=1e-6)
    mixed = averaged(embeddings, np.ones(100, bool), around_s=0.4)[50]
    assert mixed[0] / mixed[1] == pytest.approx(10 / 11)


def test_turns_state_their_overlap_ratio():
    talking = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0]], bool)
    assert turns_of(talking) == (
        Turn(0, 0.0, 4 * FRAME_S, 0.5),
        Turn(1, 2 * FRAME_S, 5 * FRAME_S, pytest.approx(2 / 3)),
    )


def test_short_gaps_are_filled_and_clicks_left_out():
    frames = np.array([0] * 20 + [1] * 10 + [0] * 3 + [1] * 10 + [0] * 20 + [1] + [0] * 10, bool)
    expected = np.array([0] * 20 + [1] * 23 + [0] * 31, bool)
    assert smooth(frames).tolist() == expected.tolist()


def test_weights_fade_and_edges_are_kept():
    weights = np.array([[[0.0, 1.0, 1.0]]], np.float32)
    mixed = mix(weights, np.ones((1, 30), np.float32), 10)
    assert (np.diff(mixed[0]) >= 0).all()
    np.testing.assert_allclose(mixed[0, 20:], 1)
    owners = np.array([-1, -1, -1, 0, -1, -1, -1, 1])
    assert spread(owners[:, np.newaxis])[:, 0].tolist() == [-1, 0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("voice", ["af_sarah", "am_eric"])
def test_the_bundled_model_leaves_a_lone_voice_alone(voice):
    samples, rate = soundfile.read(REPO / "examples" / "voices" / voice / "two-talkers.flac", dtype="float32")
    stream = Separator().stream(rate)
    tracks = np.concatenate([stream.push(samples), stream.finish()], axis=1)
    assert stream.active_speakers == (0,)
    assert loss(tracks[0], samples) < 0.01
    assert not tracks[1].any()


@pytest.mark.parametrize(("below_db", "is_estimate"), [(-30.0, True), (-10.0, False)])
def test_who_talks_alone_is_the_mixture_unless_an_estimate_plainly_has_all_of_them(below_db, is_estimate):
    source, hiss = talker(0, [(0, 4)], 4.0), 1e-3 * np.random.default_rng(0).standard_normal(4 * RATE)
    mixture = (source + hiss).astype(np.float32)
    tracks, _ = stitched(
        mixture, lambda start, stop: np.stack([source, 10 ** (below_db / 20) * source])[:, start:stop]
    )
    np.testing.assert_allclose(tracks[0], source if is_estimate else mixture, atol=1e-6)
