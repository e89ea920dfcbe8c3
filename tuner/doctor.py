"""What works on this machine, and the one thing to do about what does not."""

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich import box
from rich.table import Table

from targets import registry
from targets.base import TargetError
from tuner import __version__
from tuner.ceiling import PACED_RPS, Ceiling, CeilingError, host_ceiling
from tuner.isolation import divide_host
from tuner.load.poller import EpollPoller, make_poller
from tuner.telemetry.nvml import Gpus
from tuner.units import format_duration
from tuner.validity import MAX_GENERATOR_CPU, MAX_ISSUE_DELAY_S

Row = dict[str, str]
EXTRAS = {
    "gp": ("torch", "`search.sampler: gp`"),
    "postgresql": ("psycopg", "`search.storage: postgresql://...`"),
    "parquet": ("pyarrow", "`tune report --parquet`"),
    "images": ("kaleido", "`tune report --images`"),
    "locust": ("locust", "`tune agent`, `--agents` and locustfiles"),
    "ui": ("optuna_dashboard", "`tune ui`"),
}
"""Extra of this package -> the module that it brings, and what needs it; servers have rows of their own."""


def examine(*, fresh: bool = False) -> list[Row]:
    """Return a row for each thing looked at: what, whether it works, and detail or remedy.

    Args:
        fresh: measure the load generator again, even if what was measured before still holds.
    """
    return [
        _row("paretune", True, f"{__version__}, Python {sys.version.split()[0]}"),
        _command(),
        _timer(),
        _cores(),
        *_load_generator(fresh=fresh),
        _gpu(),
        *(_target(kind) for kind in registry.names()),
        *(_extra(name) for name in EXTRAS),
    ]


def some_server_can_be_tuned(rows: Sequence[Row]) -> bool:
    """Whether a server can be started and tuned here: the simulated one is nobody's, others are only asked."""
    working = [row["what"].removeprefix("target ") for row in rows if row["works"] == "yes"]
    kinds = [kind for kind in working if kind in registry.names() and kind != "simulated"]
    return any(registry.knobs(kind) for kind in kinds)


def table(rows: Sequence[Row]) -> Table:
    """Return rows as a table."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(rows[0]):
        made.add_column(name, overflow="fold", no_wrap=number == 0)
    for row in rows:
        made.add_row(*row.values())
    return made


def _row(what: str, works: bool, detail: str) -> Row:
    return {"what": what, "works": "yes" if works else "no", "detail": detail}


def _command() -> Row:
    """Another package (torchtune) installs a `tune` too."""
    found = shutil.which("tune")
    if found is None:
        return _row("command `tune`", False, f"not on PATH; `{Path(sys.executable).name} -m tuner` is the same")
    if not _is_ours(Path(found)):
        return _row("command `tune`", False, f"{found} comes first on PATH; call ours as `paretune`")
    return _row("command `tune`", True, found)


def _is_ours(command: Path) -> bool:
    """Whether a command is the script that pip made for this package, wherever that is, or pyenv's way to it."""
    try:
        text = command.read_bytes().decode(errors="replace")
    except OSError:
        return False
    return "from tuner.cli import" in text or "pyenv exec" in text


def _timer() -> Row:
    poller = make_poller()
    poller.close()
    exact = isinstance(poller, EpollPoller)
    remark = "" if exact else ": sends up to 1 ms late; measure open loops on Linux"
    return _row("load generator's timer", exact, f"{poller.pacing}{remark}")


def _cores() -> Row:
    count = len(os.sched_getaffinity(0))
    cores = divide_host("auto")
    if cores.server is None:
        return _row("isolation", False, f"{count} CPU: server and load generator share it; measure on two or more")
    return _row("isolation", True, cores.describe())


def _load_generator(*, fresh: bool) -> list[Row]:
    try:
        ceiling = host_ceiling(fresh=fresh)
    except CeilingError as error:
        return [_row(what, False, str(error)) for what in ("load generator", "pacing")]
    return [_throughput(ceiling), _pacing(ceiling)]


def _throughput(ceiling: Ceiling) -> Row:
    found = (
        f"up to {ceiling.throughput_rps:,.0f} requests/s over HTTP with one process, "
        f"{format_duration(ceiling.cpu_per_request_s)} of CPU each (measured {ceiling.measured})"
    )
    if ceiling.cpu_share < MAX_GENERATOR_CPU:
        found += (
            f"; it got {ceiling.cpu_share:.0%} of a core, so this host can do more: end what else runs, then "
            "`tune doctor --fresh`"
        )
    return _row("load generator", True, found)


def _pacing(ceiling: Ceiling) -> Row:
    p50, p99 = (format_duration(delay) for delay in (ceiling.issue_delay_p50_s, ceiling.issue_delay_p99_s))
    found = (
        f"issue delay p50 {p50}, p99 {p99} at {PACED_RPS:,.0f}/s, with {ceiling.paced_cpu_share:.0%} of a core "
        f"(measured {ceiling.measured})"
    )
    if ceiling.issue_delay_p99_s <= MAX_ISSUE_DELAY_S:
        return _row("pacing", True, found)
    return _row(
        "pacing",
        False,
        f"{found}; over {format_duration(MAX_ISSUE_DELAY_S)} a measurement is invalid: end what else runs on this "
        "host, or take one with more cores, then `tune doctor --fresh`",
    )


def _gpu() -> Row:
    gpus = Gpus()
    if gpus.names:
        return _row("GPU telemetry", True, "; ".join([", ".join(gpus.names), *gpus.notes]))
    return _row("GPU telemetry", False, f"{'; '.join(gpus.notes) or 'no GPU'}; not needed without a GPU")


def _target(kind: str) -> Row:
    try:
        return _row(f"target {kind}", True, registry.availability(kind))
    except TargetError as error:
        return _row(f"target {kind}", False, str(error))


def _extra(name: str) -> Row:
    module, needed_by = EXTRAS[name]
    found = find_spec(module) is not None
    remedy = "" if found else f"; only if you need it: {Path(sys.executable).name} -m pip install 'paretune[{name}]'"
    return _row(f"extra {name}", found, f"for {needed_by}{remedy}")
