"""Several designs, or other networks, trained under one budget and scored on one test set: the paper's table 1 for
one's own data."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from unbabble.base.output import check_origin, prepare
from unbabble.base.progress import UNWATCHED, Progress
from unbabble.errors import TrainingError
from unbabble.evaluation.evaluate import evaluate
from unbabble.evaluation.report import JSON, write_report
from unbabble.experiments.config import Comparison, Halving, TestConfig, design_in
from unbabble.experiments.halving import branch_of, survivors, train_round
from unbabble.experiments.table import Scored, rows_of, write_table
from unbabble.inference.model_folder import CARD, open_model
from unbabble.mixing.bank import kept_bank, make_bank, room_recipe_of
from unbabble.mixing.recipe import most_speakers
from unbabble.sets.read import read_set
from unbabble.sets.simulate import simulate
from unbabble.training.config import SeparationRecipe
from unbabble.training.recipe import recipe_of_run
from unbabble.training.run import LAST, train


def compare(
    comparison: Comparison,
    recipe: SeparationRecipe,
    out: Path,
    *,
    only: Sequence[str] = (),
    jobs: int = 1,
    progress: Progress = UNWATCHED,
) -> list[Path]:
    """Train, score and tabulate; see ``unbabble.compare``.

    recipe: what the designs have in common, by ``recipe_of``. The table holds every design that has been scored,
    wherever it was trained: ``out/runs`` of several machines can be put together.
    """
    recipe = _with_shared_data(recipe, out, jobs, progress)
    test = _test_set(comparison.test, recipe, out / "test", jobs, progress)

    def recipe_for(name: str, seed: int) -> SeparationRecipe:
        chosen = design_in(recipe, comparison.designs[name])
        return replace(chosen, seed=seed, model=replace(chosen.model, name=name))

    def score(run: Path) -> None:
        if not _is_scored(run):
            mixtures = read_set(test)
            found = evaluate(
                run / "model",
                mixtures,
                run / "scores",
                name="test",
                speakers=most_speakers(recipe.mixtures),  # lone talkers, whom a recipe may have too, have no scores
                network_only=True,
                jobs=jobs,
                progress=progress,
            )
            write_report(found, run / "scores")

    if comparison.halving is not None:
        return _halve(comparison, comparison.halving, out, only, recipe_for, score, progress)
    for name in only or comparison.designs:
        for seed in comparison.seeds:
            run = run_folder(out, name, seed)
            _train(recipe_for(name, seed), run, progress)
            score(run)
    return tabulate(comparison, out)


def _halve(
    comparison: Comparison,
    halving: Halving,
    out: Path,
    only: Sequence[str],
    recipe_for: Callable[[str, int], SeparationRecipe],
    score: Callable[[Path], None],
    progress: Progress,
) -> list[Path]:
    """Round after round, as far as all that compete have been scored. Returns the files of the last table."""
    (seed,), names, written = comparison.seeds, list(comparison.designs), []
    for number, minutes in enumerate(halving.minutes, start=1):
        for name in names:
            if not only or name in only:
                score(train_round(recipe_for(name, seed), halving, minutes, run_folder(out, name, seed), progress))
        branches = {name: branch_of(run_folder(out, name, seed), minutes) for name in names}
        scored = [_scored(comparison, name, [run]) for name, run in branches.items() if _is_scored(run)]
        if scored:
            prepare(out / f"round-{number}" / "table.md")
            written = write_table(scored, comparison.score, out / f"round-{number}")
        if len(scored) < len(names) or number == len(halving.minutes):
            break
        averages = {row.name: row.average for row in rows_of(scored, comparison.score)}
        names = survivors(names, averages.__getitem__, halving.keep[number - 1])
    return written


def tabulate(comparison: Comparison, out: Path) -> list[Path]:
    """The table and the curve of all designs that have been scored.

    Raises TrainingError where there are none, and ModelError where the model of one is missing or damaged.
    """
    scored = []
    for name in comparison.designs:
        runs = [run_folder(out, name, seed) for seed in comparison.seeds]
        if done := [run for run in runs if _is_scored(run)]:
            scored.append(_scored(comparison, name, done))
    if not scored:
        raise TrainingError(f"{out}: no design has been trained and scored here yet; leave --table out to do so")
    return write_table(scored, comparison.score, out)


def _is_scored(run: Path) -> bool:
    return (run / "scores" / JSON).is_file()


def _scored(comparison: Comparison, name: str, runs: Sequence[Path]) -> Scored:
    design = comparison.designs[name]
    n_mixtures = sum(map(_n_mixtures, runs)) / len(runs)
    return Scored(name, None if isinstance(design, tuple) else design, [run / "scores" for run in runs], n_mixtures)


def run_folder(out: Path, name: str, seed: int) -> Path:
    """Of one design and seed."""
    return out / "runs" / f"{name}-seed{seed}"


def _train(recipe: SeparationRecipe, run: Path, progress: Progress) -> None:
    started = (run / LAST).exists()
    if started:
        stated, wanted = (
            {name: getattr(one, name) for name in ("seed", "mixtures", "network", "training")}
            for one in (recipe_of_run(run), recipe)
        )
        check_origin(run, stated, wanted, "a run", TrainingError)
    if not (run / "model" / CARD).is_file():
        train(recipe, run, started, progress)


def _n_mixtures(run: Path) -> float:
    """From how many mixtures the exported weights have learned."""
    training = open_model(run / "model").card["training"]
    settings = training["settings"]
    return float(training["steps"] * settings["batch_size"] * settings["accumulate"])


def _with_shared_data(recipe: SeparationRecipe, out: Path, jobs: int, progress: Progress) -> SeparationRecipe:
    """Decoded audio and rooms that all runs share, made once."""
    rooms, mixtures = out / "rooms.npz", recipe.mixtures
    has_rooms = any(part.recipe.room is not None for part in mixtures)
    if has_rooms:
        facts = recipe.data.rooms, most_speakers(mixtures) + 1, recipe.network.sample_rate, recipe.seed
        kept_bank(rooms, partial(make_bank, room_recipe_of(mixtures), *facts, jobs, progress))
    data = replace(recipe.data, cache=recipe.data.cache or out.absolute() / "decoded")
    return replace(recipe, data=replace(data, bank=rooms.absolute()) if has_rooms else data)


def _test_set(config: TestConfig, recipe: SeparationRecipe, folder: Path, jobs: int, progress: Progress) -> Path:
    """The mixtures to test on, by the recipe's own."""
    data = recipe.data
    simulate(
        data.speech,
        data.noise,
        folder,
        recipe.mixtures,
        count=config.count,
        seed=config.seed,
        splits=data.splits,
        split=config.split,
        jobs=jobs,
        progress=progress,
    )
    return folder
