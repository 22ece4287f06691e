"""What a user can be told. Each message names what was wrong, what was expected and what to do."""


class UnbabbleError(Exception):
    """Base of every error that is the input's or the caller's, not a defect of unbabble."""


class AudioError(UnbabbleError):
    """A recording that cannot be read, or is not fit to be separated."""


class OutputError(UnbabbleError):
    """A result that cannot be written."""


class ModelError(UnbabbleError):
    """A model that is unknown, incomplete, damaged or made for something else."""


class CorpusError(UnbabbleError):
    """Folders of speech or noise from which the mixtures asked for cannot be made."""


class RecipeError(UnbabbleError):
    """A recipe file or value that is not understood."""


class TrainingError(UnbabbleError):
    """A training run that cannot start or go on."""


class ClusterError(UnbabbleError):
    """A cluster that is not there, or gone, or whose workers cannot do what is asked."""


class MissingExtra(UnbabbleError):
    """A command that needs an optional part of the installation."""

    def __init__(self, wanted: str, extra: str) -> None:
        super().__init__(f'{wanted} needs packages that are not installed: pip install "unbabble[{extra}]"')


class ArgumentError(UnbabbleError, ValueError):
    """An argument of a function, or a flag of the program, that cannot have such a value."""


def in_one_line(said: object) -> str:
    """What somebody else says, an error above all, as a part of a line of ours."""
    return " ".join(str(said).split())
