"""Put a gate's sides together: studies checked, servers started, what belongs beside their figures."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from targets.base import Config
from tuner.accuracy.scored import scorings_of, shares_of
from tuner.accuracy.variants import Accuracies
from tuner.gate import hosts, places
from tuner.gate.asked import check_items, limits
from tuner.gate.baseline import now
from tuner.gate.document import Form, Measurement
from tuner.gate.gathering import Gathered
from tuner.gate.revisions import commit_of
from tuner.gate.rounds import ONE_AT_A_TIME, Demand, Rounds, Side, least, longest_s
from tuner.gate.rules import OF_SERVER, measurable
from tuner.gate.running import About, Gate
from tuner.gate.traffic import asked, earlier_hash, traffic_hash
from tuner.instruments import Bench, pace_of, started
from tuner.levels import check_offers
from tuner.load.distributed.fleet import Fleet
from tuner.results import Load
from tuner.space import Space, server_part
from tuner.study.load import Study
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.room import cpu_time
from tuner.wiring import Prepared
from tuner.workload import Workload, at_once, load_level, parts_of

_ASKED_FOR = "`gate.sides` is `in_turn`"
_ONE_SIDE_AT_ONCE = "one side measures its workloads at once, the other one after the other"
_LOOPS = {"concurrency": "a closed loop", "rate": "an open loop", "users": "a locustfile"}
"""Load level -> the kind of workload that has it."""
_OWN_LEVEL = {"concurrency": "arrival.concurrency", "users": "users"}
"""Load level -> where a workload has one of its own."""


def check_time(form: Form, study: Study, sides: Sequence[Demand]) -> None:
    """Check that what has to be measured before the first look fits into the time cap.

    Args:
        form: of the gate.
        study: of the side that is judged.
        sides: what each is loaded with.

    Raises:
        StudyError: it does not.
    """
    spec, count = study.spec.gate, least(form, study.spec.gate)
    needed_s = count * longest_s(sides, spec)
    if needed_s <= spec.time:
        return
    key = "redeployments" if form == "ab" else "restarts"
    raise study.source.error(
        ("gate", "time"),
        f"{count} redeployments have to be measured before the first verdict, and that takes up to {needed_s:.1f} s, "
        f"not {spec.time:g} s: give `gate.time: {math.ceil(needed_s)} s`, or lower `gate.{key}`, `gate.rounds`, "
        "`gate.round` or `measure.max_warmup`",
    )


def demand(prepared: Prepared, loads: Mapping[str, Load]) -> Demand:
    """Return what a side is loaded with: the workloads of its study, at these loads and at its pace."""
    return Demand(prepared.workloads, loads, pace_of(prepared))


def chosen(prepared: Prepared, baseline: Measurement | None) -> tuple[Config, dict[str, Load]]:
    """Return the configuration that the study's files have, and the load of each workload.

    A knob with one value in the space has that value. The load level is a workload's own, else that of `gate`, else the
    only one of the space, else that of the baseline.

    Raises:
        StudyError: a workload has no level, or several to choose from.
    """
    space = prepared.space
    fixed = {one.name: one.values[0] for one in space if len(one.values) == 1}
    at = {**fixed, **_levels(prepared)}
    loads = {one.name: _load(prepared, one, space, at, baseline) for one in prepared.workloads}
    config = {**prepared.target.user_config(), **server_part(space.active(fixed))}
    return config, {part.name: loads[workload.name] for workload, part in parts_of(prepared.workloads)}


def _levels(prepared: Prepared) -> dict[str, float]:
    """Return the load levels that a study's `gate` gives."""
    gate = prepared.study.spec.gate
    levels = {"concurrency": gate.concurrency, "rate": gate.rate, "users": gate.users}
    return {name: level for name, level in levels.items() if level is not None}


def _check_taken(prepared: Prepared, name: str) -> None:
    """Check that some workload takes a load level of the gate. Raises StudyError."""
    having = [one for one in prepared.workloads if one.level_name == name]
    if any(not one.fixed_level for one in having):
        return
    why = f"no workload of this study is {_LOOPS[name]}; take it out"
    if having:
        whose = having[0].name
        own = f"workloads.{whose}.{_OWN_LEVEL[name]}"
        why = f"no workload takes it: {whose} has `{name}` of its own; change `{own}` in its place"
    raise prepared.study.source.error(("gate", name), why)


def _load(
    prepared: Prepared, workload: Workload, space: Space, fixed: Mapping[str, object], baseline: Measurement | None
) -> Load:
    name, levels = workload.level_name, space.levels(workload.level_name)
    if name not in fixed and len(levels) > 1 and not workload.fixed_level:
        if baseline is not None and workload.name in baseline.workloads:
            return baseline.workloads[workload.name].load
        raise prepared.study.source.error(
            ("space", name),
            f"it has {len(levels)} values, and a gate is at one load: give `gate.{name}`, like --set gate.{name}="
            f"{levels[-1]:g}",
        )
    return workload.at(load_level(workload, fixed))


def measured_at(
    form: Form, sides: Sequence[Prepared], baseline: Measurement | None
) -> list[tuple[Config, dict[str, Load]]]:
    """Return configuration and loads of each side, see `chosen`: all that can be checked before a server is started.

    Raises:
        StudyError: a rule finds no labelled items, no workload of the side that is judged takes a level of its `gate`,
            a workload has no level or offers less than its SLO asks for, the time cap is too short, or both sides are
            the same in one running server.
        HostsDiffer: one side has a workload that the other has not, or measures them at once, the other does not.
    """
    _check_same_workloads(sides)
    if form == "ab":
        places.told_apart(sides[0].study, sides[-1].study)
    check_items(sides[-1].study, sides[-1].workloads)
    for name in _levels(sides[-1]):  # one that the old side has left over may be what the change takes out
        _check_taken(sides[-1], name)
    found = [chosen(one, baseline) for one in sides]
    for one in sides[-1].workloads:
        if one.arrivals is not None:
            check_offers(sides[-1].study, one, found[-1][1][one.name].level)
    demands = [demand(one, loads) for one, (_, loads) in zip(sides, found, strict=True)]
    check_time(form, sides[-1].study, demands)
    return found


def _check_same_workloads(sides: Sequence[Prepared]) -> None:
    """Check that all sides can be measured in the same rounds. Raises HostsDiffer."""
    if len({at_once(one.workloads) for one in sides}) > 1:
        raise hosts.HostsDiffer(
            f"not comparable: workload: {_ONE_SIDE_AT_ONCE}; give both sides several models, or one"
        )
    names = [{one.name for one in side.workloads} for side in sides]
    if lone := sorted(names[0] ^ names[-1]):
        told = f"{', '.join(lone)} stands on one side only"
        raise hosts.HostsDiffer(f"not comparable: workload: {told}; give both sides the same workloads")


@contextmanager
def opened(
    form: Form,
    sides: Sequence[tuple[str, Prepared]],
    folder: Path,
    baseline: Measurement | None,
    despite: Sequence[str],
    notes: Sequence[str] = (),
    fleet: Fleet | None = None,
) -> Iterator[Gate]:
    """Start the servers of all sides; on the way out they are stopped, whatever happened.

    Args:
        form: of the gate.
        sides: label and study of each; the last is the one that is judged.
        folder: the run directory.
        baseline: of the form `against`.
        despite: what may differ.
        notes: what a reader should know.
        fleet: agents that make the load of all sides in the place of this host.

    Raises:
        StudyError, TargetError: a side cannot be used.
        HostsDiffer: old and new are not comparable.
    """
    spec = sides[-1][1].study.spec.gate
    loaded = measured_at(form, [prepared for _, prepared in sides], baseline)
    alone = ""
    if form == "ab":
        alone = _ASKED_FOR if spec.sides == "in_turn" else places.one_at_a_time(sides)
    in_turn = bool(alone)
    with ExitStack() as stack:
        made = [stack.enter_context(started(prepared, folder, fleet)) for _, prepared in sides]
        agents = [one.cores for one in fleet.agents] if fleet else []
        about = [_about(label, prepared, bench, agents) for (label, prepared), bench in zip(sides, made, strict=True)]
        opposed = [
            _side(label, bench, config, loads, beside=form == "ab" and not in_turn)
            for (label, _), bench, (config, loads) in zip(sides, made, loaded, strict=True)
        ]
        of_server = [rule for rule in OF_SERVER if any(rule in own for own in about[-1].rules.values())]
        rounds = Rounds(opposed, spec, of_server, in_turn, [ONE_AT_A_TIME.format(alone)] if alone else [])
        told = [*notes, *_notes(form, sides), *_differences(about, opposed, baseline, despite)]
        yield Gate(form, spec, rounds, about, baseline, told, fleet)


def _notes(form: Form, sides: Sequence[tuple[str, Prepared]]) -> list[str]:
    """Return what a reader should know of where the servers are."""
    same = places.told_apart(sides[0][1].study, sides[-1][1].study) if form == "ab" else []
    return [*same, *places.never_restarted(sides)]


def _differences(
    about: Sequence[About], sides: Sequence[Side], baseline: Measurement | None, despite: Sequence[str]
) -> list[str]:
    """Return what differs between old and new and may: two sides of one run share the host, not what is released."""
    settings = [
        hosts.Setting(one.host, one.traffic, side.loads, one.earlier_traffic)
        for one, side in zip(about, sides, strict=True)
    ]
    if baseline is not None:
        return hosts.check(hosts.Setting.of(baseline), settings[-1], despite)
    return hosts.check(settings[0], settings[-1], [*despite, *hosts.RELEASED], hosts.TOGETHER)


def _side(label: str, bench: Bench, config: Config, loads: Mapping[str, Load], *, beside: bool) -> Side:
    trier = bench.trier
    trier.accuracies = Accuracies(scorings_of(trier.workloads), shares=shares_of(trier.workloads))
    return Side(label, trier, config, loads, Gathered(trier, trier.variant(config) or "own", beside=beside))


def _about(label: str, prepared: Prepared, bench: Bench, agents: Sequence[int]) -> About:
    commit = commit_of(prepared.study.source.path.resolve().parent)
    study, cpus = prepared.study, len(os.sched_getaffinity(0) | (prepared.cores.server or frozenset()))
    total = len((prepared.cores.server or frozenset()) | (prepared.cores.generator or frozenset())) or cpus
    server = len(prepared.cores.server) if prepared.cores.server is not None else cpus
    errors = {part: one.is_error for part, one in scorings_of(prepared.workloads).items()}
    return About(
        study=study.spec.study,
        label=label,
        started=now(),
        host=hosts.facts(
            bench.environment,
            total,
            server,
            Gpus().driver,
            agents,
            asked(study.spec.target, bench.environment),
            cpu_time(),
        ),
        traffic={name: traffic_hash(one, study.resolve) for name, one in study.spec.workloads.items()},
        earlier_traffic={
            name: earlier_hash(one, map(study.resolve, one.files())) for name, one in study.spec.workloads.items()
        },
        environment={**bench.environment, **({"commit": commit} if commit else {})},
        rules=measurable(limits(study), errors),
        bounds=measurable(study.spec.bounds(), errors),
    )
