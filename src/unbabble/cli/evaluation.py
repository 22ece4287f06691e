"""The command that scores a model."""

from pathlib import Path
from typing import Annotated

import typer

from unbabble.base.extra import extra
from unbabble.cli.screen import Screen


def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled model's name, or a model folder.")],
    dataset: Annotated[Path, typer.Argument(help="Folder of a set of mixtures with their truths.")],
    out: Annotated[Path, typer.Option(help="Folder for scores and report; made where missing.")],
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")] = 1,
    bins: Annotated[str, typer.Option(help="Edges of the bins of the overlap ratio, 0 to 1.")] = "0.25,0.5,0.75",
    metrics: Annotated[
        str | None, typer.Option(help="Of si_sdr,sdr,stoi,estoi,pesq; by default all that are installed.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many mixtures, the first.")] = None,
    speakers: Annotated[int | None, typer.Option(min=0, help="Only mixtures of so many speakers.")] = None,
    mixture: Annotated[str | None, typer.Option(help="Folder of mixtures in the set, such as mix_clean.")] = None,
    network_only: Annotated[
        bool, typer.Option("--network-only", help="Score the network alone, without windows and diarizer.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table, no progress and no notices.")] = False,
) -> None:
    """Score a model on a set of mixtures: tables, JSON, and a page with plots and the worst to listen to.

    Mixtures whose files cannot be read are named and left out; the exit code is then 1.
    Started again with the same settings, it goes on where it was stopped.
    """
    screen = Screen(quiet)
    with extra("evaluate"):
        from unbabble.evaluation.bins import read_edges
        from unbabble.inference.model_folder import open_model
        from unbabble.sets.read import read_set

        open_model(model)  # and what else may be wrong is told before PyTorch is loaded, which takes seconds
        mixtures = read_set(dataset, mixture=mixture)
        try:
            edges = read_edges(bins)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

        from unbabble.evaluation.evaluate import evaluate as evaluate_on
        from unbabble.evaluation.metrics import METRICS, installed, read_names
        from unbabble.evaluation.report import write_report
        from unbabble.evaluation.text import markdown

        try:
            asked = None if metrics is None else read_names(metrics)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        chosen = installed(asked)
        if asked is None and len(chosen) < len(METRICS):
            missing = ", ".join(metric.label for name, metric in METRICS.items() if name not in chosen)
            screen.notice(f'left out: {missing}; for them pip install "unbabble[metrics]"')
        found = evaluate_on(
            model,
            mixtures,
            out,
            name=dataset.absolute().name,
            metrics=chosen,
            bins=edges,
            speakers=speakers,
            limit=limit,
            network_only=network_only,
            jobs=jobs,
            progress=screen,
        )
        written = write_report(found, out)
    screen.result(markdown(found))
    for path in written:
        screen.result(path)
    for reason in found.unreadable:
        screen.say(f"error: {reason}; left out")
    if found.unreadable:
        raise typer.Exit(1)
