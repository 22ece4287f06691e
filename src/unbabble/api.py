"""The toolkit from Python: each function does what the command of its name does, which calls it.

All but ``corpus``, ``models`` and ``push`` need the extra ``train``. What can be refused without PyTorch, which takes
seconds to load, is refused before that.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from unbabble.base.progress import UNWATCHED, Progress
from unbabble.errors import ArgumentError, MissingExtra

if TYPE_CHECKING:
    from unbabble.corpora.scan import Scan
    from unbabble.evaluation.evaluate import Evaluation
    from unbabble.sharing.listing import Listed

Folder = str | Path
Folders = Folder | Sequence[Folder]


def corpus(
    sources: Folders, out: Folder, *, noise: bool = False, layout: str = "auto", progress: Progress = UNWATCHED
) -> "Scan":
    """List a corpus as a manifest: speakers (or noises), files, durations, splits.

    Parameters
    ----------
    sources
        Folders of speech, or of noise, and manifests.
    out
        The manifest, .csv or .jsonl.
    noise
        Whether it is a corpus of noises, which have no speakers.
    layout
        Of the folders; ``auto``: recognised.
    progress
        Told what goes on.

    Returns
    -------
    Scan
        The ``corpus``, and a line for each file that is ``unreadable``.

    Raises
    ------
    CorpusError
        Where a folder is missing, of no known layout, or holds nothing that can be read.
    OutputError
        Where the manifest cannot be written.
    ValueError
        For another layout or suffix.

    Examples
    --------
    >>> corpus("my/speech", "speech.csv").corpus  # doctest: +SKIP
    """
    from unbabble.base.output import prepare
    from unbabble.corpora.manifest import MANIFEST_SUFFIXES, write_manifest
    from unbabble.corpora.readers import LAYOUTS, Kind
    from unbabble.corpora.scan import scan

    kind: Kind = "noise" if noise else "speech"
    if layout not in ("auto", *LAYOUTS[kind]):
        raise ArgumentError(f"layout {layout!r} is not one of auto, {', '.join(LAYOUTS[kind])}")
    manifest = Path(out)
    if manifest.suffix.lower() not in MANIFEST_SUFFIXES:
        raise ArgumentError(f"{manifest} ends in none of {', '.join(MANIFEST_SUFFIXES)}")
    prepare(manifest)
    remembered = manifest.with_name(f"{manifest.name}.scan.jsonl")
    found = scan(_paths(sources) or [], kind, layout=layout, cache=remembered, progress=progress)
    write_manifest(found.corpus, manifest)
    return found


def rooms(
    out: Folder,
    count: int,
    *,
    recipe: Folder | None = None,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress = UNWATCHED,
) -> Path:
    """Make a bank of rooms, from which ``simulate`` and ``train`` draw instead of computing each.

    Parameters
    ----------
    out
        The bank, .npz.
    count
        Number of rooms.
    recipe
        YAML whose ``mixtures`` the rooms are for; None: the paper's.
    seed
        With its number, it defines each room.
    jobs
        Processes; the rooms are the same for any number.
    progress
        Told what goes on.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    MissingExtra, RecipeError, CorpusError, OutputError
        Where the rooms cannot be computed or written.
    """
    with _extra("rooms"):
        from unbabble.base.output import prepare
        from unbabble.mixing.bank import make_bank, room_recipe_of
        from unbabble.mixing.recipe import most_speakers, read_mixtures

        mixtures, bank = read_mixtures(None if recipe is None else Path(recipe)), Path(out)
        room, sample_rate = room_recipe_of(mixtures), mixtures[0].recipe.sample_rate
        prepare(bank)
        make_bank(room, count, most_speakers(mixtures) + 1, sample_rate, seed, jobs, progress).save(bank)
    return bank


def simulate(
    speech: Folders,
    out: Folder,
    count: int = 0,
    *,
    listed: Folder | None = None,
    noise: Folders = (),
    recipe: Folder | None = None,
    seed: int = 0,
    rooms: Folder | None = None,
    splits: Folder | None = None,
    split: str | None = None,
    audio_format: str = "flac",
    dry: bool = False,
    preview: int = 0,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress = UNWATCHED,
) -> list[Path] | list[str]:
    """Write mixtures with their separate truths.

    Parameters
    ----------
    speech, noise
        Corpus folders or manifests.
    out
        Folder for the mixtures. What is there already is not made again.
    count
        Number of mixtures to draw.
    listed
        List of mixtures to render instead.
    recipe
        YAML whose ``mixtures`` are drawn from; None: the paper's.
    seed
        With its number, it defines each mixture.
    rooms
        Bank of rooms to draw from (see ``rooms``).
    splits, split
        JSON ``{split: {corpus: [name, ...]}}``, and the split to draw from; None: all that there is.
    audio_format
        ``flac`` or ``wav``, of 24 bits.
    dry
        Write the signals before the room as well.
    preview
        Mixtures that ``out/preview.html`` shows.
    jobs
        Processes; the mixtures are the same for any number.
    cluster
        Address of a Ray cluster that makes the mixtures instead, or ``"auto"``, the one that runs here. All its nodes
        have to see the corpora, and ``out``, unless that is a URL such as ``s3://bucket/mixtures``.
    progress
        Told what goes on, and what is left out.

    Returns
    -------
    list of Path
        What was written: the manifest, the page; in a folder by URL, their URLs.

    Raises
    ------
    MissingExtra, ClusterError, CorpusError, RecipeError, AudioError, OutputError, ValueError
        Where the mixtures cannot be made.

    Examples
    --------
    >>> simulate("LibriSpeech", "mixtures", 3000, noise="my/noise", split="test")  # doctest: +SKIP
    """
    with _extra("simulate"):
        from unbabble.mixing.recipe import read_mixtures
        from unbabble.sets.simulate import simulate as simulate_set
        from unbabble.sets.write import FORMATS

        if audio_format not in FORMATS:
            raise ArgumentError(f"format {audio_format!r} is not one of {', '.join(FORMATS)}")
        if cluster is None and "://" in str(out):
            raise ArgumentError(f"{out}: a URL is written by a cluster; cluster 'local' starts one here")
        simulated = partial(
            simulate_set,
            _paths(speech) or [],
            _paths(noise) or [],
            mixtures=read_mixtures(_path(recipe)),
            count=count,
            listed=_path(listed),
            seed=seed,
            jobs=jobs,
            bank=_path(rooms),
            splits=_path(splits),
            split=split,
            audio_format=audio_format,
            dry=dry,
            preview=preview,
            progress=progress,
        )
        if cluster is None:
            return simulated(Path(out))

        from unbabble.cluster.simulation import simulating

        with simulating(cluster, str(out)) as (place, make, shown):
            return [shown(path) for path in simulated(place, make=make)]


def train(
    recipe: Folder | None,
    out: Folder,
    *,
    speech: Folders | None = None,
    noise: Folders | None = None,
    splits: Folder | None = None,
    changes: Sequence[str] = (),
    resume: bool = False,
    kind: str = "separation",
    progress: Progress = UNWATCHED,
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
    kind
        What it is a recipe of, where it does not say.
    progress
        Told what goes on before the first step.

    Returns
    -------
    Path or None
        The model folder, ``out/model``; None in all but the first of several processes (torchrun).

    Raises
    ------
    MissingExtra, RecipeError, CorpusError, AudioError, TrainingError, ModelError, OutputError, ValueError
        Where training cannot start or go on.

    Examples
    --------
    >>> train("recipes/default.yaml", "runs/mine", speech="my/speech", noise="my/noise")  # doctest: +SKIP
    """
    with _extra("train"):
        from unbabble.training.recipe import read_recipe, recipe_of_run, with_changes, with_data
        from unbabble.training.run import train as train_by

        if recipe is None and not resume:
            raise ArgumentError("give a recipe, or resume with the folder of a run")
        chosen = recipe_of_run(Path(out), kind) if recipe is None else read_recipe(Path(recipe), kind)
        data = _paths(speech), _paths(noise), _path(splits)
        return train_by(with_changes(with_data(chosen, *data), changes), Path(out), resume, progress)


def evaluate(
    model: Folder,
    mixtures: Folder,
    out: Folder,
    *,
    mixture: str | None = None,
    metrics: Sequence[str] | None = None,
    bins: Sequence[float] = (0.25, 0.5, 0.75),
    speakers: int | None = None,
    limit: int | None = None,
    network_only: bool = False,
    jobs: int = 1,
    device: str = "auto",
    progress: Progress = UNWATCHED,
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
    mixture
        Folder of mixtures in the set, such as mix_clean.
    metrics
        Of si_sdr, sdr, stoi, estoi and pesq; None: all that are installed.
    bins
        Edges of the bins of the overlap ratio, 0 to 1.
    speakers
        Only mixtures of so many speakers.
    limit
        Only so many mixtures, the first.
    network_only
        Score the network alone, without windows and diarizer.
    jobs
        Processes; the scores are the same for any number.
    device
        What runs the model, as of ``Separator``.
    progress
        Told what goes on.

    Returns
    -------
    Evaluation
        All scores: ``results``, one for each mixture, ``tables``, and a line for each mixture that is
        ``unreadable``.

    Raises
    ------
    MissingExtra, ModelError, CorpusError, AudioError, OutputError, ValueError
        Where mixtures cannot be read, separated or scored.

    Examples
    --------
    >>> evaluate("default", "mixtures", "scores").tables  # doctest: +SKIP
    """
    with _extra("evaluate"):
        from unbabble.evaluation.bins import overlap_bins
        from unbabble.evaluation.metrics import METRICS, installed
        from unbabble.inference.devices import check_device
        from unbabble.inference.model_folder import open_model
        from unbabble.sets.read import read_set

        chosen, edges = installed(metrics), overlap_bins(tuple(bins))
        check_device(device)
        open_model(model)
        folder = read_set(Path(mixtures), mixture=mixture)

        from unbabble.evaluation.evaluate import evaluate as evaluate_on
        from unbabble.evaluation.report import write_report

        if metrics is None and len(chosen) < len(METRICS):
            missing = ", ".join(metric.label for name, metric in METRICS.items() if name not in chosen)
            progress.notice(f'left out: {missing}; for them pip install "unbabble[metrics]"')
        found = evaluate_on(
            model,
            folder,
            Path(out),
            name=Path(mixtures).absolute().name,
            metrics=chosen,
            bins=edges,
            speakers=speakers,
            limit=limit,
            network_only=network_only,
            jobs=jobs,
            device=device,
            progress=progress,
        )
        write_report(found, Path(out))
    return found


def compare(
    comparison: Folder,
    out: Folder,
    *,
    speech: Folders | None = None,
    noise: Folders | None = None,
    splits: Folder | None = None,
    only: Sequence[str] = (),
    table: bool = False,
    jobs: int = 1,
    progress: Progress = UNWATCHED,
) -> list[Path]:
    """Train several designs under one budget, score them, and write the table beside the paper's.

    Parameters
    ----------
    comparison
        YAML of designs and what they have in common.
    out
        Folder for the runs, the test set and the table. What is there already is not made again.
    speech, noise, splits
        Instead of the recipe's, as of ``train``.
    only
        Names of the designs to train now; none: all.
    table
        Train nothing, join what is there.
    jobs
        Processes for the test set and the scores.
    progress
        Told what goes on.

    Returns
    -------
    list of Path
        The files of the table.

    Raises
    ------
    MissingExtra, RecipeError, CorpusError, AudioError, TrainingError, ModelError, OutputError
        Where a design cannot be trained or scored.

    Examples
    --------
    >>> compare("recipes/table1-small.yaml", "table", speech="my/speech")  # doctest: +SKIP
    """
    with _extra("compare"):
        from unbabble.experiments.config import read_comparison, recipe_of

        chosen = read_comparison(Path(comparison))
        data = _paths(speech), _paths(noise), _path(splits)
        recipe = None if table else recipe_of(chosen, *data, only=only)

        from unbabble.experiments.compare import compare as compare_all
        from unbabble.experiments.compare import tabulate

        if recipe is None:
            return tabulate(chosen, Path(out))
        return compare_all(chosen, recipe, Path(out), only=only, jobs=jobs, progress=progress)


def export(run: Folder, out: Folder) -> Path:
    """Make a model folder from the best checkpoint of a run.

    Parameters
    ----------
    run
        Folder of a training run.
    out
        The model folder, which is not there yet.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    MissingExtra, TrainingError, RecipeError, ModelError, OutputError
        Where the run has no checkpoint, or the folder cannot be made.
    """
    with _extra("export"):
        from unbabble.training.recipe import recipe_of_run

        recipe_of_run(Path(run))

        from unbabble.training.export import export_run

        return export_run(Path(run), Path(out))


def quantize(model: Folder, out: Folder) -> Path:
    """Make a smaller, faster copy of a model, whose LSTMs count in 8 bits.

    Parameters
    ----------
    model
        Name of a bundled model, or a model folder.
    out
        The new model folder.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    MissingExtra, ModelError, OutputError
        Where the model cannot be read, or the folder cannot be made.
    """
    with _extra("quantize"):
        from unbabble.inference.model_folder import open_model

        open_model(model)

        from unbabble.training.quantize import quantize_model

        return quantize_model(model, Path(out))


def models(folders: Folders = ()) -> "tuple[Listed, ...]":
    """The models there are: bundled, from the Hub in the cache, and at any depth in some folders, such as runs.

    Parameters
    ----------
    folders
        Where to look for model folders.

    Returns
    -------
    tuple of Listed
        Each with the name by which it is ``use``d, ``where`` it is, its ``card``, and its ``size`` in bytes.
    """
    from unbabble.sharing.listing import list_models

    return list_models(_paths(folders) or [])


def push(run: Folder, name: str, *, private: bool = False, message: str | None = None) -> str:
    """Put a model onto the Hugging Face Hub, with a page made from its card: all of it in one commit, or nothing.

    Parameters
    ----------
    run
        A model folder, or a training run, which has one.
    name
        ``OWNER/NAME``, or ``OWNER/NAME@BRANCH`` for a branch that is there. The repository is made where it is
        missing.
    private
        Whether one that is made is only for its owner.
    message
        Of the commit; None: the model's name and version.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    MissingExtra, ModelError
        Where the folder is no whole model, or the Hub does not take it.

    Examples
    --------
    >>> push("runs/mine", "me/my-model")  # doctest: +SKIP
    """
    with _extra("push", "hub"):
        from unbabble.sharing.push import push as push_model
    return push_model(Path(run), name, private, message)


def _path(path: Folder | None) -> Path | None:
    return None if path is None else Path(path)


def _paths(folders: Folders | None) -> list[Path] | None:
    if folders is None:
        return None
    return [Path(folder) for folder in ([folders] if isinstance(folders, str | Path) else folders)]


@contextmanager
def _extra(command: str, name: str = "train") -> Iterator[None]:
    """Name the installation that a command needs, where a package of it is missing. name: of the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f"unbabble {command} ({error.name})", name) from error
