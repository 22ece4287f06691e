"""Rooms made beforehand, for drawing from again and again."""

import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbabble.base.config import dump_settings, parse_settings
from unbabble.base.output import prepare, whole_file
from unbabble.base.parallel import in_parallel
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.base.reading import from_json
from unbabble.errors import CorpusError
from unbabble.mixing.plan import Room
from unbabble.mixing.recipe import Mixtures, RoomRecipe, most_speakers
from unbabble.mixing.rooms import Response, draw_room, impulse_responses

DAMAGED = (zipfile.BadZipFile, struct.error)


@dataclass(frozen=True)
class RoomBank:
    """Rooms of one recipe with their responses at ``sample_rate`` Hz: responses[room][source] is (samples,).

    file: in which they are, and from which a process that is sent them reads them, where there is one.
    """

    recipe: RoomRecipe
    sample_rate: int
    rooms: tuple[Room, ...]
    responses: tuple[tuple[Response, ...], ...]
    file: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.file is not None:
            return read_bank, (self.file,)
        return RoomBank, (self.recipe, self.sample_rate, self.rooms, self.responses)

    @property
    def n_positions(self) -> int:
        """Sources in each room, the noise counted in."""
        return len(self.rooms[0].sources_m)

    @cached_property
    def numbers(self) -> Mapping[Room, int]:
        """Where each room stands."""
        return {room: number for number, room in enumerate(self.rooms)}

    def draw(self, rng: np.random.Generator) -> Room:
        """Any of the rooms."""
        return self.rooms[int(rng.integers(len(self.rooms)))]

    def save(self, path: Path) -> None:
        """Write as .npz: geometry, and all responses one after the other. Raises OutputError."""
        flat = [response for room in self.responses for response in room]
        with whole_file(path) as beside, beside.open("wb") as file:
            np.savez(
                file,
                recipe=np.array(json.dumps(dump_settings(self.recipe))),
                sample_rate=np.array(self.sample_rate),
                size_m=np.array([room.size_m for room in self.rooms]),
                t60_s=np.array([room.t60_s for room in self.rooms]),
                microphone_m=np.array([room.microphone_m for room in self.rooms]),
                sources_m=np.array([room.sources_m for room in self.rooms]),
                lengths=np.array([response.size for response in flat]),
                samples=np.concatenate(flat),
            )


def make_bank(
    recipe: RoomRecipe,
    count: int,
    n_positions: int,
    sample_rate: int,
    seed: int,
    jobs: int = 1,
    progress: Progress = UNWATCHED,
) -> RoomBank:
    """Many rooms at once; the same for any number of jobs. Raises CorpusError."""
    made = []
    with progress.task("rooms") as advance:
        for one in in_parallel(partial(_make_one, recipe, n_positions, sample_rate, seed), range(count), jobs):
            made.append(one)
            advance(len(made), count)
    rooms, responses = zip(*made, strict=True)
    return RoomBank(recipe, sample_rate, rooms, responses)


def kept_bank(path: Path, make: Callable[[], RoomBank]) -> RoomBank:
    """The rooms in a file, made and put there where it is missing. Raises CorpusError, OutputError."""
    if not path.exists():
        prepare(path)
        make().save(path)
    return read_bank(path)


def room_recipe_of(mixtures: Mixtures) -> RoomRecipe:
    """The one that the parts with rooms have in common. Raises CorpusError where there is none, or several."""
    recipes = {part.recipe.room for part in mixtures} - {None}
    if len(recipes) != 1:
        raise CorpusError(
            f"a bank holds the rooms of one recipe, but the mixtures have {len(recipes)}; "
            "give their parts the same room"
        )
    return recipes.pop()  # type: ignore[return-value]


def read_bank(path: Path) -> RoomBank:
    """What ``RoomBank.save`` wrote; the responses stay in the file, which is memory-mapped. Raises CorpusError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            recipe = parse_settings(RoomRecipe, from_json(str(file["recipe"])), str(path))
            geometry = zip(
                *(file[key].tolist() for key in ("size_m", "t60_s", "microphone_m", "sources_m")), strict=True
            )
            rooms = tuple(
                Room(tuple(size), t60_s, tuple(microphone), tuple(tuple(place) for place in sources))
                for size, t60_s, microphone, sources in geometry
            )
            ends = np.cumsum(file["lengths"])[:-1]
            flat = iter(np.split(_mapped(path, "samples"), ends))
            responses = tuple(tuple(next(flat) for _ in room.sources_m) for room in rooms)
            return RoomBank(recipe, int(file["sample_rate"]), rooms, responses, path.absolute())
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file; make rooms with unbabble rooms --out {path}") from None
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        struct.error,
        zipfile.BadZipFile,
        StopIteration,
    ) as error:
        raise CorpusError(f"{path}: not a bank of rooms ({error}); make one with unbabble rooms") from None


class Rooms:
    """Where the rooms of mixtures come from: banks where there are any, else made one by one."""

    def __init__(self, sample_rate: int, banks: Mapping[RoomRecipe, RoomBank] | None = None) -> None:
        self.sample_rate, self.banks = sample_rate, banks or {}

    def draw(self, recipe: RoomRecipe, n_positions: int, rng: np.random.Generator) -> Room:
        """A room with at least so many sources in it."""
        bank = self.banks.get(recipe)
        return bank.draw(rng) if bank else draw_room(recipe, n_positions, rng)

    def responses(self, room: Room) -> tuple[Response, ...]:
        """One for each source in the room."""
        for bank in self.banks.values():
            number = bank.numbers.get(room)
            if number is not None:
                return bank.responses[number]
        return impulse_responses(room, self.sample_rate)


def rooms_of_bank(mixtures: Mixtures, path: Path) -> Rooms:
    """Rooms of a saved bank for mixtures. Raises CorpusError where it was made for others."""
    bank, recipe = read_bank(path), room_recipe_of(mixtures)
    n_positions, sample_rate = most_speakers(mixtures) + 1, mixtures[0].recipe.sample_rate
    wrong = [
        f"{what} {has}, not {wants}"
        for what, has, wants in (
            ("ranges", bank.recipe, recipe),
            ("sample rate", bank.sample_rate, sample_rate),
        )
        if has != wants
    ]
    if bank.n_positions < n_positions:
        wrong.append(f"{bank.n_positions} sources a room, not {n_positions}")
    if wrong:
        raise CorpusError(f"{path}: made for other mixtures ({'; '.join(wrong)}); make one with the same --recipe")
    return Rooms(sample_rate, {recipe: bank})


def _mapped(path: Path, name: str) -> NDArray[np.float32]:
    """An array of an .npz file, which does not compress it, where it lies in the file."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{name} has another header than expected")
        (length,), _, dtype = np.lib.format.read_array_header_1_0(member)
        within = member.tell()
        with path.open("rb") as file:
            file.seek(archive.getinfo(f"{name}.npy").header_offset)
            header = file.read(30)
            start = file.tell() + sum(struct.unpack("<26x2H", header))  # behind the lengths of its name and extras
    return np.asarray(np.memmap(path, dtype, "r", start + within, (length,)))


def _make_one(
    recipe: RoomRecipe, n_positions: int, sample_rate: int, seed: int, index: int
) -> tuple[Room, tuple[Response, ...]]:
    room = draw_room(recipe, n_positions, np.random.default_rng([seed, index]))
    return room, impulse_responses(room, sample_rate)
