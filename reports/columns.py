"""Files of many rows as columns: what is alike stands together, what is the same stands once; so they pack small.

static/files.js puts the files together again, byte for byte but for the digits of numbers that are taken away.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Any, TypeAlias

from pydantic_core import to_json

from reports.digits import short
from tuner.data import Data

Column: TypeAlias = tuple[int, int]
"""Places in the pool: of the cells, one a line, and of the lengths of their runs, in turn of cells and of gaps."""
_CELL = re.compile(r',("(?:[^"]|"")*"|[^,]*)')
NULL, EMPTY = "null", ""
"""The gaps of JSON and of CSV."""
_NAMELESS = frozenset({type(None), bool, int, float})
"""What is spelled without quotes and commas."""
_KINDS = _NAMELESS | {str, list, dict}
_TEXT = json.JSONEncoder(ensure_ascii=False)


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
        return [(heading, self._column(cells, EMPTY)) for heading, *cells in zip(*_rows(text), strict=True)]

    def json(self, content: object) -> dict[str, object]:
        """Take a JSON file apart.

        Args:
            content: of the file: nothing, numbers, texts, lists, mappings whose keys are texts, and stored data, which
                stands for its fields by their names.

        Returns:
            `shapes`: lists of keys. `tree`, for all values that stand at one path: `cells`, each a value as it is
            spelled, `[2` for a list of two items or `{3` for an object with the keys of shape 3; `keys`: key -> such a
            tree, and `items`: one of the items of all lists, behind one another.
        """
        shapes: dict[tuple[str, ...], int] = {}
        tree = self._tree([content], shapes)
        return {"shapes": list(shapes), "tree": tree}

    def _tree(self, values: Sequence[Any], shapes: dict[tuple[str, ...], int]) -> dict[str, object]:
        kinds = set(map(type, values))
        if not kinds <= _KINDS:
            values = list(map(vars if all(issubclass(kind, Data) for kind in kinds) else _plain, values))
            kinds = set(map(type, values))
        objects = _only(dict, values, kinds) if dict in kinds else []
        keys = list(map(tuple, objects))
        alike = {one: f"{{{shapes.setdefault(one, len(shapes))}" for one in dict.fromkeys(keys)}
        shaped = list(alike.values()) * len(keys) if len(alike) == 1 else [alike[one] for one in keys]
        found: dict[str, object] = {"cells": self._column(self._cells(values, kinds, shaped), NULL)}
        if by_key := _by_key(objects, alike=len(alike) == 1):
            found["keys"] = {key: self._tree(below, shapes) for key, below in by_key.items()}
        if list in kinds and (items := list(chain.from_iterable(_only(list, values, kinds)))):
            found["items"] = self._tree(items, shapes)
        return found

    def _cells(self, values: Sequence[Any], kinds: set[type], shaped: list[str]) -> list[str]:
        """Return how values are spelled, most at once: those at one place are of a kind.

        Args:
            values: at one place.
            kinds: of them.
            shaped: how those among them that are mappings are spelled.
        """
        if kinds <= _NAMELESS:
            return self._nameless(values, kinds)
        if kinds == {str}:
            said = {value: _TEXT.encode(value) for value in set(values)}
            return [said[value] for value in values]
        if kinds == {list}:
            return [f"[{len(value)}" for value in values]
        if kinds == {dict}:
            return shaped
        each = {kind: iter(self._cells(_only(kind, values, kinds), {kind}, shaped)) for kind in kinds}
        return [next(each[type(value)]) for value in values]

    def _nameless(self, values: Sequence[Any], kinds: set[type]) -> list[str]:
        """Return how numbers, truths and nothing are spelled; what is infinite is nothing."""
        cells = to_json(values, inf_nan_mode="null").decode()[1:-1].split(",")
        digits = self._digits
        if digits is None or float not in kinds or max(map(len, cells)) <= digits:
            return cells
        if kinds == {float}:
            return [
                cell if len(cell) <= digits else other for cell, other in zip(cells, short(values, digits), strict=True)
            ]
        return [
            f"{value:.{digits}g}" if len(cell) > digits and isinstance(value, float) else cell
            for cell, value in zip(cells, values, strict=True)
        ]

    def _column(self, cells: Sequence[str], gap: str) -> Column:
        held = [cell for cell in cells if cell != gap] if gap in cells else cells
        lines = "\n".join(held)
        if "\\" in lines or lines.count("\n") >= max(1, len(held)):
            lines = "\n".join(cell.replace("\\", "\\\\").replace("\n", "\\n") for cell in held)
        runs = [len(cells)] if len(held) == len(cells) else _runs(cells, gap)
        return self._placed(lines), self._placed(",".join(map(str, runs)))

    def _placed(self, text: str) -> int:
        return self.pool.setdefault(text, len(self.pool))


def _rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a CSV file, as they are spelled."""
    begun = ""
    for line in text.split("\n")[:-1]:
        row = begun + line
        if '"' not in row:
            yield row.split(",")
        elif row.count('"') % 2:  # a cell in quotes goes on in the next line
            begun = f"{row}\n"
        else:
            begun = ""
            yield _CELL.findall(f",{row}")


def _plain(value: Any) -> Any:
    """Return a value of any kind as one of `_KINDS`; TypeError for what a JSON file cannot have."""
    if value is None:
        return None
    if isinstance(value, Data):
        return vars(value)
    if isinstance(value, Mapping):
        return dict(value)
    kind = next((kind for kind in (str, bool, int, float) if isinstance(value, kind)), list)
    return kind(value)


def _only(kind: type, values: Sequence[Any], kinds: set[type]) -> Sequence[Any]:
    return values if len(kinds) == 1 else [value for value in values if type(value) is kind]


def _by_key(objects: Sequence[dict[str, Any]], *, alike: bool) -> Mapping[str, Sequence[Any]]:
    """Return what stands under each key, in the order of the objects, which have the same keys where they are alike."""
    if alike:
        values, keys = list(chain.from_iterable(map(dict.values, objects))), tuple(objects[0])
        return {key: values[place :: len(keys)] for place, key in enumerate(keys)}
    found: dict[str, list[Any]] = {}
    for one in objects:
        for key, value in one.items():
            found.setdefault(key, []).append(value)
    return found


def _runs(cells: Sequence[str], gap: str) -> list[int]:
    """Return lengths of runs: of cells, of gaps, of cells, and so on."""
    runs = [sum(1 for _ in alike) for _, alike in groupby(map(gap.__eq__, cells))]
    return [0, *runs] if cells[0] == gap else runs
