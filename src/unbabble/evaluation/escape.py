"""Names that others chose, such as those of files, inside documents of ours."""

import re

MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&])")


def printable(text: str) -> str:
    """One line that any encoding of ours can hold: what cannot be shown becomes an escape such as ``\\n``."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def in_markdown(text: str) -> str:
    """A name that Markdown shows as it is."""
    return MARKDOWN.sub(r"\\\1", printable(text))


def in_csv(text: str) -> str:
    """A name as a cell: one line, which no spreadsheet takes for a formula; different for different names."""
    line = printable(text.replace("\\", r"\\"))
    return f"'{line}" if line.startswith(("=", "+", "-", "@", "'")) else line
