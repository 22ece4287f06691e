"""Who talks when, and tracks that keep their talkers: talkers here are tones, which a diarizer of its own knows."""

import itertools

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO
from hypothesis import given
from hypothesis import strategies as st

from unbabble import Separator
from unbabble.inference.windows import Known, LongSeparation
from unbabble.tracking.activity import FRAME_S, Turn, smooth, turns_of
from unbabble.tracking.embeddings import Talkers, averaged, unit
from unbabble.tracking.stitch import Stitcher, fraction_apart, mix, spread
from unbabble.tracking.viterbi import viterbi

FRAME = round(FRAME_S * RATE)
TONES_HZ = (300.0, 1000.0, 2500.0)


class ToneDiarizer:
    """Finds the tones in each frame: so many talk, and each embedding is an axis."""

    sample_rate, embedding_size = RATE, len(TONES_HZ)

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


def stitched(mixture, estimate, n_tracks=2, window_s=4.0, overlap_s=1.0):
    """Tracks of a mixture whose windows are estimated by ``estimate(start, stop)``, and the stitcher."""
    window, overlap = round(window_s * RATE), round(overlap_s * RATE)
    stitcher = Stitcher(n_tracks, RATE, overlap, ToneDiarizer())
    starts = itertools.count(0, window - overlap)

    def separate(piece):
        start = next(starts)
        return Known(estimate(start, start + piece.shape[1])[np.newaxis])

    separation = LongSeparation(window, overlap, RATE, separate, stitcher, n_tracks)
    return np.concatenate([separation.push(mixture[np.newaxis]), separation.finish()], axis=1), stitcher


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
    tracks, stitcher = stitched(sources.sum(0), in_any_order(sources, seed))
    assert max(loss(track, source) for track, source in zip(tracks, sources, strict=True)) < 0.01
    starts = [[turn.start_s for turn in stitcher.turns if turn.speaker == number] for number in (0, 1)]
    np.testing.assert_allclose(starts[0], [0, 5, 20, 40, 55], atol=0.1)
    np.testing.assert_allclose(starts[1], [2.5, 38, 56], atol=0.1)


def test_three_talkers_keep_three_tracks():
    spans = [[(0, 3), (12, 15)], [(2, 5), (20, 24)], [(6, 10), (14, 17), (23, 26)]]
    sources = np.stack([talker(number, one, 28.0) for number, one in enumerate(spans)])
    tracks, _ = stitched(sources.sum(0), in_any_order(sources), n_tracks=3)
    best = min(
        max(loss(tracks[track], source) for track, source in zip(permutation, sources, strict=True))
        for permutation in itertools.permutations(range(3))
    )
    assert best < 0.01


def test_one_talker_is_on_one_track_however_the_network_shares_them_out():
    source = talker(1, [(1, 9), (12, 19)], 20.0)
    rng = np.random.default_rng(0)

    def torn(start, stop):
        first = np.repeat(rng.random(-(-(stop - start) // FRAME)) < 0.5, FRAME)[: stop - start]
        return np.stack([source[start:stop] * first, source[start:stop] * ~first])

    tracks, stitcher = stitched(source, torn)
    np.testing.assert_allclose(tracks[0], source, atol=1e-6)
    assert not tracks[1].any()
    assert {turn.speaker for turn in stitcher.turns} == {0}


def test_nobody_is_silence():
    noise = 0.001 * np.random.default_rng(0).standard_normal(10 * RATE).astype(np.float32)
    tracks, stitcher = stitched(noise, lambda start, stop: np.stack([noise[start:stop], -noise[start:stop]]))
    assert not tracks.any()
    assert stitcher.turns == ()


def test_one_track_has_everybody():
    sources = np.stack([talker(0, [(0, 3)], 8.0), talker(1, [(2, 6)], 8.0)])
    tracks, _ = stitched(sources.sum(0), in_any_order(sources), n_tracks=1)
    np.testing.assert_allclose(tracks[0, : 6 * RATE], sources.sum(0)[: 6 * RATE], atol=1e-6)


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
    found = averaged(embeddings, speech)
    np.testing.assert_allclose(found[:20], embeddings[:20], atol=1e-6)
    assert not found[40:60].any()
    np.testing.assert_allclose(np.linalg.norm(found[60:], axis=1), 1, atol=1e-6)


def test_a_newcomer_needs_an_embedding_of_their_own():
    rng = np.random.default_rng(0)

    def speech(axis, n_frames):
        return unit(np.eye(4, dtype=np.float32)[axis] + 0.2 * rng.standard_normal((n_frames, 4)).astype(np.float32))

    talkers = Talkers(2, 4)
    nobody = np.zeros((2, 0, 4), np.float32)
    alone = talkers.with_newcomers(speech(0, 100), rng.integers(2, size=100), nobody)
    assert alone.any(1).tolist() == [True, False]
    talkers.update(speech(0, 100), np.zeros(100, np.intp))
    both = talkers.with_newcomers(np.vstack([speech(0, 50), speech(2, 50)]), rng.integers(2, size=100), nobody)
    assert both[0] @ np.eye(4)[0] > 0.9
    assert both[1] @ np.eye(4)[2] > 0.9


def test_a_newcomer_may_sound_somewhat_like_somebody_known():
    known, newcomer = np.array([1, 0, 0, 0], np.float32), unit(np.array([1, 2, 0, 0], np.float32))  # cosine 0.45
    talkers = Talkers(2, 4)
    talkers.update(np.tile(known, (200, 1)), np.zeros(200, np.intp))
    found = talkers.with_newcomers(
        np.tile(newcomer, (150, 1)), np.zeros(150, np.intp), np.zeros((2, 0, 4), np.float32)
    )
    np.testing.assert_allclose(found, [known, newcomer], atol=1e-6)


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
    assert spread(np.array([-1, -1, -1, 0, -1, -1, -1, 1])).tolist() == [-1, 0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("voice", ["af_sarah", "am_eric"])
def test_the_bundled_model_leaves_a_lone_voice_alone(voice):
    samples, rate = soundfile.read(REPO / "examples" / "voices" / voice / "two-talkers.flac", dtype="float32")
    stream = Separator().stream(rate)
    tracks = np.concatenate([stream.push(samples), stream.finish()], axis=1)
    assert stream.active_speakers == (0,)
    assert loss(tracks[0], samples) < 0.01
    assert not tracks[1].any()


def test_estimates_are_apart_where_one_is_far_below_the_other():
    levels = np.array([[0.0, -50.0, 0.0, 0.0], [-60.0, 0.0, -5.0, 0.0]], np.float32).repeat(100, axis=1)
    one = np.arange(400) < 300
    assert fraction_apart(levels, one) == pytest.approx((200 + 100) / (300 + 100))  # 4 s are believed beforehand
    assert fraction_apart(levels, one & (np.arange(400) < 200)) == 1
    assert fraction_apart(levels, np.zeros(400, bool)) == 1
    assert fraction_apart(levels[:1], one) == 1
