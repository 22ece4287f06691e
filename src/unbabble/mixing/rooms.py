"""Room impulse responses by the image method (pyroomacoustics)."""

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyroomacoustics
from numpy.typing import NDArray

from unbabble.mixing.recipe import RoomRecipe

SPEED_OF_SOUND = 343.0  # m/s

Position = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """Geometry (metres) and reverberation time (seconds) of one drawn room."""

    size_m: Position
    t60_s: float
    microphone_m: Position
    sources_m: tuple[Position, ...]


@dataclass(frozen=True)
class RoomResponse:
    """A room and its impulse responses, one (samples,) array for each source position."""

    room: Room
    responses: tuple[NDArray[np.float32], ...]


def draw_room(recipe: RoomRecipe, n_positions: int, rng: np.random.Generator) -> Room:
    """Draw a room with a microphone and ``n_positions`` sources in it, uniformly (PAPER: data).

    A T60 that the room cannot have by Sabine's formula, because its walls would have to absorb more than
    everything, is raised to the lowest one that it can have.
    """
    size = tuple(float(rng.uniform(*bounds)) for bounds in (recipe.length_m, recipe.width_m, recipe.height_m))
    t60_s = max(float(rng.uniform(*recipe.t60_s)), lowest_t60_s(size))
    high = np.array(size) - recipe.wall_distance_m
    places = [tuple(float(x) for x in rng.uniform(recipe.wall_distance_m, high)) for _ in range(n_positions + 1)]
    return Room(size, t60_s, places[0], tuple(places[1:]))  # type: ignore[arg-type]


def lowest_t60_s(size_m: Sequence[float]) -> float:
    """Sabine's reverberation time of a shoebox whose walls absorb all: 24 ln 10 V / (c S), in seconds."""
    length, width, height = size_m
    surface = 2 * (length * width + length * height + width * height)
    return 24 * math.log(10) * length * width * height / (SPEED_OF_SOUND * surface) * 1.001


def impulse_responses(room: Room, sample_rate: int) -> RoomResponse:
    """Impulse responses from every source to the microphone; direct sound at distance / 343 m/s."""
    absorption, max_order = pyroomacoustics.inverse_sabine(room.t60_s, room.size_m, c=SPEED_OF_SOUND)
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
    shoebox.compute_rir()
    lead = pyroomacoustics.constants.get("frac_delay_length") // 2  # of its interpolation filter
    responses = tuple(np.asarray(one[lead:], dtype=np.float32) for one in shoebox.rir[0])
    return RoomResponse(room, responses)


def make_bank(
    recipe: RoomRecipe, count: int, n_positions: int, sample_rate: int, seed: int, jobs: int = 1
) -> list[RoomResponse]:
    """Many rooms at once, for drawing from again and again; the same for any number of jobs."""
    make = partial(_make_one, recipe, n_positions, sample_rate, seed)
    if jobs == 1:
        return [make(index) for index in range(count)]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(make, range(count), chunksize=8))


def _make_one(recipe: RoomRecipe, n_positions: int, sample_rate: int, seed: int, index: int) -> RoomResponse:
    rng = np.random.default_rng([seed, index])
    return impulse_responses(draw_room(recipe, n_positions, rng), sample_rate)
