"""The corpus of music: scores are defined by their seed, long enough, and playable; FluidSynth is not needed."""

import importlib
import random

import mido
import pytest
from conftest import REPO


@pytest.fixture(scope="module")
def music():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPO / "recipes")
        yield importlib.import_module("music")


def score(music, seed, path):
    rng = random.Random(seed)
    style, song = music.compose(rng)
    music.write_midi(song, music.arrange(song, rng), rng, path)
    return style


def test_a_score_is_defined_by_its_seed(music, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        score(music, seed, tmp_path / name)
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_every_style_plays_for_half_a_minute_to_a_minute(music, tmp_path):
    seen = set()
    for seed in range(120):
        style = score(music, seed, tmp_path / "score.mid")
        seen.add(style)
        played = mido.MidiFile(tmp_path / "score.mid")
        notes = [message for message in played if message.type == "note_on"]
        assert 25 < played.length < 65, (style, seed)
        assert len(notes) > 30, (style, seed)
    composing = importlib.import_module("composing")
    assert seen == set(composing.STYLES)
    assert {family for style in composing.STYLES.values() for family in families(style)} == set(composing.FAMILIES)


def families(style):
    return (family for part in style.parts.split() for family in part.split(":")[1].split("/"))
