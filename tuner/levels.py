"""What a study says of load levels, checked against its workloads."""

from tuner.catalog import THROUGHPUT_BOUND
from tuner.nesting import place_of
from tuner.objective import parse_goals
from tuner.relations import Relation
from tuner.space import LOAD_NAMES, Space
from tuner.study.load import Study
from tuner.study.source import Keys
from tuner.study.traffic import WorkloadSpec
from tuner.workload import Workload, at_once, part_named


def check_levels(study: Study, space: Space, workloads: tuple[Workload, ...]) -> None:
    """Check that the space gives each workload a load level, and none to none.

    Raises:
        StudyError: it does not, or levels cannot be searched as the study asks.
    """
    used = {workload.level_name for workload in workloads if not workload.fixed_level}
    for workload in workloads:
        name = workload.level_name
        if workload.arrivals is None and not workload.fixed_level and not space.levels(name):
            what = "is a closed loop" if name == "concurrency" else "is a locustfile without `users`"
            raise study.source.error(
                ("space",), f"workload {workload.name!r} {what}: give `{name}` a range, a list or one value"
            )
    for name in LOAD_NAMES:
        if space.levels(name) and name not in used:
            what = "users that it does not fix itself" if name == "users" else f"a {name}"
            raise study.source.error(("space", name), f"no workload of this study has {what}; take it out")
    _check_offered(study, space, workloads)
    _check_climb(study, space, workloads)


def _check_offered(study: Study, space: Space, workloads: tuple[Workload, ...]) -> None:
    """Check that open loops can offer more than the throughput that the SLO asks for. Raises StudyError."""
    of_gate = [] if study.spec.gate.rate is None else [study.spec.gate.rate]
    for workload in workloads:
        if workload.arrivals is not None:
            levels = [*(list(map(float, space.levels("rate"))) or [workload.at(None).level]), *of_gate]
            check_offers(study, workload, max(levels), "at most " if len(levels) > 1 else "")


def check_offers(study: Study, workload: Workload, rate: float, most: str = "") -> None:
    """Check that an open loop, and each class of it, offers more than the throughput that the SLO asks for.

    Args:
        study: that asks.
        workload: the open loop.
        rate: that it offers.
        most: `at most ` where that is the highest of several.

    Raises:
        StudyError: it offers as much at best, so that no server can meet the bound for certain.
    """
    for part in workload.parts:
        least = study.spec.bounds()[part.name].get(THROUGHPUT_BOUND, 0.0)
        offered = rate if part.index is None else rate * float(workload.shares[part.index])
        if offered <= least:
            raise study.source.error(
                _place_of_bound(study, part.name, THROUGHPUT_BOUND),
                f"is {least:.6g}/s, but the open loop `{part.name}` offers {most}{offered:.6g}/s, and no server "
                "answers more than it is asked; give a lower bound or a higher rate",
            )


def _place_of_bound(study: Study, part: str, name: str) -> Keys:
    """Return where a bound on a workload or class stands."""
    whole, _, of_class = part.partition(".")
    workload = study.spec.workloads[whole]
    classes = "mix" if isinstance(workload, WorkloadSpec) else "classes"
    if of_class:
        return ("workloads", whole, classes, of_class, "slo", name)
    return ("workloads", whole, "slo", name) if name in workload.slo.bounds() else ("slo", name)


def _check_climb(study: Study, space: Space, workloads: tuple[Workload, ...]) -> None:
    """Check that a search for the highest sustainable loads has levels to climb. Raises StudyError."""
    if study.spec.load.search == "sampled":
        return
    if not study.spec.objectives[0].startswith("maximize"):
        raise study.source.error(
            ("objectives", 0), "with `load.search: max_under_slo` the first objective is to maximize something"
        )
    _check_relations(study, space)
    if at_once(workloads):
        _check_common(study, space, workloads[0])
    goal, *_ = parse_goals(study.spec.objectives[:1], workloads[0].name)
    _check_climbs(study, space, part_named(workloads, goal.workload)[0])


def _check_climbs(study: Study, space: Space, workload: Workload) -> None:
    """Check that the load of the workload that the first objective is about is searched. Raises StudyError."""
    name = workload.level_name
    if workload.fixed_level:
        raise study.source.error(
            ("load", "search"),
            f"`max_under_slo` searches the load of the workload that the first objective is about, and "
            f"{workload.name!r} has {'' if workload.users else 'a '}`{name}` of its own; take that out, or put another "
            "workload first",
        )
    if len(space.levels(name)) < 2:
        raise study.source.error(
            ("load", "search"), f"`max_under_slo` needs levels to choose from: give `space.{name}` a range or a list"
        )


def _check_common(study: Study, space: Space, first: Workload) -> None:
    """Check that the levels of workloads that are measured at once are of one kind. Raises StudyError."""
    _check_climbs(study, space, first)
    for other in LOAD_NAMES:
        if other != first.level_name and len(space.levels(other)) > 1:
            raise study.source.error(
                ("space", other),
                f"`load.search: max_under_slo` searches one level for all workloads that are measured at once, here "
                f"`{first.level_name}`, that of the first one; give one value",
            )


def _check_relations(study: Study, space: Space) -> None:
    """Check that nothing stands under a condition on the load, which a climb has yet to find. Raises StudyError."""
    climbs = "with `load.search: max_under_slo`"
    for index, relation in enumerate(space.constraints):
        if _names_a_load(relation):
            raise study.source.error(("constraints", index), f"{climbs} a constraint cannot name the load")
    for parameter in space:
        place = (*place_of(parameter.knob), "when")
        if parameter.when is not None and parameter.name in LOAD_NAMES:
            raise study.source.error(place, f"{climbs} a load has no condition")
        if parameter.when is not None and _names_a_load(parameter.when):
            raise study.source.error(place, f"{climbs} a condition cannot name the load")


def _names_a_load(relation: Relation) -> bool:
    return any(term.left in LOAD_NAMES or term.right in LOAD_NAMES for term in relation.terms)
