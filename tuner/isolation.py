"""Keep the load generator off the server's cores: otherwise each steals the time the other is measured by."""

import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from tuner.cpus import format_cpus
from tuner.study.spec import CoresSpec, IsolationSpec

OWN_CPU_FROM = 4
"""CPUs from which on the tuner, with what samples a measurement, has one to itself."""


class CpusUnavailable(Exception):
    """Named CPUs that this process may not use.

    Attributes:
        part: whose they are: `server` or `generator`.
    """

    def __init__(self, part: str, missing: AbstractSet[int], available: AbstractSet[int]) -> None:
        super().__init__(f"this process may not use {_listed(missing)}; it may use {_listed(available)}")
        self.part = part


@dataclass(frozen=True)
class Cores:
    """Which CPUs each part may use; None: any.

    Attributes:
        server: the server's.
        generator: the load generator's.
        tuner: everything else of ours, which sleeps while a window is measured but for the samples that it takes.
        processes: of the load generator.
    """

    server: frozenset[int] | None
    generator: frozenset[int] | None
    tuner: frozenset[int] | None
    processes: int = 1

    def describe(self) -> str:
        """Say in a line who runs where."""
        if self.server is None or self.generator is None or self.tuner is None:
            return "none: server and load generator share all cores"
        count = len(self.generator)
        crowd = f" ({self.processes} processes on {count} CPU{'s' * (count > 1)})" if self.processes > count else ""
        too = " too: its sampling shares the load generator's core" if self.tuner & self.generator else ""
        return (
            f"server on {_listed(self.server)}, load generator on {_listed(self.generator)}{crowd}, "
            f"tuner on {_listed(self.tuner)}{too}"
        )


def divide(
    available: AbstractSet[int], isolation: Literal["auto", "none"] | IsolationSpec, processes: int = 1
) -> Cores:
    """Divide the CPUs between server, load generator and tuner.

    `auto` gives the tuner the first CPU to itself where there are four or more; of two or three it shares the
    generator's, as the server would lose half of its own. The generator gets a CPU for each of its processes, but
    leaves the server at least half of those that the tuner does not have alone, rounded down, and never less than one.
    With CPUs that are named the tuner has the first that is neither server's nor generator's, or the generator's first.

    Args:
        available: CPU numbers that this process may use.
        isolation: `auto`, `none`, or the CPUs that the user names; with a single CPU `auto` divides nothing.
        processes: of the load generator.

    Raises:
        CpusUnavailable: named CPUs are not available.
    """
    if isinstance(isolation, IsolationSpec):
        return _named(available, isolation.cores, processes)
    cpus = sorted(available)
    if isolation == "none" or len(cpus) < 2:
        return Cores(None, None, None, processes)
    others = cpus[1:] if len(cpus) >= OWN_CPU_FROM else cpus
    count = min(processes, len(others) - max(1, len(others) // 2))
    generator, server = others[:count], others[count:]
    return Cores(frozenset(server), frozenset(generator), frozenset(cpus[:1]), processes)


def divide_host(isolation: Literal["auto", "none"] | IsolationSpec, processes: int = 1) -> Cores:
    """Divide the CPUs that this process may use.

    Raises:
        CpusUnavailable: named CPUs are not among them.
    """
    return divide(os.sched_getaffinity(0), isolation, processes)


def _named(available: AbstractSet[int], cores: CoresSpec, processes: int) -> Cores:
    for part, cpus in (("server", cores.server), ("generator", cores.generator)):
        if missing := cpus - available:
            raise CpusUnavailable(part, missing, available)
    tuner = min(available - cores.server - cores.generator, default=min(cores.generator))
    return Cores(cores.server, cores.generator, frozenset({tuner}), processes)


def _listed(cpus: AbstractSet[int]) -> str:
    return ("CPU " if len(cpus) == 1 else "CPUs ") + format_cpus(cpus)


def cpus_of_generators(cores: Cores, count: int) -> list[frozenset[int] | None]:
    """Return the CPUs of each of so many load generators: its own where there are enough for all, else the same."""
    cpus = cores.generator
    if cpus is None or len(cpus) < cores.processes:
        return [cpus] * count
    return [frozenset(sorted(cpus)[index::count]) for index in range(count)]


def shared_cpus(cores: Cores) -> int | None:
    """Return how many CPUs all processes of the load generators share, None where each has its own, or any."""
    return len(cores.generator) if cores.generator is not None and len(cores.generator) < cores.processes else None
