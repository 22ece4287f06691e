"""The page of a model on the Hub, made from its card: front matter for the Hub, and what people should know."""

from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from unbabble import __version__
from unbabble.errors import in_one_line
from unbabble.inference.model_folder import DIARIZATION, kind_of
from unbabble.sharing.listing import Score, license_of, scores_of

SOURCE = "https://arxiv.org/abs/2011.08400"
TASKS = {"separation": "audio-to-audio", "diarization": "voice-activity-detection"}  # as the Hub names them
METRICS = {"si_sdr": "SI-SDR", "si_sdri": "SI-SDRi"}
LICENSES = {  # of the Hub's, those by which models are published
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0"),
    *("cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "openrail"),
}


def readme(card: dict[str, Any], name: str) -> str:
    """README.md of a model.

    Parameters
    ----------
    card
        What model.json holds.
    name
        OWNER/NAME.
    """
    kind, scores = str(kind_of(card)), [score for figure in METRICS for score in scores_of(card, figure)]
    front = _front_matter(card, kind, scores)
    training = card.get("training", {})
    facts = {
        "Version": card.get("version"),
        "Sample rate": f"{card.get('sample_rate')} Hz",
        "Tracks": card.get("n_sources"),
        "Parameters": card.get("n_parameters"),
        "License": license_of(card),
        "Trained on": training.get("data"),
        "License of the data": training.get("data_license") or training.get("data_licence"),
        "Limits": card.get("limits"),
    }
    listed = "\n".join(f"- **{key}**: {in_one_line(value)}" for key, value in facts.items() if value is not None)
    use = "diarizer" if kind == DIARIZATION else "model"
    return (
        f"---\n{front}\n---\n\n# {in_one_line(card.get('name'))}\n\n"
        f"A network for {kind} of overlapping talkers, made with unbabble {__version__} ([paper]({SOURCE})).\n\n"
        f'```sh\npip install "unbabble[hub]"\nunbabble separate recording.wav --out out --{use} {name}\n```\n\n'
        f"```python\nfrom unbabble import Separator\n\n"
        f'tracks = Separator({"" if use == "model" else "diarizer="}"{name}")(samples, sample_rate)\n```\n\n'
        f"{listed}\n{_table(scores)}"
    )


def _front_matter(card: dict[str, Any], kind: str, scores: list[Score]) -> str:
    known = license_of(card).lower()
    is_known = known in LICENSES
    datasets = [str(one) for one in card.get("training", {}).get("datasets", ())]
    data = ModelCardData(
        license=known if is_known else "other",
        license_name=None if is_known else license_of(card),
        library_name="unbabble",
        pipeline_tag=TASKS.get(kind),
        tags=["unbabble", f"speech-{kind}", "onnx"],
        datasets=datasets or None,
        metrics=list(dict.fromkeys(score.figure for score in scores)) or None,
        model_name=str(card.get("name")),
        eval_results=[
            EvalResult(
                task_type=TASKS.get(kind, kind),
                dataset_type="unbabble",
                dataset_name=f"{score.part}, {score.row}: {score.what}",
                dataset_split=score.split or None,
                metric_type=score.figure,
                metric_name=f"{METRICS[score.figure]} (dB)",
                metric_value=score.mean,
            )
            for score in scores
        ]
        or None,
    )
    return str(data.to_yaml()).strip()


def _table(scores: list[Score]) -> str:
    if not scores:
        return ""
    rows: dict[tuple[str, str, int], dict[str, str]] = {}
    for score in scores:
        cells = rows.setdefault((score.part, score.row, score.count), {})
        cells[score.figure] = f"{score.mean:.1f} [{score.low:.1f}, {score.high:.1f}]"
    lines = [
        f"| {_cell(part)} | {_cell(row)} | {count} | {cells.get('si_sdr', '')} | {cells.get('si_sdri', '')} |"
        for (part, row, count), cells in rows.items()
    ]
    head = "| part | recordings | count | SI-SDR (dB) | SI-SDRi (dB) |\n|---|---|---|---|---|"
    return (
        "\n"
        + "\n".join([head, *lines])
        + "\n\nMeans with 95 % bootstrap intervals, of speakers not heard in training.\n"
    )


def _cell(text: str) -> str:
    return in_one_line(text).replace("|", "\\|")
