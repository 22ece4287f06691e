"""The commands that make models: train, compare, export, quantize."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbabble.base.extra import extra
from unbabble.cli.screen import Screen
from unbabble.training.processes import keep_freed_memory

if TYPE_CHECKING:  # the extra is not always there
    from unbabble.training.config import Recipe

RecipeAndChanges = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE [KEY=VALUE]...",
        help="YAML with every number that the run needs, and what to change in it: training.batch_size=8 ...",
    ),
]
OtherSpeech = Annotated[
    list[Path] | None, typer.Option(help="Corpus folder or manifest, instead of the recipe's; may be repeated.")
]
OtherNoise = Annotated[list[Path] | None, typer.Option(help="Folder of noises, instead of the recipe's.")]
OtherSplits = Annotated[Path | None, typer.Option(help="Split file, instead of the recipe's.")]
MaxMinutes = Annotated[
    float | None, typer.Option(min=0.01, help="Time to train for; the learning rate is fitted to it.")
]
Resume = Annotated[Path | None, typer.Option(help="Run to go on with, from its last checkpoint.")]


def train(
    arguments: RecipeAndChanges = None,
    out: Annotated[Path, typer.Option(help="Folder for the run: checkpoints, logs, model.")] = Path("runs/run"),
    speech: OtherSpeech = None,
    noise: OtherNoise = None,
    splits: OtherSplits = None,
    start: Annotated[str | None, typer.Option(help="Model to start from: a bundled one's name, or a folder.")] = None,
    max_minutes: MaxMinutes = None,
    resume: Resume = None,
    kind: Annotated[str, typer.Option(hidden=True)] = "separation",
) -> None:
    """Train a separator, or a diarizer, by a recipe; ends with a model folder."""
    with extra("train"):
        from unbabble.training.early import check_early, recipe_values

        if resume is not None:
            recipe_values(resume)
        elif arguments:
            check_early(Path(arguments[0]), speech, start, arguments[1:])

        from unbabble.training.fit import train as train_by

        keep_freed_memory()
        settings = {"training.max_minutes": max_minutes, "training.start": start}
        recipe = _recipe(arguments, resume, kind, (speech, noise, splits), settings)
        model = train_by(recipe, resume or out, resume is not None, Screen())
    if model is not None:  # only one of several processes has it
        print(model)


def compare(
    comparison: Annotated[Path, typer.Argument(help="YAML of designs and what they have in common.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs, the test set and the table.")],
    speech: OtherSpeech = None,
    noise: OtherNoise = None,
    splits: OtherSplits = None,
    only: Annotated[list[str] | None, typer.Option(help="Train this design only; may be repeated.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing: join what is there.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes for the test set and the scores.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train several designs under one budget, score them, and write the table beside the paper's.

    Started again with the same settings, it goes on where it was stopped.
    """
    screen = Screen(quiet)
    with extra("compare"):
        from unbabble.base.config import read_yaml

        read_yaml(comparison)  # where there is none, that is told before PyTorch is loaded

        from unbabble.experiments.compare import compare as compare_all
        from unbabble.experiments.compare import read_comparison, tabulate

        keep_freed_memory()
        chosen = read_comparison(comparison)
        if table:
            written = tabulate(chosen, out)
        else:
            written = compare_all(
                chosen,
                out,
                speech=speech,
                noise=noise,
                splits=splits,
                only=only or (),
                jobs=jobs,
                progress=screen,
            )
    screen.result(written[0].read_text(encoding="utf-8"))
    for path in written:
        screen.result(path)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
) -> None:
    """Make a model folder from the best checkpoint of a run."""
    with extra("export"):
        from unbabble.training.early import recipe_values

        recipe_values(run)  # where there are none, that is told before PyTorch is loaded

        from unbabble.training.fit import export_run

        print(export_run(run, out))


def quantize(
    model: Annotated[str, typer.Argument(help="A bundled model's name, or a model folder.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
) -> None:
    """Make a smaller, faster copy of a model, whose LSTMs count in 8 bits."""
    with extra("quantize"):
        from unbabble.inference.model_folder import open_model

        open_model(model)  # what is wrong with it is told before much is loaded

        from unbabble.training.quantize import quantize_model

        print(quantize_model(model, out))


def _recipe(
    arguments: Sequence[str] | None,
    resume: Path | None,
    kind: str,
    data: tuple[Sequence[Path] | None, Sequence[Path] | None, Path | None],
    settings: dict[str, Any],
) -> "Recipe":
    """The recipe of a file or a run, with other folders of data and what else is set; None stays as it is.

    kind: what it is a recipe of where it does not say.
    """
    from unbabble.training.checkpoint import recipe_of_run
    from unbabble.training.config import read_recipe, with_changes, with_data

    changes = list(arguments or [])
    if resume is None and not changes:
        raise typer.BadParameter("give a recipe, or --resume with the folder of a run")
    recipe = read_recipe(Path(changes.pop(0)), kind) if resume is None else recipe_of_run(resume, kind)
    changes += [f"{key}={value}" for key, value in settings.items() if value is not None]
    return with_changes(with_data(recipe, *data), changes)
