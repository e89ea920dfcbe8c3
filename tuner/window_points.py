"""What becomes of a window of a trial: its points, and the files of its records."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tuner import stopping
from tuner.measure import Meter
from tuner.offered import Offered
from tuner.records import save_records
from tuner.results import Estimate, Point
from tuner.runs import Run
from tuner.stopping import Pace
from tuner.telemetry.series import save_series, series_path


def points_of(
    run: Run,
    one: Offered,
    pace: Pace,
    meter: Meter,
    accuracy: Callable[[str], Mapping[str, Estimate]],
    records: str,
) -> list[Point]:
    """Return the points of a workload: of all its requests, and of each class of a mix.

    Args:
        run: what was measured.
        one: the workload under its load.
        pace: how long the window could take.
        meter: the instruments.
        accuracy: says of a workload, or of a class, what its answers are worth.
        records: file of the records, relative to the run directory.
    """
    assert one.aims is not None, "a point is measured for something"
    decision = run.decision or stopping.at_the_cap(run.records, one.aims, pace)
    return [
        meter.point(run, one.workload, part, one.load, accuracy(part.name), decision, records)
        for part in one.workload.parts
    ]


def records_path(name: str, one: Offered, window: int | None) -> str:
    """Return the file of the records of a window, relative to the run directory.

    Args:
        name: of what is measured.
        one: the workload under its load.
        window: its number in the trial where workloads are measured at once: one load may be there in several.
    """
    return f"records/{name}-{one.workload.name}-{one.load.level:g}{'' if window is None else f'-{window}'}.npz"


def save_run(run: Run, path: Path) -> None:
    """Write the records of a run, and beside them what was seen of the host meanwhile."""
    save_records(run.records, path)
    if run.series is not None:
        save_series(run.series, path.with_name(series_path(path.name)))
