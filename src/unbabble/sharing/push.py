"""A model folder onto the Hub: all of it in one commit, or nothing."""

import sys
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import disable_progress_bars

from unbabble.errors import ModelError
from unbabble.inference.hub import HubName, hub_name, told
from unbabble.inference.model_folder import CARD, DIARIZATION, FILES, kind_of, open_diarizer, open_model, read_json
from unbabble.sharing.listing import MODEL
from unbabble.sharing.readme import readme


def push(folder: Path, name: str, private: bool, message: str | None) -> str:
    """See ``unbabble.push``."""
    model = folder / MODEL if (folder / MODEL / CARD).exists() else folder
    target = _target(name)
    card = _checked(model)
    page = CommitOperationAdd("README.md", readme(card, target.repository).encode())
    files = [CommitOperationAdd(file, model / file) for file in sorted(FILES) if (model / file).exists()]
    if not sys.stderr.isatty():
        disable_progress_bars()
    api = HfApi()
    with told(target):
        api.create_repo(target.repository, private=private or None, exist_ok=True)
        made = api.create_commit(
            target.repository,
            [page, *files],
            revision=target.revision,
            commit_message=message or f"{card['name']} {card['version']}",
        )
    return str(made.commit_url)


def _target(name: str) -> HubName:
    target = hub_name(name)
    if target is None:
        raise ModelError(f"{name}: not the name of a model on the Hub; expected OWNER/NAME")
    return target


def _checked(model: Path) -> dict[str, object]:
    """The card of a whole folder. Raises ModelError."""
    if not (model / CARD).exists():
        raise ModelError(
            f"{model}: neither a model folder nor a training run that has ended with one ({MODEL}/{CARD})"
        )
    if kind_of(read_json(model / CARD)) == DIARIZATION:
        return open_diarizer(model).card
    return open_model(model).card
