"""The Python interface: lengths, rates, levels, and inputs that are not fit."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RATE, REPO, speech, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from talkers import TURNS_S, assert_separated, talk

from unbabble import Separator
from unbabble.errors import AudioError, ModelError
from unbabble.inference.engine import Engine
from unbabble.inference.model_folder import BUNDLED

EDGE_S = 0.15  # what is not known of a recording that begins or ends while somebody talks


@given(n_samples=st.integers(4800, 100_000), rate=st.sampled_from([8000, 16000, 44100, 48000, 192000]))
@settings(max_examples=25)
def test_output_has_the_length_of_the_input(oracle, n_samples, rate):
    first, second = (round(turns[0][0] * rate) for turns in TURNS_S)
    sources = talk(rate)[:, first:][:, :n_samples]
    tracks = Separator(**oracle)(sources.sum(0), rate)
    assert tracks.shape == sources.shape
    assert tracks.dtype == np.float32
    if n_samples > rate:  # else the first word may be too short to be heard, and to be told from the other's
        assert tracks[0].any()
        edge = round(EDGE_S * rate)
        inside = slice(edge, min(second - first, n_samples) - edge)
        assert_separated(tracks[:, inside], sources[:, inside])


@pytest.mark.parametrize("seconds", [0.03, 3.9, 4.0, 4.1, 6.9, 7.0, 7.1, 11.3])
def test_recordings_around_the_length_of_a_window(oracle, seconds):
    sources = talk(RATE)[:, round(TURNS_S[0][0][0] * RATE) :][:, : round(seconds * RATE)]
    tracks = Separator(**oracle)(sources.sum(0), RATE)
    assert tracks.shape == sources.shape
    assert tracks[0].any()
    if seconds > 1:
        inside = slice(round(EDGE_S * RATE), -round(EDGE_S * RATE))
        assert_separated(tracks[:, inside], sources[:, inside])


def test_blocks_of_any_size_give_the_same_tracks(oracle):
    separator, sources = Separator(**oracle), talk(22050)
    blocks = np.array_split(sources.sum(0, keepdims=True), [1, 50, 5000, 40_000], axis=1)
    joined = np.concatenate(list(separator.separate_blocks(blocks, 22050)), axis=1)
    assert_separated(joined, sources)
    np.testing.assert_allclose(joined, separator(sources.sum(0), 22050), atol=2e-5)


def test_silence_in_gives_silence_out(tiny_model):
    """Beside speech too."""
    separator, samples = Separator(tiny_model), np.concatenate([np.zeros(3 * RATE), speech(), np.zeros(3 * RATE)])
    tracks = separator(samples, RATE)
    assert tracks.any(1).all()
    assert not tracks[:, : round(2.8 * RATE)].any()
    assert not tracks[:, round(-2.8 * RATE) :].any()
    assert not separator(np.zeros(50_000), 44100).any()


def test_levels_follow_the_mixture(tiny_model):
    separator, samples = Separator(tiny_model), speech()
    tracks = separator(samples, RATE)
    assert tracks.any(1).all()
    np.testing.assert_allclose(separator(3 * samples, RATE), 3 * tracks, atol=1e-3)


def test_a_siso_only_model_gives_as_many_tracks_as_asked(tiny_siso_only_model):
    separator = Separator(tiny_siso_only_model)
    assert separator(speech(), RATE).any(1).tolist() == [True, True]
    for n_sources in (1, 3, 4):
        tracks = separator(speech(), RATE, n_sources)
        assert tracks.shape == (n_sources, speech().size)
        assert tracks[0].any()
    with pytest.raises(ValueError, match="1 to 10"):
        separator(tone(1.0), 16000, 11)


@pytest.mark.parametrize("model", ["tiny_model", "tiny_siso_only_model"])
def test_one_track_needs_no_network(request, model, oracle, monkeypatch):
    separator = Separator(request.getfixturevalue(model), diarizer=oracle["diarizer"])
    monkeypatch.delattr(Engine, "_separate")
    mixture = talk(RATE).sum(0)
    track = separator(mixture, RATE, 1)
    assert_separated(track, mixture[np.newaxis])


def test_the_names_of_bundled_models_mean_those_and_folders_have_a_path(tiny_model, tmp_path, monkeypatch):
    """A separator and a diarizer are found by one rule."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model, "default")
    shutil.copytree(BUNDLED / "diarizer", "diarizer")
    bundled = Separator("default", diarizer="diarizer")
    assert (bundled.model.path, bundled.diarizer.folder.path) == (BUNDLED / "default", BUNDLED / "diarizer")
    for model, diarizer in (("./default", "./diarizer"), (Path("default"), Path("diarizer"))):
        own = Separator(model, diarizer=diarizer)
        assert (own.model.path, own.diarizer.folder.path) == (Path("default"), Path("diarizer"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    for wrong in ({"model": "diarizer"}, {"diarizer": "default"}, {"model": "nonesuch"}, {"diarizer": "nonesuch"}):
        with pytest.raises(
            ModelError,
            match=r"no such model; .* or one of: (default|diarizer)",
        ):
            Separator(**wrong)


def test_any_model_gives_a_track_for_each_of_any_number(tiny_model):
    for n_sources, n_tracks in ((3, 3), ((3, 6), 3), ("4-5", 4)):
        assert Separator(tiny_model)(np.zeros(RATE), RATE, n_sources).shape == (n_tracks, RATE)
    assert Separator(tiny_model)(np.zeros(RATE), RATE, "auto").shape == (0, RATE)


NOTHING_TO_HEAR = np.zeros(16000)


@pytest.mark.parametrize(
    ("samples", "rate", "told"),
    [
        (np.zeros(0), 16000, "too short"),
        (np.zeros(1), 16000, "too short"),
        (np.zeros(160), 16000, "too short: 160 samples; expected at least 25 ms"),
        (np.zeros((2, 16000)), 16000, "one channel"),
        (0.5, 16000, "one channel"),
        (np.zeros(16000, np.int16), 16000, "type int16; expected floats"),
        (np.zeros(16000, complex), 16000, "type complex128; expected floats"),
        (np.zeros(16000, object), 16000, "type object; expected floats"),
        (None, 16000, "type object; expected floats"),
        (np.full(16000, np.nan), 16000, "NaN"),
        (np.ma.masked_invalid(np.full(16000, np.nan)), 16000, "a mask; expected floats"),
        ([[0.0, 0.0], [0.0]], 16000, "not read as an array .* expected floats"),
        (
            torch.zeros(16000, requires_grad=True),
            16000,
            r"torch.Tensor.* not read as an array .*detach.* expected floats",
        ),
        (torch.zeros(16000, dtype=torch.bfloat16), 16000, "torch.Tensor.* not read as an array .* expected floats"),
        ("talk.wav", 16000, r"'talk\.wav'; expected floats .*; unbabble.separate takes files"),
        (Path("talk.wav"), 16000, r"talk\.wav.*; expected floats .*; unbabble.separate takes files"),
        (b"RIFF", 16000, "RIFF.* expected floats"),
        (NOTHING_TO_HEAR, 4000, "rate 4000; expected a whole number from 8000 to 192000"),
        *(
            (NOTHING_TO_HEAR, rate, "expected a whole number from 8000 to 192000")
            for rate in (10**9, "16000", None, 16000.5, math.nan, math.inf, True, [16000])
        ),
    ],
)
def test_samples_that_are_not_fit_are_refused(tiny_model, samples, rate, told):
    with pytest.raises(AudioError, match=told):
        Separator(tiny_model)(samples, rate)


@pytest.mark.parametrize("kind", [list, torch.from_numpy, np.float16, np.float64, np.atleast_2d])
def test_samples_may_be_whatever_holds_floats(tiny_model, kind):
    samples = np.float16(speech()[:RATE]).astype(np.float32)
    tracks = Separator(tiny_model)(samples, 16000)
    assert tracks.any()
    np.testing.assert_array_equal(Separator(tiny_model)(kind(samples), np.float64(16000)), tracks)


@pytest.mark.parametrize("n_sources", ["many", 1.5, 0, -1, 11, math.inf, (3, 2)])
def test_numbers_of_tracks_that_are_none_are_refused(tiny_model, tiny_siso_only_model, n_sources):
    for model in (tiny_model, tiny_siso_only_model):
        with pytest.raises(ValueError, match=r"speakers .* (is not auto|cannot be)"):
            Separator(model)(NOTHING_TO_HEAR, 16000, n_sources)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"window_s": value} for value in ("2", math.nan, 0.1, 1e9, [2])),
        *({"overlap_s": value} for value in ("1", math.nan, 0, -1)),
        *({"threads": value} for value in ("1", 0, 1.5, True)),
    ],
    ids=repr,
)
def test_settings_that_are_no_numbers_are_refused(tiny_model, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} .*must be"):
        Separator(tiny_model, **wrong)


def test_an_overlap_that_does_not_fit_the_window_is_refused(tiny_model):
    with pytest.raises(ValueError, match="half of window_s"):
        Separator(tiny_model, window_s=2.0, overlap_s=1.5)


def test_the_bundled_model_separates_the_example():
    """The default model, whose card says how well it does elsewhere, on the repo's own recording."""
    import soundfile

    mixture, rate = soundfile.read(REPO / "examples" / "two-talkers.flac")
    truths = [
        soundfile.read(REPO / "examples" / "voices" / voice / "two-talkers.flac")[0]
        for voice in ("af_sarah", "am_eric")
    ]
    tracks = Separator()(mixture, rate)

    def ratio_db(estimate, truth):
        return 10 * np.log10(np.sum(truth**2) / np.sum((estimate - truth) ** 2))

    straight = np.mean([ratio_db(track, truth) for track, truth in zip(tracks, truths, strict=True)])
    swapped = np.mean([ratio_db(track, truth) for track, truth in zip(tracks[::-1], truths, strict=True)])
    before = np.mean([ratio_db(mixture, truth) for truth in truths])
    assert max(straight, swapped) > before + 4


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_silence_is_nobody_at_any_rate(oracle, rate):
    separator = Separator(**oracle, threads=1)
    assert separator(np.zeros(3 * rate, np.float32), rate, "auto").shape == (0, 3 * rate)
