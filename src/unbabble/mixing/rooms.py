"""Rooms and their impulse responses by the image method.

The library for it (pyroomacoustics) is imported where it is used, since that takes seconds.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbabble.errors import CorpusError
from unbabble.mixing.plan import Room
from unbabble.mixing.recipe import RoomRecipe

SPEED_OF_SOUND = 343.0  # m/s
EARLY_S = 0.05  # after the direct sound
LOWEST_HZ = 10.0  # below, the image method, whose walls reflect all frequencies alike, makes a rumble of its own
PLACING_TRIES = 1000
QUIET = 1e-8  # of the energy of a response: what is left of it when it is cut, -80 dB

Response = NDArray[np.float32]  # (samples,)

SETTINGS = {
    "rir_hpf_enable": False,  # its high pass lets sound arrive before it is made
    "num_threads": 1,  # sums in another order differ in the last bits
}


def draw_room(recipe: RoomRecipe, n_positions: int, rng: np.random.Generator) -> Room:
    """Draw a room with a microphone and ``n_positions`` sources in it, uniformly.

    A T60 that the room cannot have by Sabine's formula, because its walls would have to absorb more than
    everything, is raised to the lowest one that it can have. Raises CorpusError where so many do not fit.
    """
    size = tuple(float(rng.uniform(*bounds)) for bounds in (recipe.length_m, recipe.width_m, recipe.height_m))
    t60_s = max(float(rng.uniform(*recipe.t60_s)), lowest_t60_s(size))
    high = np.array(size) - recipe.wall_distance_m
    for _ in range(PLACING_TRIES):
        places = rng.uniform(recipe.wall_distance_m, high, (n_positions + 1, 3))
        if all(np.linalg.norm(one - other) >= recipe.apart_m for one, other in combinations(places, 2)):
            microphone, *sources = (tuple(float(x) for x in place) for place in places)
            return Room(size, t60_s, microphone, tuple(sources))  # type: ignore[arg-type]
    raise CorpusError(
        f"found no place for a microphone and {n_positions} sources {recipe.apart_m} m apart in a room of "
        f"{' x '.join(f'{side:.1f}' for side in size)} m; make the rooms larger or apart_m smaller"
    )


def lowest_t60_s(size_m: Sequence[float]) -> float:
    """Sabine's reverberation time of a shoebox whose walls absorb all: 24 ln 10 V / (c S), in seconds."""
    length, width, height = size_m
    surface = 2 * (length * width + length * height + width * height)
    return 24 * math.log(10) * length * width * height / (SPEED_OF_SOUND * surface) * 1.001


def impulse_responses(room: Room, sample_rate: int) -> tuple[Response, ...]:
    """From every source to the microphone; direct sound at distance / 343 m/s. T60 is raised as in draw_room."""
    from pyroomacoustics import inverse_sabine

    t60_s = max(room.t60_s, lowest_t60_s(room.size_m))
    return _responses(room, sample_rate, *inverse_sabine(t60_s, room.size_m, c=SPEED_OF_SOUND))


def direct_responses(room: Room, sample_rate: int) -> tuple[Response, ...]:
    """As impulse_responses, of the direct sound alone: the walls reflect nothing."""
    return _responses(room, sample_rate, 1.0, 0)


def early(response: Response, room: Room, source: int, sample_rate: int) -> Response:
    """The part of a response up to EARLY_S after its direct sound."""
    direct_s = math.dist(room.sources_m[source], room.microphone_m) / SPEED_OF_SOUND
    return response[: round((direct_s + EARLY_S) * sample_rate)]


def _responses(room: Room, sample_rate: int, absorption: float, max_order: int) -> tuple[Response, ...]:
    import pyroomacoustics
    from scipy.signal import butter, sosfilt

    shoebox = pyroomacoustics.ShoeBox(
        room.size_m,
        fs=sample_rate,
        materials=pyroomacoustics.Material(absorption),
        max_order=max_order,
    )
    shoebox.set_sound_speed(SPEED_OF_SOUND)
    shoebox.add_microphone(room.microphone_m)
    for source in room.sources_m:
        shoebox.add_source(source)
    with _settings(pyroomacoustics.constants):
        shoebox.compute_rir()
    high_pass = butter(2, LOWEST_HZ, "highpass", fs=sample_rate, output="sos")
    lead = pyroomacoustics.constants.get("frac_delay_length") // 2  # of its filter between samples
    return tuple(_without_silence(sosfilt(high_pass, one[lead:])) for one in shoebox.rir[0])


@contextmanager
def _settings(constants: Any) -> Iterator[None]:
    """Of the library, which keeps them for the whole process: set, and set back."""
    before = {name: constants.get(name) for name in SETTINGS}
    try:
        for name, value in SETTINGS.items():
            constants.set(name, value)
        yield
    finally:
        for name, value in before.items():
            constants.set(name, value)


def _without_silence(response: NDArray[np.float64]) -> Response:
    """Cut where nothing that matters is left."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    return np.asarray(response[left > QUIET * left[0]], np.float32)
