"""`tune` for pages that are executed: what measures gets short windows, one trial, and bounds that any machine keeps.

`python -m tests.support.short_tune ARGUMENTS` is `tune ARGUMENTS`, but for that. So short a confirmation may leave an
SLO undecided: 5 of a command that measures counts as 0.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

LATENCIES = ("mean", "p50", "p90", "p95", "p99")
LEVELS = {"concurrency": "[8]", "rate": "[100/s, 200/s]", "users": "[2, 4]"}
MEASURING = ("run", "bench", "compare", "worker")
SHORT = {
    "slo.error_rate": "20%",
    "measure.warmup": "50 ms",
    "measure.max_warmup": "100 ms",
    "measure.window": "100 ms",
    "measure.max_window": "200 ms",
    "confirm.candidates": "1",
    "confirm.redeployments": "2",
    "confirm.max_redeployments": "2",
    "confirm.rounds": "2",
    "confirm.round": "100 ms",
}
UNDECIDED = 5


def study_of(arguments: Sequence[str]) -> Path | None:
    """Return the study that a command measures, if it is one that measures."""
    first, *others = [*arguments, ""]
    named = others[0] if first in MEASURING else first
    return Path(named) if named.endswith(".yaml") else None


def latency_bounds(found: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each bound on latency in a part of a study: its own, and those of workloads and classes."""
    for name, inner in found.items() if isinstance(found, dict) else ():
        if name == "slo":
            yield from (f"{path}slo.{bound}" for bound in inner if bound.rpartition("_")[2] in LATENCIES)
        else:
            yield from latency_bounds(inner, f"{path}{name}.")


def shortened(arguments: Sequence[str], study: dict[str, Any]) -> list[str]:
    """Return a command's arguments with what makes it short behind them, where it has precedence."""
    changed = dict(SHORT)
    changed |= dict.fromkeys(latency_bounds(study), "9 s")
    changed |= {f"space.{name}": level for name, level in LEVELS.items() if name in study["space"]}
    sets = [word for path, value in changed.items() for word in ("--set", f"{path}={value}")]
    trials = [] if arguments[0] in ("bench", "compare") else ["--set", "search.budget.trials=1"]
    return [*arguments, *trials, *sets]


def main(arguments: Sequence[str]) -> int:
    """Run it, and return its exit code."""
    study = study_of(arguments)
    if study is None:
        return tune(arguments)
    code = tune(shortened(arguments, yaml.safe_load(study.read_text())))
    return 0 if code == UNDECIDED else code


def tune(arguments: Sequence[str]) -> int:
    """Run the real one with the environment of this process."""
    return subprocess.run([sys.executable, "-m", "tuner", *arguments], env=os.environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
