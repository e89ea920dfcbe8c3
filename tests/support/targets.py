"""Targets for the tests, without a study around them."""

from pathlib import Path

from targets.base import Context
from targets.simulated.options import SimulatedOptions
from targets.simulated.target import SimulatedTarget
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget


def triton_target(log_path: Path, cpus: frozenset[int] | None = None, **options: object) -> TritonTarget:
    """Make a Triton target that is not started."""
    return TritonTarget(TritonOptions.model_validate(options), Context(log_path.parent, log_path, cpus))


def simulated_target(log_path: Path, cpus: frozenset[int] | None = None, **options: object) -> SimulatedTarget:
    """Make a simulated target that is not started."""
    return SimulatedTarget(SimulatedOptions.model_validate(options), Context(log_path.parent, log_path, cpus))
