"""What a gate found, as Markdown: for the summary of a CI step, or a comment on a pull request.

Names and messages of servers, studies and revisions are text: nothing in them becomes a tag, a link or a mention.
"""

import re
from collections.abc import Sequence
from html import escape

from reports.gate.rows import HEADINGS, Row, headline, how, rows
from tuner.gate.document import GateResult

_MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "invalid": "⚠️", "unfinished": "❌", "info": ""}
_MARKUP = re.compile(r"[\\`*~|#]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])")
_MENTION = re.compile(r"@(?=\w)")


def summary(result: GateResult) -> str:
    """Return the verdict, a table of the rules, and what changed beside them."""
    parts = [f"## {_MARKS[result.state]} Gate of {_cell(result.study)}: {_cell(headline(result))}"]
    sides = f"new {_code(result.new.label)}"
    if result.old is not None:
        sides = f"old {_code(result.old.label)}, {sides}"
    parts.append(f"{sides}. {_cell(how(result))}.")
    parts += [f"> {_cell(note)}" for note in result.notes]
    parts.append("\n".join(_table(rows(result.rules))))
    if result.figures:
        inner = "\n".join(_table(rows(result.figures)))
        parts.append(f"<details><summary>Figures without a rule</summary>\n\n{inner}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _table(found: Sequence[Row]) -> list[str]:
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|" + "---:|" * 5 + "---|"]
    for row in found:
        mark = f"{_MARKS[row.state]} " if _MARKS[row.state] else ""
        cells = [_cell(cell) for cell in row.cells()]
        lines.append("| " + " | ".join([*cells[:-1], f"{mark}{cells[-1]}"]) + " |")
    return lines


def _cell(said: str) -> str:
    """Return a text so that it reads as it is: on one line, without markup."""
    plain = _MARKUP.sub(r"\\\g<0>", escape(" ".join(said.split()), quote=False))
    return _MENTION.sub("@<!-- -->", plain)  # a mention is looked for in what was rendered, where no backslash is left


def _code(said: str) -> str:
    """Return a text as code, in more backticks than it has in a row."""
    fence = "`" * (1 + max(map(len, re.findall("`+", said)), default=0))
    room = " " if "`" in said else ""
    return f"{fence}{room}{' '.join(said.split())}{room}{fence}"
