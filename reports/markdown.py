"""A run's answer as Markdown, for a pull request or a ticket."""

from reports import text
from tuner.results import Result


def summary(result: Result, diff: str = "") -> str:
    """Return the headline, baseline and best side by side, the change, and where it was measured.

    Args:
        result: of the run.
        diff: unified diff of the exported configuration against the user's.
    """
    parts = [f"## {result.study.name}: the fastest configuration within the SLO", *text.headline(result).splitlines()]
    if (rows := text.side_by_side(result)) is not None:
        parts.append("\n".join(_table(rows)))
    if diff:
        parts.append(f"```diff\n{diff.rstrip()}\n```")
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
    return " ".join(said.split()).replace("|", "\\|")
