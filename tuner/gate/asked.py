"""What a study's gate asks for: rules by workload, and whether they can be measured here."""

from collections.abc import Sequence

from tuner.accuracy.checks import require
from tuner.accuracy.scored import scorings_of
from tuner.catalog import STREAMED
from tuner.gate.rules import OF_ITEMS, OF_SERVER
from tuner.study.load import Study
from tuner.study.locustfile import LocustSpec
from tuner.study.own_metrics import streams_none
from tuner.study.source import Keys
from tuner.study.spec import StudySpec
from tuner.use_checks import check_use
from tuner.users_traffic import NO_TOKENS
from tuner.workload import Workload


def check(study: Study) -> None:
    """Check that a study's gate fits the study, and what can be measured of its target on this host.

    Raises:
        StudyError: it names no workload of the study, gives one a rule that is judged on another, has a rule that
            nothing here tells of, or there is neither a rule nor an SLO.
    """
    spec, gate = study.spec, study.spec.gate
    known = list(spec.bounds())
    for name in gate.workloads:
        if name not in known:
            raise study.source.error(
                ("gate", "workloads", name), f"no workload of this study; there are {', '.join(known)}"
            )
        for rule in gate.workloads[name].limits():
            if (whose := _judged_on(spec, name, rule)) != name:
                place = ("gate", "workloads", name, rule)
                raise study.source.error(place, f"{_why(spec, rule)}; give the rule to {whose}")
    if not limits(study) and not any(spec.bounds().values()):
        raise study.source.error(("gate",), "there is no rule: give one, like `gate: {throughput: -5%, p99: +10%}`")
    _check_tokens(study)
    check_use(study, [(place, _OF_USE[rule]) for place, _, rule in _given(study) if rule in _OF_USE])


_OF_USE = {"energy": "energy_per_inference", "memory": "server_rss", "cpu": "server_cpu"}
"""Rule -> a metric that it takes to be told."""


def _given(study: Study) -> list[tuple[Keys, str, str]]:
    """Return the rules as the study has them: place, workload or class ("": all workloads), rule."""
    gate = study.spec.gate
    found: list[tuple[Keys, str, str]] = [(("gate", rule), "", rule) for rule in gate.limits()]
    for name, own in gate.workloads.items():
        found += [(("gate", "workloads", name, rule), name, rule) for rule in own.limits()]
    return found


def _check_tokens(study: Study) -> None:
    """Check that tokens are told of where a rule is on them. Raises StudyError."""
    spec = study.spec
    for place, name, rule in _given(study):
        if rule not in STREAMED:
            continue
        if not spec.target.streams:
            raise study.source.error(place, streams_none(spec.target))
        whose = [name.partition(".")[0]] if name else list(spec.workloads)
        if any(isinstance(spec.workloads[one], LocustSpec) for one in whose):
            remedy = "take it out" if name else "give the rule to the other workloads, under `gate.workloads`"
            raise study.source.error(place, NO_TOKENS + remedy)


def check_items(study: Study, workloads: Sequence[Workload]) -> None:
    """Check that labelled items tell of every rule on them.

    Args:
        study: that has the rules.
        workloads: of it.

    Raises:
        StudyError: none do, or they are scored in another way.
    """
    scorings = scorings_of(workloads)
    for place, name, rule in _given(study):
        if rule not in OF_ITEMS:
            continue
        whose = [name] if name else list(study.spec.workloads)
        own = {one: scorings[one] for one in whose if one in scorings}
        classes = [one for one in scorings if one.partition(".")[0] in whose]
        if classes and not own:
            raise study.source.error(
                place,
                "its classes are not all scored in one way; give the rule to one of them, like "
                f"gate.workloads.{classes[0]}",
            )
        of = "no workload" if not name else "this class" if "." in name else "this workload"
        require(study, place, rule, own, of)


def limits(study: Study) -> dict[str, dict[str, float]]:
    """Return workload -> rule -> limit; a class of a mix has only the rules that name it.

    A rule that would be the same one on several workloads stands on that which it is judged on.
    """
    spec, found = study.spec, {}
    for name in spec.bounds():
        of_class = "." in name
        own = spec.gate.workloads[name].limits() if of_class and name in spec.gate.workloads else {}
        given = own if of_class else spec.gate.limits_of(name)
        found[name] = {rule: limit for rule, limit in given.items() if _judged_on(spec, name, rule) == name}
    return {name: rules for name, rules in found.items() if rules}


def _judged_on(spec: StudySpec, name: str, rule: str) -> str:
    """Return the workload that tells of a rule on a workload or class: mostly that one.

    A server is cold for the first workload, but for all of them where these ask models of their own at once. What it
    uses is that of all workloads then.
    """
    whole, first, several = name.partition(".")[0], next(iter(spec.workloads)), bool(spec.target.several)
    if rule == "cold_start":
        return whole if several else first
    if rule in OF_SERVER:
        return first if several else whole
    return name


def _why(spec: StudySpec, rule: str) -> str:
    if rule in OF_SERVER:
        return "what the server uses is told of all requests together"
    if spec.target.several:
        return "a cold start is told of a whole workload"
    return "a server is cold for the first workload only"
