"""Rooms on the device that trains: the workers read dry signals, the device convolves and sums them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch
from torch import Tensor, nn

from unbabble.mixing.bank import RoomBank, Rooms
from unbabble.mixing.plan import Plan
from unbabble.mixing.recipe import Target
from unbabble.mixing.render import target_responses
from unbabble.mixing.rooms import Response
from unbabble.mixing.signals import PEAK

NO_ROOM = np.ones(1, np.float32)


class DryBatch(NamedTuple):
    """Mixtures before their rooms.

    dry (batch, source + 1, samples), the noise last; numbers of the responses of what is heard of each
    (batch, source + 1), and of the targets (batch, source).
    """

    dry: Tensor
    heard_by: Tensor
    target_by: Tensor


@dataclass(frozen=True)
class ResponseTable:
    """All responses of the banks in one list, with what the targets need of them, and none at number 0."""

    rooms: Rooms
    targets: tuple[Target, ...]  # kinds that the mixtures have

    @cached_property
    def responses(self) -> tuple[Response, ...]:
        rows: list[Response] = [NO_ROOM]
        for bank in self.rooms.banks.values():
            for kind in self._kinds:
                for number in range(len(bank.rooms)):
                    rows += self._of_room(bank, number, kind)
        return tuple(rows)

    def numbers(self, plan: Plan, n_sources: int) -> tuple[list[int], list[int]]:
        """Responses of what is heard of the sources and the noise, and of the targets, for one plan."""
        if plan.room is None:
            return [0] * (n_sources + 1), [0] * n_sources
        first = 1
        for bank in self.rooms.banks.values():
            if plan.room in bank.numbers:
                block = len(bank.rooms) * bank.n_positions
                room = first + bank.numbers[plan.room] * bank.n_positions
                heard = [room + min(source, bank.n_positions - 2) for source in range(n_sources)]
                cut = block * self._kinds.index(plan.target)
                return [*heard, room + bank.n_positions - 1], [number + cut for number in heard]
            first += len(bank.rooms) * bank.n_positions * len(self._kinds)
        raise KeyError("the room of the plan is in no bank")

    @cached_property
    def _kinds(self) -> list[Target]:
        return ["reverberant", *sorted(set(self.targets) - {"reverberant"})]

    def _of_room(self, bank: RoomBank, number: int, kind: Target) -> Sequence[Response]:
        plan = Plan(bank.sample_rate, 1, (), room=bank.rooms[number], target=kind)
        return target_responses(plan, bank.responses[number])


class DeviceMixer(nn.Module):
    """Convolves dry signals with their rooms and sums them, all on the device where it is."""

    responses: Tensor

    def __init__(self, table: ResponseTable) -> None:
        super().__init__()
        self.targets_are_heard = set(table.targets) == {"reverberant"}
        longest = max(response.size for response in table.responses)
        rows = np.zeros((len(table.responses), longest), np.float32)
        for row, response in zip(rows, table.responses, strict=True):
            row[: response.size] = response
        self.register_buffer("responses", torch.from_numpy(rows), persistent=False)

    def forward(self, batch: DryBatch) -> tuple[Tensor, Tensor]:
        """Mixtures (batch, samples) and their sources (batch, source, samples), as mixing.render makes them."""
        dry, heard_by, target_by = batch
        n_samples = dry.shape[-1]
        n_fft = scipy.fft.next_fast_len(n_samples + self.responses.shape[-1] - 1, real=True)
        spectra = torch.fft.rfft(dry, n_fft)  # (batch, source + 1, frequencies)

        def through(spectra: Tensor, numbers: Tensor) -> Tensor:
            paths = torch.fft.rfft(self.responses[numbers], n_fft)
            signals: Tensor = torch.fft.irfft(spectra * paths, n_fft)
            return signals[..., :n_samples]

        heard = through(spectra, heard_by)
        sources = heard[:, :-1]
        if not self.targets_are_heard:
            sources = through(spectra[:, :-1], target_by)
        mixture = heard.sum(1)
        loudest = torch.maximum(heard.abs().amax((1, 2)), mixture.abs().amax(1)).clamp_min(1e-30)
        gain = PEAK / loudest
        return mixture * gain[:, None], sources * gain[:, None, None]
