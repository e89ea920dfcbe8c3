"""Put together what a study names, checked against its target before anything is started."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from targets import registry
from targets.base import PRIVATE, Context, KnowsRules, Target, TargetError
from tuner.accuracy.checks import check_labels
from tuner.config_checks import check_configs
from tuner.isolation import Cores, CpusUnavailable, divide_host
from tuner.levels import check_levels
from tuner.nesting import flat
from tuner.objective import Goal, parse_goals
from tuner.rules import Rules
from tuner.serving import check_requests
from tuner.space import Space, make_space, with_starts
from tuner.study.load import Study
from tuner.study.locustfile import LocustSpec
from tuner.study.own_metrics import asked_of_use
from tuner.traffic import check_sequences, check_windows, make_workloads
from tuner.twin.forecast import FORECAST, roles_of
from tuner.use_checks import check_told, check_use
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
    if asked == "twin" and (why := beyond_the_twin(study)):
        raise study.source.error(("search", "sampler"), f"twin cannot propose here: {why}; take tpe")
    if asked == "twin" and roles_of(target.knobs(), [one.name for one in space]) is None:
        raise study.source.error(
            ("search", "sampler"),
            f"twin simulates batches, and of {study.spec.target.kind} no knob is known to set them",
        )


def beyond_the_twin(study: Study) -> str:
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


def generators_of(study: Study) -> int:
    """Return how many load generators a study needs: one for each workload that is measured at the same time."""
    return len(study.spec.workloads) if study.spec.target.several else 1
