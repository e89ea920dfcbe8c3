"""The shape of a study file. Quantities are strings with units; unknown keys are errors."""

import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, SerializeAsAny, Tag, field_validator, model_validator

from targets.options import Duration, Section, TargetOptions
from tuner.catalog import ADDED_UP
from tuner.cpus import format_cpus
from tuner.study.gating import GateSpec
from tuner.study.names import WorkloadName
from tuner.study.quantities import CpuSet, Fraction, Price
from tuner.study.slo import SloSpec
from tuner.study.traffic import TrafficSpec

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
OBJECTIVE = re.compile(r"(?P<direction>maximize|minimize) (?:(?P<workload>[\w-]+(?:\.[\w-]+)?)\.)?(?P<metric>\w+)")


class LoadSpec(Section):
    """How the load levels of the space are searched."""

    search: Literal["sampled", "max_under_slo"] = Field(
        "sampled",
        description="`sampled`: each proposal has a level; `max_under_slo`: each is measured at the levels that lead "
        "to the highest one that meets the SLO, on each workload",
    )
    resolution: Fraction = Field(
        0.05, ge=0.005, le=1, description="`max_under_slo`: how near a missed level has to be to the met one below it"
    )


class BudgetSpec(Section):
    """When the search ends."""

    trials: int = Field(40, ge=1)
    time: Duration = Field(300.0, gt=0, description="of the whole run: baseline, search and confirmation")
    patience: int | None = Field(
        None, ge=1, description="trials in a row that leave the front as it is, after which the search ends"
    )
    certain: Fraction = Field(
        0.99,
        gt=0,
        le=1,
        description="`twin`: the search ends when it is as sure as this of each untried configuration that it is no "
        "better than the best by more than `measure.tolerance`; 100%: never",
    )


class SearchSpec(Section):
    """How configurations are proposed."""

    sampler: Literal["auto", "twin", "tpe", "gp", "nsga2", "qmc", "random", "grid"] = Field(
        "auto",
        description="`auto`: `grid` where the trials are enough for the whole space, else `twin` where the server can "
        "be simulated, else `tpe`",
    )
    budget: BudgetSpec = BudgetSpec()
    storage: str = Field(
        "sqlite",
        description="what keeps the trials: `sqlite` or `journal`, a file in the run directory, or a database's URL",
    )
    start: list[dict[str, Any]] = Field(
        default=[], description="configurations that are tried first, knob to value; others keep yours"
    )
    choose: Literal["first", "robust", "weighted"] = Field(
        "first",
        description="what ranks: the first objective, the largest regret over all of them, or their weighted mean",
    )
    weights: list[float] = Field(default=[], description="`choose: weighted`: of the objectives, in their order")
    seed: int = Field(0, ge=0)

    @field_validator("storage")
    @classmethod
    def _without_password(cls, storage: str) -> str:
        """A study is stored with its results, and its reports show it."""
        if any(one and not _VARIABLE.fullmatch(one) for one in _passwords(storage)):
            raise ValueError(
                "holds a password, and the study is shown in its reports: write the name of an environment variable "
                "in its place, like postgresql://tune:$PASSWORD@db/trials, or leave it to the file of PGPASSFILE"
            )
        return storage

    @property
    def private(self) -> frozenset[str]:
        """The environment variables of the storage's address that let somebody in: of a password, or of all of it."""
        parts = _passwords(self.storage) if "://" in self.storage else [self.storage]
        return frozenset(found[1] or found[2] for part in parts for found in _VARIABLE.finditer(part))


def _passwords(storage: str) -> list[str]:
    """Return what stands for passwords in the address of a storage."""
    logins = [login.partition(":")[2] for login in re.findall(r"//(.*)@", storage)]
    return [*logins, *re.findall(r"(?:^|[?&\s])(?:ssl)?password=([^&\s]*)", storage)]


class MeasureSpec(Section):
    """How long one point is measured: until it is known well enough, between these bounds."""

    warmup: Duration = Field(0.3, description="shortest load before the window; not counted")
    max_warmup: Duration = Field(1.5, description="longest, for a load that does not settle; at least `warmup`")
    window: Duration = Field(0.3, gt=0, description="shortest window")
    max_window: Duration = Field(3.0, gt=0, description="longest window; at least `window`")
    tolerance: Fraction = Field(0.05, gt=0, description="the first objective is known well enough within this share")
    confidence: Fraction = Field(0.99, ge=0.5, lt=1, description="of an SLO's verdict, over all looks at a window")


class ConfirmSpec(Section):
    """How the winner is confirmed against the baseline."""

    candidates: int = Field(
        3, ge=1, description="best trials that are measured again, side by side, before one is confirmed"
    )
    redeployments: int = Field(
        4, ge=2, description="times that both sides are deployed anew; the interval is over these"
    )
    max_redeployments: int = Field(8, ge=2, description="more of them, while time is left and an SLO is undecided")
    rounds: int = Field(6, ge=2, description="rounds of each side and workload per redeployment, in turn (ABBA)")
    round: Duration = Field(0.3, gt=0, description="length of one round; the first fifth is not counted")


class GeneratorSpec(Section):
    """The load generator."""

    processes: int = Field(
        1, ge=1, le=64, description="processes of the load generator, each on a core of its own where there are enough"
    )


class TelemetrySpec(Section):
    """What the server uses, sampled while a window is measured."""

    period: Duration = Field(0.1, ge=0.02, le=10, description="from one sample to the next")
    server_metrics: Duration | None = Field(
        None, ge=0.5, le=60, description="from one reading of the server's own metrics to the next; none when absent"
    )


class ReportSpec(Section):
    """What the report is told beside what was measured; no part of what is studied."""

    price: Price | None = Field(None, description="of the server, in dollars per hour, like `$1.20/h`")


class CoresSpec(Section):
    """Who runs on which CPUs; the two sets are disjoint."""

    server: CpuSet = Field(description="CPUs of the server, like `2-7`")
    generator: CpuSet = Field(description="CPUs of the load generator, like `0,1`")

    @model_validator(mode="after")
    def _disjoint(self) -> "CoresSpec":
        if shared := self.server & self.generator:
            raise ValueError(
                f"server ({format_cpus(self.server)}) and generator ({format_cpus(self.generator)}) must not share "
                f"CPUs, but both have {format_cpus(shared)}"
            )
        return self


class IsolationSpec(Section):
    """Isolation by named CPUs."""

    cores: CoresSpec


def _isolation_form(value: object) -> str | None:
    """Say which form of `isolation` a value has; the words are no keys of a study, they appear in errors' places."""
    if isinstance(value, dict | IsolationSpec):
        return "(mapping)"
    return "(word)" if value in ("auto", "none") else None


Isolation = Annotated[
    Annotated[Literal["auto", "none"], Tag("(word)")] | Annotated[IsolationSpec, Tag("(mapping)")],
    Discriminator(
        _isolation_form,
        custom_error_type="isolation",
        custom_error_message='expected `auto`, `none` or `{cores: {server: "2-7", generator: "0,1"}}`',
    ),
]


class StudySpec(Section):
    """A whole study file."""

    study: str = Field(pattern=r"^[\w][\w.-]*$", description="name; results go to runs/NAME/")
    target: SerializeAsAny[TargetOptions]
    workloads: dict[WorkloadName, TrafficSpec] = Field(
        min_length=1, description="every configuration meets all; the first is primary"
    )
    space: dict[str, Any] = Field(
        description="knob or load level -> list of values, {low, high, scale, step}, or one value; `composing`: model "
        "of an ensemble, or that is called -> its knobs"
    )
    constraints: list[str] = Field(
        default=[], description="relations between knobs that every configuration keeps, like `KNOB <= OTHER`"
    )
    load: LoadSpec = LoadSpec()
    slo: SloSpec
    objectives: list[str] = Field(default=["maximize goodput", "minimize p99"], min_length=1)
    search: SearchSpec = SearchSpec()
    measure: MeasureSpec = MeasureSpec()
    confirm: ConfirmSpec = ConfirmSpec()
    gate: GateSpec = GateSpec()
    generator: GeneratorSpec = GeneratorSpec()
    telemetry: TelemetrySpec = TelemetrySpec()
    report: ReportSpec = ReportSpec()
    isolation: Isolation = Field(
        "auto", description="`auto`: server and load generator on cores of their own; `cores`: on these; `none`: on any"
    )

    @model_validator(mode="after")
    def _objectives_name_workloads(self) -> "StudySpec":
        for text in self.objectives:
            match = OBJECTIVE.fullmatch(text)
            if match and match["workload"] and match["workload"] not in self.bounds():
                raise ValueError(f"objective {text!r} names no workload of this study ({', '.join(self.bounds())})")
        return self

    @model_validator(mode="after")
    def _weights_fit_the_objectives(self) -> "StudySpec":
        weights, weighted = self.search.weights, self.search.choose == "weighted"
        wanted = len(self.objectives) if weighted else 0
        if len(weights) != wanted:
            why = "one of each objective" if weighted else "they are for `search.choose: weighted`"
            raise ValueError(f"search.weights: expected {wanted} ({why}), but got {len(weights)}")
        if weights and (min(weights) < 0 or sum(weights) <= 0):
            raise ValueError(f"search.weights: at least 0 and not all 0, but got {weights}")
        return self

    def bounds(self) -> dict[str, dict[str, float]]:
        """Return workload -> SLO -> bound, with an entry `WORKLOAD.CLASS` for each class of a mix after its workload.

        A bound of a workload's own holds in place of the study's. A metric that a class has a bound of its own on is
        judged class by class: the others then have the workload's or study's bound on it, and all requests together
        have none. What classes add up to is not: there a class has its own bound alone, and all requests theirs.
        """
        found: dict[str, dict[str, float]] = {}
        for name, workload in self.workloads.items():
            everywhere = {**self.slo.bounds(), **workload.slo.bounds()}
            own = {one: spec.slo.bounds() for one, spec in (workload.mix or {}).items()}
            by_class = {metric for bounds in own.values() for metric in bounds}.difference(ADDED_UP)
            shared = {metric: bound for metric, bound in everywhere.items() if metric in by_class}
            found[name] = {metric: bound for metric, bound in everywhere.items() if metric not in by_class}
            found |= {f"{name}.{one}": {**shared, **bounds} for one, bounds in own.items()}
        return found
