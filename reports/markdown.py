"""A run's answer as Markdown, for a pull request or a ticket."""

import re

from reports import text
from tuner.results import Result


def summary(result: Result, diff: str = "") -> str:
    """Return the headline, baseline and best side by side, the change, and where it was measured.

    Args:
        result: of the run.
        diff: unified diff of the exported configuration against the user's.
    """
    looked_for = "the fastest configuration" if result.best else "the search for the fastest configuration"
    headline = map(_plain, text.headline(result).splitlines())
    parts = [f"## {_plain(result.study.name)}: {looked_for} within the SLO", *headline]
    if (rows := text.side_by_side(result)) is not None:
        parts.append("\n".join(_table(rows)))
    if diff:
        # A fence is longer than any that stands in what it holds.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", diff)), default=0))
        parts.append(f"{fence}diff\n{diff.rstrip()}\n{fence}")
    tried = max(0, len(result.trials) - 1)
    parts.append(
        f"{tried} configuration{'' if tried == 1 else 's'} tried beside yours, in {result.timing.wall_s:.0f} s."
    )
    parts.append("\n".join(f"- {_cell(name)}: {_cell(value)}" for name, value in result.environment.items()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def _cell(said: str) -> str:
    return _plain(" ".join(said.split())).replace("|", "\\|")


def _plain(said: str) -> str:
    """Return a text in which nothing is taken for a tag of HTML, as `<name>` would be."""
    return re.sub("<(?=[A-Za-z/!?])", "&lt;", said)
