"""Train, evaluate and simulate from Python, as the commands of these names do. Each needs the extra ``train``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unbabble.base.extra import extra

if TYPE_CHECKING:
    from unbabble.evaluation.evaluate import Evaluation

Folder = str | Path
Folders = Folder | Sequence[Folder]


def train(
    recipe: Folder | None,
    out: Folder,
    *,
    speech: Folders | None = None,
    noise: Folders | None = None,
    splits: Folder | None = None,
    changes: Sequence[str] = (),
    resume: bool = False,
) -> Path | None:
    """Train a network by a recipe.

    Parameters
    ----------
    recipe
        YAML file with every number that the run needs; None with ``resume``, which has the run's own.
    out
        Folder for the run: checkpoints, logs, model.
    speech, noise
        Corpus folders or manifests instead of the recipe's.
    splits
        Split file instead of the recipe's.
    changes
        What to change in the recipe, as ``training.batch_size=8``.
    resume
        Go on from the run's last checkpoint.

    Returns
    -------
    Path or None
        The model folder, ``out/model``; None in all but the first of several processes (torchrun).

    Raises
    ------
    MissingExtra, RecipeError, CorpusError, AudioError, TrainingError, ModelError, OutputError
        Where training cannot start or go on.

    Examples
    --------
    >>> train("recipes/default.yaml", "runs/mine", speech="my/speech", noise="my/noise")  # doctest: +SKIP
    """
    with extra("train"):
        from unbabble.training.early import check_early

        if recipe is not None:
            check_early(Path(recipe), _paths(speech), changes=changes)

        from unbabble.training.checkpoint import recipe_of_run
        from unbabble.training.config import read_recipe, with_changes, with_data
        from unbabble.training.fit import train as train_by

        if recipe is None and not resume:
            raise ValueError("give a recipe, or resume=True with the folder of a run")
        chosen = read_recipe(Path(recipe)) if recipe else recipe_of_run(Path(out))
        data = _paths(speech), _paths(noise), None if splits is None else Path(splits)
        return train_by(with_changes(with_data(chosen, *data), changes), Path(out), resume)


def evaluate(
    model: Folder,
    mixtures: Folder,
    out: Folder,
    *,
    metrics: Sequence[str] | None = None,
    speakers: int | None = None,
    limit: int | None = None,
    network_only: bool = False,
    jobs: int = 1,
) -> "Evaluation":
    """Score a model on a set of mixtures, and write tables, JSON and a page that shows them.

    Parameters
    ----------
    model
        Name of a bundled model, or a model folder.
    mixtures
        Folder of a set of mixtures with their truths.
    out
        Folder for scores and report. What is scored there already is not scored again.
    metrics
        Of si_sdr, sdr, stoi, estoi and pesq; None: all that are installed.
    speakers
        Only mixtures of so many speakers.
    limit
        Only so many mixtures, the first.
    network_only
        Score the network alone, without windows and diarizer.
    jobs
        Processes; the scores are the same for any number.

    Returns
    -------
    Evaluation
        All scores: ``results``, one for each mixture, and ``tables``.

    Raises
    ------
    MissingExtra, ModelError, CorpusError, AudioError, OutputError
        Where mixtures cannot be read, separated or scored.

    Examples
    --------
    >>> evaluate("default", "mixtures", "scores").tables  # doctest: +SKIP
    """
    with extra("evaluate"):
        from unbabble.evaluation.evaluate import evaluate as evaluate_on
        from unbabble.evaluation.metrics import installed
        from unbabble.evaluation.report import write_report
        from unbabble.sets.read import read_set

        folder = Path(mixtures)
        found = evaluate_on(
            model,
            read_set(folder),
            Path(out),
            name=folder.absolute().name,
            metrics=installed(None if metrics is None else tuple(metrics)),
            speakers=speakers,
            limit=limit,
            network_only=network_only,
            jobs=jobs,
        )
        write_report(found, Path(out))
    return found


def simulate(
    speech: Folders,
    out: Folder,
    count: int,
    *,
    noise: Folders = (),
    recipe: Folder | None = None,
    seed: int = 0,
    rooms: Folder | None = None,
    splits: Folder | None = None,
    split: str | None = None,
    preview: int = 0,
    jobs: int = 1,
) -> list[Path]:
    """Write mixtures with their separate truths.

    Parameters
    ----------
    speech, noise
        Corpus folders or manifests.
    out
        Folder for the mixtures. What is there already is not made again.
    count
        Number of mixtures.
    recipe
        YAML whose ``mixtures`` are drawn from; None: the paper's.
    seed
        With its number, it defines each mixture.
    rooms
        Bank of rooms to draw from (``unbabble rooms``).
    splits, split
        JSON ``{split: {corpus: [name, ...]}}``, and the split to draw from; None: all that there is.
    preview
        Mixtures that ``out/preview.html`` shows.
    jobs
        Processes; the mixtures are the same for any number.

    Returns
    -------
    list of Path
        What was written: the manifest, the page.

    Raises
    ------
    MissingExtra, CorpusError, RecipeError, AudioError, OutputError
        Where the mixtures cannot be made.

    Examples
    --------
    >>> simulate("LibriSpeech", "mixtures", 3000, noise="my/noise", split="test")  # doctest: +SKIP
    """
    with extra("simulate"):
        from unbabble.mixing.recipe import read_mixtures
        from unbabble.sets.simulate import simulate as simulate_set

        return simulate_set(
            _paths(speech) or [],
            _paths(noise) or [],
            Path(out),
            mixtures=read_mixtures(None if recipe is None else Path(recipe)),
            count=count,
            seed=seed,
            jobs=jobs,
            bank=None if rooms is None else Path(rooms),
            splits=None if splits is None else Path(splits),
            split=split,
            preview=preview,
        )


def _paths(folders: Folders | None) -> list[Path] | None:
    if folders is None:
        return None
    return [Path(folder) for folder in ([folders] if isinstance(folders, str | Path) else folders)]
