"""The trials as a Parquet file: the rows and columns of trials.csv, with their types."""

from importlib import import_module
from pathlib import Path

from reports.tables import trial_rows
from tuner.results import Result


def write_trials(result: Result, path: Path) -> None:
    """Write every point of every trial.

    Raises:
        ImportError: pyarrow, which is optional, is not installed.
    """
    arrow, writer = import_module("pyarrow"), import_module("pyarrow.parquet")
    rows = trial_rows(result)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _of_one_type([row.get(name) for row in rows]) for name in names}
    writer.write_table(arrow.table(columns), path)


def _of_one_type(values: list[object]) -> list[object]:
    """Return values that a column can hold: text where some are text, or where numbers meet booleans."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) < 2 or kinds == {int, float}:
        return [float(value) if kinds == {int, float} and isinstance(value, int) else value for value in values]
    return [None if value is None else str(value) for value in values]
