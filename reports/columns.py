"""Files of many rows as columns: what is alike stands together, what is the same stands once; so they pack small.

static/files.js puts the files together again, byte for byte but for the digits of numbers that are taken away.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Column: TypeAlias = tuple[int, int]
"""Places in the pool: of the cells, one a line, and of the lengths of their runs, in turn of cells and of gaps."""
_CELL = re.compile(r'("(?:[^"]|"")*"|[^,\n]*)([,\n])')
NULL, EMPTY = "null", ""
"""The gaps of JSON and of CSV."""
_SPELLED: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: NULL,
    bool: lambda value: "true" if value else "false",
    int: str,
    str: json.JSONEncoder(ensure_ascii=False).encode,
    list: lambda value: f"[{len(value)}",
}
"""How a cell spells a value, by its type; numbers with a fraction and objects are spelled by the columns."""


class _Number(str):
    """A number with a fraction or an exponent, as a document spells it."""

    __slots__ = ()


class Columns:
    """Files taken apart.

    Attributes:
        pool: texts, each at its place.
    """

    def __init__(self, digits: int | None = None) -> None:
        """Begin without files.

        Args:
            digits: significant digits that a number of a JSON file keeps, None: all.
        """
        self.pool: dict[str, int] = {}
        self._digits = digits

    def csv(self, text: str) -> list[tuple[str, Column]]:
        """Take a CSV file apart: the heading and the cells of each of its columns, as they are spelled.

        Args:
            text: rows of one length, the first with the headings, each ended by a line feed.
        """
        rows: list[list[str]] = [[]]
        for cell, end in _CELL.findall(text):
            rows[-1].append(cell)
            if end == "\n":
                rows.append([])
        return [(heading, self._column(cells, EMPTY)) for heading, *cells in zip(*rows[:-1], strict=True)]

    def json(self, text: str) -> dict[str, object]:
        """Take a JSON file apart.

        Args:
            text: a document, indented by one blank.

        Returns:
            `shapes`: lists of keys. `tree`, for all values that stand at one path: `cells`, each a value as it is
            spelled, `[2` for a list of two items or `{3` for an object with the keys of shape 3; `keys`: key -> such a
            tree, and `items`: one of the items of all lists, behind one another.
        """
        shapes: dict[tuple[str, ...], int] = {}
        tree = self._tree([json.loads(text, parse_float=_Number)], shapes)
        return {"shapes": list(shapes), "tree": tree}

    def _tree(self, values: Sequence[object], shapes: dict[tuple[str, ...], int]) -> dict[str, object]:
        kinds = set(map(type, values))
        found: dict[str, object] = {"cells": self._column(self._cells(values, kinds, shapes), NULL)}
        if dict in kinds and (keys := _by_key([value for value in values if isinstance(value, dict)])):
            found["keys"] = {key: self._tree(below, shapes) for key, below in keys.items()}
        if list in kinds and (items := [item for value in values if isinstance(value, list) for item in value]):
            found["items"] = self._tree(items, shapes)
        return found

    def _cells(self, values: Sequence[object], kinds: set[type], shapes: dict[tuple[str, ...], int]) -> list[str]:
        spelled: dict[type, Callable[[Any], str]] = {
            **_SPELLED,
            _Number: self._short,
            dict: lambda value: f"{{{shapes.setdefault(tuple(value), len(shapes))}",
        }
        if len(kinds) == 1:  # most are alike
            return list(map(spelled[next(iter(kinds))], values))
        return [spelled[type(value)](value) for value in values]

    def _short(self, number: str) -> str:
        digits = self._digits
        return number if digits is None or len(number) <= digits else f"{float(number):.{digits}g}"

    def _column(self, cells: Sequence[str], gap: str) -> Column:
        held = [cell for cell in cells if cell != gap] if gap in cells else cells
        lines = "\n".join(held)
        if "\\" in lines or lines.count("\n") >= max(1, len(held)):
            lines = "\n".join(cell.replace("\\", "\\\\").replace("\n", "\\n") for cell in held)
        runs = [len(cells)] if len(held) == len(cells) else _runs(cells, gap)
        return self._placed(lines), self._placed(",".join(map(str, runs)))

    def _placed(self, text: str) -> int:
        return self.pool.setdefault(text, len(self.pool))


def _by_key(objects: Sequence[dict[str, object]]) -> dict[str, list[object]]:
    """Return what stands under each key, in the order of the objects."""
    if len(set(map(tuple, objects))) == 1:  # most are alike
        return {key: [one[key] for one in objects] for key in objects[0]}
    found: dict[str, list[object]] = {}
    for one in objects:
        for key, value in one.items():
            found.setdefault(key, []).append(value)
    return found


def _runs(cells: Sequence[str], gap: str) -> list[int]:
    """Return lengths of runs: of cells, of gaps, of cells, and so on."""
    runs, of_gaps = [0], False
    for cell in cells:
        if (cell == gap) is not of_gaps:
            of_gaps = not of_gaps
            runs.append(0)
        runs[-1] += 1
    return runs
