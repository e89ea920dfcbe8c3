"""A study's server with the load generator and the instruments around it: started for a run, and taken apart again."""

import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import psutil

from targets.base import KeepsServer
from targets.hiding import without
from targets.process import pinned
from tuner import __version__
from tuner.accuracy.scored import scorings_of, shares_of
from tuner.accuracy.variants import Accuracies
from tuner.isolation import cpus_of_generators, shared_cpus
from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.generator import generators_on
from tuner.load.generator import Generator, LoadGenerator
from tuner.load_plans import Ladder
from tuner.measure import Meter
from tuner.slo import Slo
from tuner.space import LOAD_NAMES
from tuner.stopping import Pace
from tuner.study.hidden import secrets_of
from tuner.study.load import Study
from tuner.study.own_metrics import asked_for_more, asked_of_use
from tuner.telemetry.host import cpu_model
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import TOLD_PERIOD_S, Sampler
from tuner.trials import Trier
from tuner.use_checks import OF_GPUS
from tuner.users_traffic import users_generators
from tuner.wiring import Prepared, generators_of
from tuner.workload import Workload


@dataclass(frozen=True)
class Bench:
    """A started target with the instruments around it, and the agents that make its load, if any do."""

    trier: Trier
    environment: Mapping[str, str]
    fleet: Fleet | None = None


@contextmanager
def started(prepared: Prepared, run_path: Path, fleet: Fleet | None = None, *, ahead: bool = False) -> Iterator[Bench]:
    """Start the target and the load generator; on the way out both are stopped, whatever happened.

    Args:
        prepared: the study.
        run_path: the run directory.
        fleet: agents that make the load in the place of this host.
        ahead: the user's configuration is tried first, and a server that goes on running loads it while the rest of
            the tuner starts.

    Raises:
        TargetError: the server does not start.
    """
    spec = prepared.study.spec
    with ExitStack() as stack:
        stack.enter_context(pinned(prepared.cores.tuner))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paretune-records-")))
        stack.callback(prepared.target.stop)
        importing = stack.enter_context(ThreadPoolExecutor(1, "imports")).submit(_import_statistics)
        generators = _generators(stack, prepared, fleet)  # they start meanwhile
        shares = cpus_of_generators(prepared.cores, generators_of(prepared.study))
        of_users = users_generators(prepared.workloads, shares, run_path / "locust.log", stack)
        began = time.monotonic()
        prepared.target.start()
        started_s = time.monotonic() - began
        gpus = Gpus()
        meter = Meter(
            generators[0],
            Sampler(gpus, spec.telemetry.period, _metrics_period_s(prepared.study)),
            slos_of(spec.bounds(), prepared.workloads),
            scratch,
            prepared.target.metrics(),
            frozenset(one for _, one in asked_of_use(spec)),
            asked_for_more(spec),
            generators[1:],
            None if fleet else shared_cpus(prepared.cores),
            of_users,
        )
        trier = Trier(
            prepared.target,
            meter,
            prepared.workloads,
            accuracies_of(prepared, run_path),
            pace_of(prepared),
            prepared.goals,
            spec.measure.tolerance,
            spec.measure.confidence,
            run_path,
            ladder_of(prepared),
            applied_s=started_s,
        )
        if ahead and isinstance(prepared.target, KeepsServer) and prepared.target.keeps_server:
            trier.deploy_ahead(prepared.target.user_config())
        for generator in (*generators, *of_users.values()):
            generator.ready()
        importing.result()
        yield Bench(trier, environment(prepared, gpus) | ({"agents": fleet.described} if fleet else {}), fleet)


def _import_statistics() -> None:
    """Import what takes half a second, so that nothing is imported while something is measured."""
    for part in ("optimize", "special"):
        import_module(f"scipy.{part}")


def _metrics_period_s(study: Study) -> float | None:
    """Return how often a server is asked for its own metrics: as the study says, or where it tells of its GPUs."""
    spec = study.spec
    needed = spec.target.tells_gpus and any(name in OF_GPUS for _, name in asked_of_use(spec))
    return spec.telemetry.server_metrics or (TOLD_PERIOD_S if needed else None)


def _generators(stack: ExitStack, prepared: Prepared, fleet: Fleet | None) -> Sequence[LoadGenerator]:
    """Return a load generator for each workload that is measured at the same time, on this host or on agents."""
    processes, count = prepared.study.spec.generator.processes, generators_of(prepared.study)
    if fleet is not None:
        return generators_on(fleet, processes, count)
    cpus = cpus_of_generators(prepared.cores, count)
    return [stack.enter_context(Generator(one, processes, wait=False)) for one in cpus]


def accuracies_of(prepared: Prepared, run_path: Path) -> Accuracies:
    """Return what will be learnt of the variants; their answers are compared where the space changes them."""
    compares = any(parameter.knob.changes_answers for parameter in prepared.space)
    known = scorings_of(prepared.workloads)
    return Accuracies(known, compares, run_path / "answers", shares=shares_of(prepared.workloads))


def pace_of(prepared: Prepared) -> Pace:
    """Return how long the measurements of a study take."""
    measure = prepared.study.spec.measure
    return Pace(measure.warmup, measure.max_warmup, measure.window, measure.max_window)


def ladder_of(prepared: Prepared) -> Ladder | None:
    """Return the levels of a study that looks for the highest sustainable loads, None where levels are sampled."""
    spec, space = prepared.study.spec.load, prepared.space
    if spec.search == "sampled":
        return None
    levels = {
        name: tuple(float(level) for level in space.levels(name) if not isinstance(level, str)) for name in LOAD_NAMES
    }
    return Ladder({name: found for name, found in levels.items() if found}, spec.resolution)


def slos_of(bounds: Mapping[str, Mapping[str, float]], workloads: Sequence[Workload]) -> dict[str, Slo]:
    """Return what is asked of each workload, and of each class of a mix, by its name."""
    found: dict[str, Slo] = {}
    for workload in workloads:
        _, *of_classes = (Slo(bounds[part.name]) for part in workload.parts)
        found |= {part.name: Slo(bounds[part.name]) for part in workload.parts[1:]}
        found[workload.name] = Slo(bounds[workload.name], tuple(of_classes))
    return found


def environment(prepared: Prepared, gpus: Gpus) -> dict[str, str]:
    """Return what belongs beside every number: versions, host, cores, isolation."""
    secrets = list(secrets_of(prepared.study.given).values())
    return {
        "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "paretune": __version__,
        **{name: without(value, secrets) for name, value in prepared.target.environment().items()},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0)) if prepared.cores.server is None else psutil.cpu_count()}",
        "isolation": prepared.cores.describe(),
        "gpu": ", ".join(gpus.names) or "; ".join(gpus.notes),
    }
