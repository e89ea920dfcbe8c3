"""Keep the load generator off the server's cores: otherwise each steals the time the other is measured by."""

import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """Which CPUs each part may use; None: any.

    Attributes:
        server: the server's.
        generator: the load generator's.
        tuner: everything else of ours, which sleeps while a window is measured.
    """

    server: frozenset[int] | None
    generator: frozenset[int] | None
    tuner: frozenset[int] | None

    def describe(self) -> str:
        """Say in a line who runs where."""
        if self.server is None:
            return "none: server and load generator share all cores"
        names = (("server", self.server), ("load generator", self.generator), ("tuner", self.tuner))
        return ", ".join(f"{name} on {_listed(cpus or ())}" for name, cpus in names)


def divide(available: AbstractSet[int], mode: str) -> Cores:
    """Divide the CPUs: the first for the tuner, the next (or the same, where there are only two) for the generator.

    Args:
        available: CPU numbers that this process may use.
        mode: `auto` or `none`; with a single CPU nothing can be divided.
    """
    cpus = sorted(available)
    if mode == "none" or len(cpus) < 2:
        return Cores(None, None, None)
    generator = cpus[0] if len(cpus) < 4 else cpus[1]
    ours = {cpus[0], generator}
    return Cores(frozenset(set(cpus) - ours), frozenset({generator}), frozenset({cpus[0]}))


def divide_host(mode: str) -> Cores:
    """Divide the CPUs that this process may use."""
    return divide(os.sched_getaffinity(0), mode)


def _listed(cpus: AbstractSet[int] | tuple[()]) -> str:
    return ("CPU " if len(cpus) == 1 else "CPUs ") + ",".join(map(str, sorted(cpus)))
