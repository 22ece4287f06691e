"""Impulse responses of rooms on one core: pyroomacoustics, as unbabble uses it, beside the image method in PyTorch.

    python benchmarks/rooms.py [--rooms 20] [--seed 0]

Rooms are those of the paper's recipe, three sources each. Prints milliseconds a room, the median, and how far the
responses of the two are apart. One implementation for core and GPU would have to be the second.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.signal import butter, sosfilt
from torch import Tensor

from unbabble.mixing.plan import Room
from unbabble.mixing.recipe import RoomRecipe
from unbabble.mixing.rooms import LOWEST_HZ, SPEED_OF_SOUND, draw_room, impulse_responses, lowest_t60_s

RATE = 16000
TAPS = 81  # of the filter between samples, as in pyroomacoustics
HIGH_PASS = butter(2, LOWEST_HZ, "highpass", fs=RATE, output="sos")  # as in unbabble
AT_ONCE = 1 << 16  # images: more do not fit the cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    rooms = [draw_room(RoomRecipe(), 3, rng) for _ in range(options.rooms)]
    impulse_responses(rooms[0], RATE), image_method(rooms[0])  # imports, first calls
    spent: dict[str, list[float]] = {"pyroomacoustics": [], "PyTorch": []}
    likeness = []
    for room in rooms:
        made = timed(spent["pyroomacoustics"], lambda room=room: impulse_responses(room, RATE))
        beside = timed(spent["PyTorch"], lambda room=room: image_method(room))
        likeness += [
            correlation(one, sosfilt(HIGH_PASS, other.numpy())) for one, other in zip(made, beside, strict=True)
        ]
    for name, seconds in spent.items():
        print(f"{name}: {1000 * np.median(seconds):.0f} ms a room")
    print(f"correlation of the responses: {min(likeness):.4f} at least")


def image_method(room: Room) -> list[Tensor]:
    """Responses (samples,) of every source: shoebox, all walls alike, sources mirrored as often as T60 asks for."""
    sides = torch.tensor(room.size_m, dtype=torch.float64)
    t60_s = max(room.t60_s, lowest_t60_s(room.size_m))
    surface = 2 * (sides[0] * sides[1] + sides[0] * sides[2] + sides[1] * sides[2])
    reflected = (1 - 24 * np.log(10) * sides.prod() / (SPEED_OF_SOUND * surface * t60_s)).sqrt()
    nearest = min(float(a * b / (a**2 + b**2).sqrt()) for a, b in (sides[[0, 1]], sides[[0, 2]], sides[[1, 2]]))
    order = int(np.ceil(SPEED_OF_SOUND * t60_s / nearest - 1))
    numbers = torch.arange(-order, order + 1)
    mirrored = torch.cartesian_prod(numbers, numbers, numbers)
    bounces = mirrored.abs().sum(1)
    mirrored, bounces = mirrored[bounces <= order], bounces[bounces <= order]
    return [response(room, place, sides, reflected, mirrored, bounces) for place in room.sources_m]


def response(
    room: Room, place: tuple[float, ...], sides: Tensor, reflected: Tensor, mirrored: Tensor, bounces: Tensor
) -> Tensor:
    """Of one source: every image through a windowed sinc at its delay."""
    odd = mirrored % 2 != 0
    source = torch.tensor(place, dtype=torch.float64)
    images = mirrored * sides + torch.where(odd, sides - source, source)
    distances = (images - torch.tensor(room.microphone_m, dtype=torch.float64)).norm(dim=1)
    strengths = (reflected**bounces / distances).float()
    delays = distances / SPEED_OF_SOUND * RATE
    first = delays.floor().long()
    made = torch.zeros(int(first.max()) + TAPS + 1)
    taps = torch.arange(TAPS) - TAPS // 2
    for part in torch.arange(len(first)).split(AT_ONCE):
        at = (taps - (delays[part] - first[part]).float()[:, None]).float()
        window = 0.5 + 0.5 * torch.cos(2 * torch.pi * at / TAPS)
        made.index_add_(
            0,
            (first[part, None] + torch.arange(TAPS)).flatten(),
            (strengths[part, None] * torch.sinc(at) * window).flatten(),
        )
    return made[TAPS // 2 :]


def timed(spent: list[float], make: Callable[[], object]) -> object:
    begun = time.process_time()
    made = make()
    spent.append(time.process_time() - begun)
    return made


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    length = min(one.size, other.size)
    return float(np.corrcoef(one[:length], other[:length])[0, 1])


if __name__ == "__main__":
    main()
