"""Put the concrete parts together for one run: target, load generator, instruments; and take them apart again."""

import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import psutil

from targets import registry
from targets.base import PRIVATE, Context, KnowsOwn, KnowsRules, Target, TargetError
from targets.hiding import without
from targets.process import pinned
from tuner import __version__
from tuner.accuracy.checks import check_labels
from tuner.accuracy.variants import Accuracies, scorings_of, shares_of
from tuner.config_checks import check_configs
from tuner.isolation import Cores, CpusUnavailable, cpus_of_generators, divide_host, shared_cpus
from tuner.levels import check_levels
from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.generator import generators_on
from tuner.load.generator import Generator, LoadGenerator
from tuner.load_plans import Ladder
from tuner.measure import Meter
from tuner.nesting import flat
from tuner.objective import Goal, parse_goals
from tuner.rules import Rules
from tuner.serving import check_requests
from tuner.slo import Slo
from tuner.space import LOAD_NAMES, Space, make_space, with_starts
from tuner.stopping import Pace
from tuner.study.hidden import secrets_of
from tuner.study.load import Study
from tuner.study.locustfile import LocustSpec
from tuner.study.own_metrics import asked_for_more, asked_of_use
from tuner.telemetry.host import cpu_model
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import TOLD_PERIOD_S, Sampler
from tuner.traffic import check_sequences, check_windows, make_workloads
from tuner.trials import Trier
from tuner.twin.forecast import FORECAST, roles_of
from tuner.twin.planner import Twin
from tuner.use_checks import OF_GPUS, check_told, check_use
from tuner.users_traffic import users_generators
from tuner.workload import Workload


@dataclass(frozen=True)
class Prepared:
    """A study checked against its target, before anything is started."""

    study: Study
    target: Target
    space: Space
    workloads: tuple[Workload, ...]
    cores: Cores

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The study's objectives."""
        return parse_goals(self.study.spec.objectives, self.workloads[0].name)


@dataclass(frozen=True)
class Simulation:
    """The simulation of a study's server, or why there is none.

    Attributes:
        twin: the simulation.
        missing: why it cannot be had; "" where it can.
    """

    twin: Twin | None
    missing: str = ""


@dataclass(frozen=True)
class Bench:
    """A started target with the instruments around it, and the agents that make its load, if any do."""

    trier: Trier
    environment: Mapping[str, str]
    fleet: Fleet | None = None


def prepare(study: Study, log_path: Path, texts: Mapping[Path, str] | None = None) -> Prepared:
    """Check everything that can be checked before the study's server runs.

    What a model leaves to its server may be asked of one that is started for that and ends.

    Args:
        study: the study.
        log_path: where the server's log goes.
        texts: path of a file of the user's -> what is taken for its text, by targets that can do that.

    Raises:
        StudyError: a value of the study does not fit the target or cannot be read.
        TargetError: the target's own files cannot be used.
    """
    spec = study.spec
    asked = asked_of_use(spec)
    check_use(study, asked, by_server=True)
    cores = _cores(study)
    private = PRIVATE | spec.search.private
    context = Context(
        study.source.path.parent.resolve(), log_path, cores.server, texts or {}, private, spec.telemetry.server_metrics
    )
    target = registry.create(spec.target, context)
    check_told(study, target, asked)
    wanted = flat(spec.space, target.knobs(), study.source)
    if isinstance(target, KnowsRules):
        target.expect(tuple(wanted))
    space = make_space(wanted, target.knobs(), study.source, spec.constraints, target.user_config())
    space = with_starts(space, spec.search.start, study.source)
    workloads = make_workloads(study)
    check_levels(study, space, workloads)
    check_labels(study, workloads)
    check_windows(study, workloads, space)
    check_sequences(study, workloads, space)
    _check_requests(study, target, workloads)
    _check_sampler(study, target, space)
    check_configs(study, target, space)
    if isinstance(target, KnowsRules):
        space = replace(space, rules=Rules(target, target.user_config()))
    return Prepared(study, target, space, workloads, cores)


def _cores(study: Study) -> Cores:
    try:
        return divide_host(study.spec.isolation, study.spec.generator.processes * generators_of(study))
    except CpusUnavailable as error:
        raise study.source.error(("isolation", "cores", error.part), str(error)) from None


def _check_sampler(study: Study, target: Target, space: Space) -> None:
    """Check that the sampler that a study asks for can be had. Raises StudyError."""
    asked = study.spec.search.sampler
    if asked == "gp" and not all(find_spec(one) for one in ("torch", "threadpoolctl")):
        raise study.source.error(("search", "sampler"), "gp needs PyTorch and more: pip install 'paretune[gp]'")
    if asked == "twin" and study.spec.target.several:
        raise study.source.error(
            ("search", "sampler"), "twin simulates one model at a time; take tpe where `target.models` has several"
        )
    if asked == "twin" and study.spec.search.choose != "first":
        raise study.source.error(
            ("search", "sampler"), "twin proposes for the first objective; take tpe to choose by several"
        )
    if asked == "twin" and (why := _beyond_the_twin(study)):
        raise study.source.error(("search", "sampler"), f"twin cannot propose here: {why}; take tpe")
    if asked == "twin" and roles_of(target.knobs(), [one.name for one in space]) is None:
        raise study.source.error(
            ("search", "sampler"),
            f"twin simulates batches, and of {study.spec.target.kind} no knob is known to set them",
        )


def _beyond_the_twin(study: Study) -> str:
    """Return what a study asks for that the twin does not simulate, "" where there is nothing."""
    for name, workload in study.spec.workloads.items():
        if isinstance(workload, LocustSpec):
            return f"{name} is a locustfile, and what its users do is not known before"
        if workload.sequences is not None:
            return f"requests of {name} belong to sequences, and it simulates single ones"
    (first, *_) = parse_goals(study.spec.objectives, next(iter(study.spec.workloads)))
    return "" if first.metric in FORECAST else f"the first objective, {first.metric}, is not simulated"


def _check_requests(study: Study, target: Target, workloads: tuple[Workload, ...]) -> None:
    for workload in workloads:
        if workload.users is not None:
            continue
        if study.spec.target.keeps_connections and not workload.keep_alive:
            raise study.source.error(
                ("workloads", workload.name, "keep_alive"),
                "a new connection for every request is for `target.protocol: http`; gRPC keeps its connections",
            )
        for one in workload.classes:
            try:
                check_requests(target, workload, one.dataset)
            except TargetError as error:
                place = ("workloads", workload.name, *(("mix", one.name) if one.name else ()), "requests")
                raise study.source.error(place, str(error)) from None


def check_agents(prepared: Prepared) -> None:
    """Check that every workload can be offered by agents. Raises StudyError."""
    for workload in prepared.workloads:
        if workload.users is not None:
            raise prepared.study.source.error(
                ("workloads", workload.name, "locustfile"),
                "the users of a locustfile run on this host, and no agent takes a share of them: leave out `--agents`",
            )


@contextmanager
def started(prepared: Prepared, run_path: Path, fleet: Fleet | None = None) -> Iterator[Bench]:
    """Start the target and the load generator; on the way out both are stopped, whatever happened.

    Args:
        prepared: the study.
        run_path: the run directory.
        fleet: agents that make the load in the place of this host.

    Raises:
        TargetError: the server does not start.
    """
    spec = prepared.study.spec
    with ExitStack() as stack:
        stack.enter_context(pinned(prepared.cores.tuner))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paretune-records-")))
        stack.callback(prepared.target.stop)
        generators = _generators(stack, prepared, fleet)  # they start meanwhile
        shares = cpus_of_generators(prepared.cores, generators_of(prepared.study))
        of_users = users_generators(prepared.workloads, shares, run_path / "locust.log", stack)
        began = time.monotonic()
        prepared.target.start()
        started_s = time.monotonic() - began
        for part in ("optimize", "special"):  # nothing may be imported while something is measured
            import_module(f"scipy.{part}")
        for generator in (*generators, *of_users.values()):
            generator.ready()
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
        yield Bench(trier, environment(prepared, gpus) | ({"agents": fleet.described} if fleet else {}), fleet)


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


def generators_of(study: Study) -> int:
    """Return how many load generators a study needs: one for each workload that is measured at the same time."""
    return len(study.spec.workloads) if study.spec.target.several else 1


def accuracies_of(prepared: Prepared, run_path: Path) -> Accuracies:
    """Return what will be learnt of the variants; their answers are compared where the space changes them."""
    compares = any(parameter.knob.changes_answers for parameter in prepared.space)
    known = scorings_of(prepared.workloads)
    return Accuracies(known, compares, run_path / "answers", shares=shares_of(prepared.workloads))


def pace_of(prepared: Prepared) -> Pace:
    """Return how long the measurements of a study take."""
    measure = prepared.study.spec.measure
    return Pace(measure.warmup, measure.max_warmup, measure.window, measure.max_window)


def simulation_of(prepared: Prepared) -> Simulation:
    """Return what simulates the server of a study: one that batches, and whose knobs say how."""
    spec, space = prepared.study.spec, prepared.space
    if spec.target.several:
        return Simulation(None, "it simulates one model at a time, and several get in each other's way")
    searched = [one.name for one in space.without_load()]
    roles = roles_of(prepared.target.knobs(), searched)
    if roles is None:
        return Simulation(None, f"of {spec.target.kind} no knob is known to set its batches")
    if spec.search.choose != "first":
        return Simulation(None, f"it proposes for one objective, and `choose: {spec.search.choose}` asks for several")
    if why := _beyond_the_twin(prepared.study):
        return Simulation(None, why)
    cores = len(prepared.cores.server or os.sched_getaffinity(0))
    if isinstance(prepared.target, KnowsOwn):  # the queue has levels whether or not they are searched
        space = replace(space, own={**prepared.target.own_values(roles.of_queue), **space.own})
    twin = Twin(
        space,
        prepared.workloads,
        prepared.goals,
        spec.bounds(),
        roles,
        cores,
        spec.search.seed,
        climbs=spec.load.search == "max_under_slo",
    )
    return Simulation(twin)


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
