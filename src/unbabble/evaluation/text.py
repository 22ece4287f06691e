"""What an evaluation found as Markdown and as JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from unbabble.evaluation.escape import in_markdown, printable
from unbabble.evaluation.evaluate import Evaluation
from unbabble.evaluation.metrics import columns, label
from unbabble.evaluation.summary import AVERAGE, CONFIDENCE, Group, Table, cell

ABOUT = (
    f"Means over mixtures with {CONFIDENCE} % bootstrap intervals. SI-SDR and SDR are in dB; SI-SDRi and SDRi are "
    "what is gained over the mixture. Overlooked: the fraction of talkers without a track, who are scored as if the "
    "mixture were theirs. Overlap ratio: the fraction of a talker's speech during which another talks too."
)


def title(evaluation: Evaluation) -> str:
    return printable(f"{evaluation.model.name} {evaluation.model.version} on {evaluation.name}")


def costs(evaluation: Evaluation) -> dict[str, str]:
    """What the model needs, by name, as far as it is known."""
    speed, macs = evaluation.speed, evaluation.macs_per_second
    parameters, memory = evaluation.model.card.get("n_parameters"), speed.peak_memory_mb
    found = {
        "Parameters": parameters and f"{parameters / 1e6:.2f} M",
        "Multiply-accumulates": macs and f"{macs / 1e9:.2f} G a second of audio",
        "Real-time factor": f"{speed.real_time_factor:.3f} on one thread here",
        "Peak memory": memory and f"{memory:.0f} MB",
    }
    return {name: text for name, text in found.items() if text}


def counts(evaluation: Evaluation) -> dict[str, str]:
    """How many mixtures there are, and how many of them are special."""
    worse, unscored = evaluation.made_worse, evaluation.n_unscored
    found = {"Mixtures": str(len(evaluation.results))}
    if evaluation.unreadable:
        found["Left out, as they cannot be read"] = str(len(evaluation.unreadable))
    if unscored:
        found["Without scores (nobody talks, or a talker is silent)"] = str(unscored)
    if worse is not None:
        found["Made worse (SI-SDRi under 0)"] = f"{100 * worse:.1f} %"
        found["Talkers overlooked"] = str(evaluation.n_overlooked)
    return found


def markdown(evaluation: Evaluation) -> str:
    facts = {**counts(evaluation), **costs(evaluation)}
    listed = "\n".join(f"- {name}: {text}" for name, text in facts.items())
    shown = columns(evaluation.evaluator.metrics)
    tables = "\n\n".join(_table(table, shown) for table in evaluation.tables)
    return f"# {in_markdown(title(evaluation))}\n\n{listed}\n\n{ABOUT}\n\n{tables}\n"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of a table. Cells are Markdown; a bar inside one does not end it."""
    lines = ([printable(one).replace("|", r"\|") for one in cells] for cells in (head, ["---"] * len(head), *rows))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def as_json(evaluation: Evaluation) -> str:
    tables = {
        f"by_{table.key}": {group.name: _plain(group) for group in table.groups if group.name != AVERAGE}
        for table in evaluation.tables
    }
    content = {
        "model": {"name": evaluation.model.name, "version": evaluation.model.version},
        "mixtures": evaluation.name,
        "count": len(evaluation.results),
        "unscored": evaluation.n_unscored,
        "unreadable": len(evaluation.unreadable),
        "overlooked": evaluation.n_overlooked,
        "made_worse": evaluation.made_worse,
        "n_parameters": evaluation.model.card.get("n_parameters"),
        "macs_per_second": evaluation.macs_per_second,
        **asdict(evaluation.speed),
        AVERAGE: _plain(evaluation.tables[0].groups[-1]),
        **tables,
    }
    return json.dumps(content, indent=2) + "\n"


def _table(table: Table, shown: tuple[str, ...]) -> str:
    head = [table.title, "mixtures", *map(label, shown)]
    rows = [[one.name, str(one.count), *(cell(name, one.scores.get(name)) for name in shown)] for one in table.groups]
    return markdown_table(head, rows)


def _plain(group: Group) -> dict[str, Any]:
    return {"count": group.count, **{column: asdict(mean) for column, mean in group.scores.items()}}
