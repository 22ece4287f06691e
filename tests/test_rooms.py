"""Rooms sound as they were asked to, and banks keep them."""

import math
import os
import pickle
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
from conftest import RATE
from scipy.stats import linregress

from unbabble.errors import CorpusError
from unbabble.mixing.bank import Rooms, make_bank, read_bank, rooms_of_bank
from unbabble.mixing.plan import Room
from unbabble.mixing.recipe import MixtureRecipe, RoomRecipe, WeightedRecipe, paper_mixtures
from unbabble.mixing.rooms import direct_responses, draw_room, impulse_responses, lowest_t60_s

SMALL = RoomRecipe(length_m=(3, 4), width_m=(3, 4), t60_s=(0.1, 0.15))


def measured_t60_s(response: np.ndarray, sample_rate: int) -> float:
    """Schroeder integration: a line through the decay from -5 to -25 dB (T20)."""
    left = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    decay_db = 10 * np.log10(left / left[0] + 1e-20)
    part = slice(int(np.argmax(decay_db < -5)), int(np.argmax(decay_db < -25)))
    return -60 / linregress(np.arange(part.start, part.stop) / sample_rate, decay_db[part]).slope


def test_direct_sound_arrives_when_the_distance_says():
    room = Room((6.0, 5.0, 3.0), 0.3, (1.0, 1.0, 1.5), ((1.0, 1.0 + 3.43, 1.5), (4.0, 3.0, 1.0)))
    for source, response in zip(room.sources_m, impulse_responses(room, RATE), strict=True):
        expected = math.dist(source, room.microphone_m) / 343 * RATE
        loud = int(np.argmax(np.abs(response[: int(expected) + 20])))
        assert abs(loud - expected) <= 1
        assert not np.abs(response[: int(expected) - 41]).any()  # and nothing before it, but half a sinc


def test_the_direct_sound_alone_is_one_pulse_as_loud_as_the_distance_says():
    room = Room((6.0, 5.0, 3.0), 0.4, (1.0, 1.0, 1.5), ((1.0, 1.3, 1.5), (4.0, 3.0, 1.0)))
    near, far = direct_responses(room, RATE)
    for one, whole in zip((near, far), impulse_responses(room, RATE), strict=True):
        assert one.size < 0.05 * RATE
        assert int(np.argmax(np.abs(one))) == int(np.argmax(np.abs(whole[: one.size])))
    loudness = np.abs(np.fft.rfft(near, 1024))[100] / np.abs(np.fft.rfft(far, 1024))[100]
    distances = [math.dist(source, room.microphone_m) for source in room.sources_m]
    assert loudness == pytest.approx(distances[1] / distances[0], rel=0.03)


def test_rooms_do_not_depend_on_the_number_of_cores():
    code = (
        "import hashlib\nfrom unbabble.mixing.rooms import impulse_responses\nfrom unbabble.mixing.plan import Room\n"
    )
    code += "room = Room((6.0, 5.0, 3.0), 0.4, (1.0, 1.0, 1.5), ((4.0, 3.0, 1.0),))\n"
    code += "print(hashlib.sha256(impulse_responses(room, 16000)[0].tobytes()).hexdigest())"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PRA_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(printed) == 1


@pytest.mark.slow
def test_sound_of_a_bank_dies_away_as_fast_as_asked_on_average():
    bank = make_bank(RoomRecipe(), 60, 1, RATE, seed=5)
    ratios = [
        measured_t60_s(responses[0], RATE) / room.t60_s
        for room, responses in zip(bank.rooms, bank.responses, strict=True)
    ]
    assert np.mean(ratios) == pytest.approx(1, abs=0.2)
    assert np.mean(np.abs(np.array(ratios) - 1)) < 0.2


def test_a_room_too_large_for_its_t60_gets_the_lowest_that_it_can_have():
    recipe = RoomRecipe(length_m=(10, 10), width_m=(10, 10), height_m=(4, 4), t60_s=(0.1, 0.1))
    room = draw_room(recipe, 2, np.random.default_rng(0))
    assert room.t60_s == pytest.approx(lowest_t60_s((10, 10, 4)))
    assert all(np.isfinite(one).all() for one in impulse_responses(room, RATE))


def test_everybody_is_off_the_walls_and_apart():
    rng = np.random.default_rng(0)
    for _ in range(100):
        room = draw_room(RoomRecipe(), 3, rng)
        places = np.array([room.microphone_m, *room.sources_m])
        assert (places >= 0.5).all()
        assert (places <= np.array(room.size_m) - 0.5).all()
        distances = np.linalg.norm(places[:, None] - places, axis=-1)[np.triu_indices(4, 1)]
        assert distances.min() >= 0.5


def test_more_people_than_fit_are_refused():
    with pytest.raises(CorpusError, match=r"found no place for a microphone and 60 sources 0\.9 m apart"):
        draw_room(RoomRecipe(length_m=(3, 3), width_m=(3, 3), apart_m=0.9), 60, np.random.default_rng(0))


def test_a_bank_is_the_same_for_any_number_of_jobs_and_from_its_file(tmp_path):
    one, other = (make_bank(SMALL, 6, 2, 8000, 3, jobs) for jobs in (1, 2))
    one.save(tmp_path / "rooms.npz")
    for again in (other, read_bank(tmp_path / "rooms.npz")):
        assert (again.recipe, again.sample_rate, again.rooms) == (one.recipe, one.sample_rate, one.rooms)
        for responses, expected in zip(again.responses, one.responses, strict=True):
            for response, true in zip(responses, expected, strict=True):
                np.testing.assert_array_equal(response, true)


def test_a_bank_is_sent_to_other_processes_as_its_file(tmp_path):
    made = make_bank(SMALL, 6, 2, 8000, 3)
    made.save(tmp_path / "rooms.npz")
    bank = read_bank(tmp_path / "rooms.npz")
    sent = pickle.dumps(bank)
    assert len(sent) < 1000 < sum(response.nbytes for room in made.responses for response in room)
    for again in (pickle.loads(sent), pickle.loads(pickle.dumps(made))):
        assert again.rooms == made.rooms
        for ours, theirs in zip(chain(*made.responses), chain(*again.responses), strict=True):
            assert np.array_equal(ours, theirs)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "rooms.npz").read_bytes()[:-2000])
    with pytest.raises(CorpusError, match="not a bank of rooms"):
        read_bank(tmp_path / "cut.npz")


def test_rooms_of_a_bank_are_drawn_from_it_and_others_are_made():
    bank = make_bank(SMALL, 3, 2, 8000, 0)
    rooms = Rooms(8000, {SMALL: bank})
    rng = np.random.default_rng(0)
    for _ in range(5):
        room = rooms.draw(SMALL, 2, rng)
        assert rooms.responses(room) is bank.responses[bank.rooms.index(room)]
    other = RoomRecipe(length_m=(5, 5))
    assert rooms.draw(other, 2, rng) not in bank.rooms


def test_a_bank_made_for_something_else_is_refused(tmp_path):
    path = tmp_path / "rooms.npz"
    make_bank(SMALL, 2, 2, 8000, 0).save(path)
    with pytest.raises(CorpusError, match=r"ranges .* sample rate 8000, not 16000.*2 sources a room, not 3"):
        rooms_of_bank(paper_mixtures(), path)
    with pytest.raises(CorpusError, match="the mixtures have 0"):
        rooms_of_bank((WeightedRecipe(1.0, MixtureRecipe(room=None)),), path)
    (tmp_path / "text.npz").write_text("words")
    with pytest.raises(CorpusError, match="not a bank of rooms"):
        read_bank(tmp_path / "text.npz")
    with pytest.raises(CorpusError, match="no such file; make rooms with unbabble rooms"):
        read_bank(tmp_path / "none.npz")
