"""A page on which mixtures are heard and seen: one HTML file that needs nothing else."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unbabble.base.output import write_whole
from unbabble.mixing.plan import Plan
from unbabble.mixing.render import Mixture
from unbabble.mixing.rooms import EARLY_S
from unbabble.sets.page import Signals, fill, show

TARGETS = {
    "reverberant": "all that arrives of each talker, reverberation included",
    "early": f"what arrives of each talker within {EARLY_S * 1000:.0f} ms of the direct sound",
    "direct": "the direct sound of each talker alone",
}


@dataclass(frozen=True)
class Section:
    """One mixture as the template shows it. signals: the mixture, its sources in order, the noise if any."""

    id: str
    plan: Plan
    signals: Signals

    @property
    def distances(self) -> list[float]:
        """From the microphone to each talker in order, then to the noise, in metres; empty without a room."""
        room = self.plan.room
        return [math.dist(source, room.microphone_m) for source in room.sources_m] if room else []


def write_preview(mixtures: Iterable[tuple[str, Mixture]], path: Path, title: str) -> None:
    """Write a page with a section for each mixture, which comes with its id. Raises OutputError."""
    sections = [_section(id, mixture) for id, mixture in mixtures]
    write_whole(path, fill("sets/preview.html.jinja", title=title, sections=sections, targets=TARGETS))


def _section(id: str, mixture: Mixture) -> Section:
    plan = mixture.plan
    heard = [mixture.mixture, *mixture.sources, *([mixture.noise] if plan.noise else [])]
    return Section(id, plan, show(heard, plan.sample_rate))
