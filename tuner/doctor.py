"""What works on this machine, and the one thing to do about what does not."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from targets import registry
from targets.base import TargetError
from tuner import __version__
from tuner.isolation import divide_host
from tuner.load.timer import Timer
from tuner.space import LOAD_KNOBS
from tuner.telemetry.nvml import GpuSampler
from tuner.units import format_value

Row = dict[str, str]


def examine() -> list[Row]:
    """Return a row for each thing looked at: what, whether it works, and detail or remedy."""
    return [
        _row("paretune", True, f"{__version__}, Python {sys.version.split()[0]}"),
        _command(),
        _timer(),
        _cores(),
        _gpu(),
        *(_target(kind) for kind in registry.names()),
    ]


def knob_rows(kind: str) -> list[Row]:
    """Return the knobs of a kind of target and the load levels.

    Raises:
        TargetError: no such kind.
    """
    return [
        {
            "knob": knob.name,
            "type": knob.type if knob.unit != "/s" else "rate",
            "legal": _legal(knob.low, knob.high, knob.unit),
            "applied": knob.applied,
            "what": knob.doc,
        }
        for knob in (*registry.knobs(kind), *LOAD_KNOBS)
    ]


def table(rows: Sequence[Row]) -> Table:
    """Return rows as a table."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*row.values())
    return made


def _row(what: str, works: bool, detail: str) -> Row:
    return {"what": what, "works": "yes" if works else "no", "detail": detail}


def _command() -> Row:
    """Another package (torchtune) installs a `tune` too."""
    ours, found = Path(sys.executable).parent / "tune", shutil.which("tune")
    if found and Path(found).resolve() != ours.resolve():
        return _row("command `tune`", False, f"{found} comes first on PATH; call ours as `paretune`")
    return _row("command `tune`", True, str(ours))


def _timer() -> Row:
    try:
        Timer().close()
    except OSError as error:
        return _row("load generator's timer", False, f"{error}")
    return _row("load generator's timer", True, "timerfd")


def _cores() -> Row:
    count = len(os.sched_getaffinity(0))
    cores = divide_host("auto")
    if cores.server is None:
        return _row("isolation", False, f"{count} CPU: server and load generator share it; measure on two or more")
    return _row("isolation", True, cores.describe())


def _gpu() -> Row:
    sampler = GpuSampler()
    if sampler.names:
        return _row("GPU telemetry", True, ", ".join(sampler.names))
    return _row("GPU telemetry", False, f"{'; '.join(sampler.notes) or 'no GPU'}; not needed without a GPU")


def _target(kind: str) -> Row:
    try:
        return _row(f"target {kind}", True, registry.availability(kind))
    except TargetError as error:
        return _row(f"target {kind}", False, str(error))


def _legal(low: float | None, high: float | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    bounds = ("" if bound is None else format_value(bound, unit) for bound in (low, high))
    return " to ".join(bounds).strip()
