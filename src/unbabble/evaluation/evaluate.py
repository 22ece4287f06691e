"""A separator's scores on drawn mixtures."""

from collections.abc import Callable
from dataclasses import dataclass

from unbabble.evaluation.metrics import Scores, score
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.plan import Plan
from unbabble.separator import Separator


@dataclass(frozen=True)
class Result:
    """What one mixture was and how well it was separated."""

    plan: Plan
    scores: Scores


def evaluate(
    separator: Separator, mixer: Mixer, sample_rate: int, count: int, progress: Callable[[int], None] = lambda _: None
) -> list[Result]:
    """Separate mixtures 0 to count - 1 of the mixer, which come at ``sample_rate`` Hz, and score them."""
    results = []
    for index in range(count):
        drawn = mixer(index)
        estimates = separator(drawn.mixture, sample_rate, len(drawn.sources))
        results.append(Result(drawn.plan, score(estimates, drawn.sources, drawn.mixture)))
        progress(index + 1)
    return results
