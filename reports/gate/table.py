"""What a gate found, in the terminal."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports.gate.rows import HEADINGS, headline, how, rows
from tuner.gate.document import GateResult

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "invalid": "yellow", "unfinished": "red"}


def picture(result: GateResult) -> RenderableType:
    """Return the verdict, how it was found, and a row for each rule."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in HEADINGS:
        table.add_column(name, justify="left" if name in ("workload", "rule", "verdict") else "right", overflow="fold")
    for row in rows(result.rules):
        table.add_row(*(Text(cell) for cell in row.cells()[:-1]), Text(row.cells()[-1], style=_COLOURS[row.state]))
    notes = [Text(f"note: {note}") for note in result.notes]
    sides = f"old: {result.old.label}   new: {result.new.label}" if result.old else f"new: {result.new.label}"
    return Group(
        Text(headline(result), style=f"bold {_COLOURS[result.state]}"), Text(sides), Text(how(result)), *notes, table
    )
