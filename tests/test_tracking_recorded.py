"""Who talks when in what the networks once made of conversations of synthetic voices (Kokoro-82M), and whose is what.

``benchmarks/record_fixture.py`` has recorded them, and says what is in the files. Every number of tracking decides
something here: with a weight of nothing, or estimates in another order, a test fails.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from unbabble.tracking.parameters import Parameters
from unbabble.tracking.people import Bounds, KnownPeople, Pieces, find_people, pieces_of
from unbabble.tracking.stitch import WindowFrames
from unbabble.tracking.viterbi import Observations, decode

PARAMETERS = Parameters()
FRAMES = WindowFrames(16000, 160_000, 32_000)


class Recorded(NamedTuple):
    """Windows, whom each estimate holds in them, and who talks: (people, frames)."""

    seen: list
    held: list
    truth: np.ndarray

    @property
    def size(self):
        return self.seen[0].embeddings.shape[2]

    @property
    def pieces(self):
        return [pieces_of(one, FRAMES.unheard(number), PARAMETERS) for number, one in enumerate(self.seen)]

    def people(self, speakers="auto"):
        return find_people(Pieces.joined(self.pieces, self.size), Bounds.of(speakers), PARAMETERS)

    def owners(self, speakers="auto"):
        people = self.people(speakers)
        return [decode(one, people, PARAMETERS) for one in self.seen]


def recorded(name):
    with np.load(Path(__file__).parent / "tracking" / f"{name}.npz") as file:
        numbers = range(sum(key.startswith("counts") for key in file))
        keys = ("counts", "embeddings", "levels")
        seen = [Observations(*(file[f"{key}{n}"].astype(np.float32) for key in keys)) for n in numbers]
        return Recorded(seen, [file[f"owners{n}"] for n in numbers], file["truth"])


def activity(owners, truth):
    """Who is decided to talk: (people, frames)."""
    active = np.zeros_like(truth)
    for number, one in enumerate(owners):
        decided = FRAMES.decided(number)
        first = FRAMES.first(number) + decided.start
        now = active[:, first : first + len(one) - decided.start]
        now[:] = (one[decided] == np.arange(len(truth))[:, None, None]).any(2)[:, : now.shape[1]]
    return active


def shares(conversation, owners):
    """Of the speech: missed; said to be a person's who is silent, in speech and in silence; changes a second."""
    truth = conversation.truth
    active = activity(owners, truth)
    false = (active & ~truth).sum(0)
    changes = (active[:, 1:] != active[:, :-1]).sum() / (truth.shape[1] * 0.04)
    return tuple(
        float(number)
        for number in (
            (truth & ~active).sum() / truth.sum(),
            false[truth.any(0)].sum() / truth.sum(),
            false[~truth.any(0)].sum() / truth.sum(),
            changes,
        )
    )


def pairs(conversation, owners):
    """Of the frames in which two talk and both are found: how many have each estimate with whom it holds most of,
    how many have it the other way round; of both orders of the estimates there are some."""
    right = wrong = 0
    for number, (one, held) in enumerate(zip(owners, conversation.held, strict=True)):
        truth = conversation.truth[:, FRAMES.first(number) :][:, : len(one)]
        one, held = one[: truth.shape[1]], held[: truth.shape[1]]
        two = (truth.sum(0) == 2) & (one >= 0).all(1) & (held[:, 0] != held[:, 1])
        right += int((one == held)[two].all(1).sum())
        wrong += int((one == held[:, ::-1])[two].all(1).sum())
    return right, wrong


@pytest.mark.parametrize(
    ("name", "n_people", "most", "n_right", "n_wrong"),
    [  # most: missed, false in speech, false in silence, changes a second
        ("two", 2, (0.015, 0.018, 0.072, 0.78), 176, 0),
        ("two-lively", 2, (0.004, 0.13, 0.072, 0.70), 139, 0),
        ("four", 4, (0.018, 0.026, 0.075, 0.92), 80, 18),
    ],
)
def test_people_are_found_counted_and_followed_as_they_talk(name, n_people, most, n_right, n_wrong):
    conversation = recorded(name)
    assert len(conversation.people()) == len(conversation.truth) == n_people
    owners = conversation.owners()
    assert [found <= limit for found, limit in zip(shares(conversation, owners), most, strict=True)] == [True] * 4
    right, wrong = pairs(conversation, owners)
    assert right >= n_right
    assert wrong <= n_wrong


@pytest.mark.parametrize("name", ["two", "two-lively", "four"])
def test_the_order_of_the_estimates_is_of_no_consequence(name):
    conversation = recorded(name)
    people = conversation.people()
    for one in conversation.seen:
        turned = Observations(one.counts, one.embeddings[[0, 2, 1]], one.levels[::-1])
        owners, others = (decode(seen, people, PARAMETERS) for seen in (one, turned))
        assert (owners[:, ::-1] == others).mean() > 0.97  # of two equally good paths, any may be taken
    assert len({tuple(row) for held in conversation.held for row in np.unique(held, axis=0).tolist()}) > 2


@pytest.mark.parametrize("name", ["two", "two-lively", "four"])
def test_a_stream_finds_people_as_they_come_and_follows_them(name):
    conversation = recorded(name)
    known, owners = KnownPeople(10, PARAMETERS, conversation.size), []
    for one, pieces in zip(conversation.seen, conversation.pieces, strict=True):
        known.hear(pieces)
        owners.append(decode(one, known.embeddings, PARAMETERS))
    assert len(known.embeddings) == len(conversation.truth)
    missed, false, _, _ = shares(conversation, owners)
    assert missed < 0.1
    assert false < 0.2
