"""Targets for the tests, without a study around them."""

import re
from pathlib import Path

from targets.base import Context
from targets.simulated.options import SimulatedOptions
from targets.simulated.target import SimulatedTarget
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget


def triton_target(
    log_path: Path, cpus: frozenset[int] | None = None, metrics_period_s: float | None = None, **options: object
) -> TritonTarget:
    """Make a Triton target that is not started."""
    context = Context(log_path.parent, log_path, cpus, metrics_period_s=metrics_period_s)
    return TritonTarget(TritonOptions.model_validate(options), context)


def loads_since(target: TritonTarget, mark: int) -> list[str]:
    """Return what the server logged since a mark of its log about models that it was asked to load, errors included.

    An old version that goes is logged whenever its last request has ended, so other records may come at any time.
    """
    records = target._log.text_since(mark).splitlines()
    return [record for record in records if record.startswith("E") or re.search(r'\] "?loading: ', record)]


def simulated_target(log_path: Path, cpus: frozenset[int] | None = None, **options: object) -> SimulatedTarget:
    """Make a simulated target that is not started."""
    return SimulatedTarget(SimulatedOptions.model_validate(options), Context(log_path.parent, log_path, cpus))
