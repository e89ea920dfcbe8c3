"""What a run found, as plain data: the content of result.json, its schema, and reading and writing it.

What it says of the run itself, beside its trials, is made of what `tuner.run_info` has. Reports read this and nothing
else. Numbers are in seconds, per second, fractions and bytes; their unit ends their name.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from tuner.data import Data, LowerBound, Number
from tuner.garbage import keeping_all
from tuner.run_info import Agent, HostInfo, MetricInfo, SearchInfo, StudyInfo, Timing
from tuner.usage import Telemetry

SCHEMA: Literal["paretune.result/1"] = "paretune.result/1"

Value = int | float | str | bool
SloVerdict = Literal["met", "missed", "undecided"]
Verdict = Literal["better", "worse", "no difference", "inconclusive"]
Ending = Literal["certain", "missed", "dominated", "cap"]
SteadyState = Literal["steady", "unstable", "overloaded"]
TrialState = Literal["complete", "refused", "crashed", "hung", "invalid"]
RunState = Literal["running", "interrupted", "failed", "done"]


def overall(verdicts: Iterable[SloVerdict]) -> SloVerdict:
    """Return what verdicts say together: one missed is missed, else one undecided is undecided; met without any."""
    together = set(verdicts)
    if "missed" in together:
        return "missed"
    return "undecided" if "undecided" in together else "met"


class Estimate(Data):
    """A number with its 95% interval. null stands for infinite: a percentile of failed requests, a bound unknown."""

    value: Number
    low: LowerBound
    high: Number
    n: int = Field(description="samples behind it; for a gain, redeployments")
    note: str | None = Field(None, description="why a bound is infinite")


class Ratio(Estimate):
    """One configuration's number divided by another's."""

    verdict: Verdict = Field(description="whether that is better, by an interval that leaves no doubt")

    def turned(self) -> Estimate:
        """Return the other one's number divided by this one's: of a latency, how many times lower this one is."""
        value, low, high = (1 / bound if bound > 0 else math.inf for bound in (self.value, self.high, self.low))
        return Estimate(value=value, low=low, high=high, n=self.n)


LEVEL_NAMES = {"closed": "concurrency", "open": "rate", "users": "users"}
"""Mode of a load -> what a study calls its level."""


class Load(Data):
    """How requests arrived."""

    mode: Literal["closed", "open", "users"]
    level: float = Field(
        description="closed: requests in flight; open: mean offered requests per second; users: of a locustfile"
    )

    @property
    def name(self) -> str:
        """What a study calls the level."""
        return LEVEL_NAMES[self.mode]


class BatchSize(Data):
    """Executions of one batch size."""

    size: int
    count: int
    compute_mean_s: float


class Cache(Data):
    """Lookups in the server's cache of whole answers."""

    hits: int
    misses: int
    hit_mean_s: float | None = Field(description="time of a hit in the server; null without one")
    miss_mean_s: float | None = Field(description="what a miss takes beside computing the answer; null without one")
    hit_latency: dict[str, Estimate] = Field({}, description="p50, p90 and p99 of the requests that were hits")
    miss_latency: dict[str, Estimate] = Field({}, description="p50, p90 and p99 of the requests that were misses")
    either: int = Field(0, description="requests that may be either: they were on their way together with their like")
    latency_note: str | None = Field(None, description="why hits and misses are not told apart")


class ComposingModel(Data):
    """What the server says of one of the models that an ensemble is composed of, in the window."""

    requests: int
    failures: int
    executions: int
    mean_s: dict[str, float] = Field(description="stage -> mean seconds a request spent in it")
    batch_sizes: list[BatchSize]


class Server(Data):
    """What the server itself says of the window."""

    window_s: float
    requests: int
    failures: int
    executions: int
    mean_s: dict[str, float] = Field(description="stage -> mean seconds a request spent in it")
    batch_sizes: list[BatchSize]
    cache: Cache | None = None
    composing: dict[str, ComposingModel] = Field(
        {}, description="model that an ensemble is composed of, or that a model calls -> its own numbers"
    )


class Generator(Data):
    """What the load generator says of itself."""

    issue_delay_p50_s: float = Field(description="sent - ready")
    issue_delay_p99_s: float
    cpu_share: float = Field(description="of one core, over the window; of its busiest process")
    processes: int = Field(1, description="processes it ran in")
    stalls: int = Field(0, description="times in the window that it did not look at its sockets for over 1 ms")
    longest_stall_s: float = Field(0.0, description="the longest time in the window that it did not look at them")
    queue_max: int = Field(0, description="most requests found due and not yet sent at one look at the clock")
    waiting_max: int = Field(0, description="most requests that waited for a connection at once; the server's doing")
    agents: list[Agent] = Field([], description="where several machines offered the load, what each of them did")


class Failure(Data):
    """Requests that failed in one way."""

    outcome: str
    code: int = Field(description="HTTP status, gRPC code or errno; 0 when there is none")
    count: int = Field(description="requests intended in the window")
    text: str = Field("", description="the first of them, as the network or the server put it")


class NamedRequests(Data):
    """Requests of a locustfile that have one method and name, as Locust tells them apart."""

    method: str = Field(description="or type; empty of the names that are told together")
    name: str = Field(description="empty of the names that are told together")
    names: int = Field(1, description="how many names are told here")
    requests: int = Field(description="intended in the window")
    metrics: dict[str, Estimate] = Field(description="throughput, error rate, and p50, p90 and p99 of the latency")


class Validity(Data):
    """Whether a measurement may be used; a server that is slow is never a reason, a generator that is, is one."""

    valid: bool
    reasons: list[str] = Field([])
    warnings: list[str] = Field([])


class Steadiness(Data):
    """Whether the load had settled in the window."""

    state: SteadyState
    reason: str | None = None


class Point(Data):
    """One measurement of a trial."""

    workload: str
    request_class: int | None = Field(
        None, description="of a class: its number in the column `class` of the records; null: all requests"
    )
    load: Load
    window: int | None = Field(
        None, description="of workloads measured at once: number of the window in the trial; null: measured alone"
    )
    warmup_s: float
    window_s: float
    metrics: dict[str, Estimate]
    outcomes: dict[str, int] = Field(description="requests intended in the window, by how they ended")
    failures: list[Failure] = Field([], description="the ones that are not ok, by outcome and code")
    violations: dict[str, Number] = Field(description="SLO -> share beyond its bound; above 0 it is missed")
    verdicts: dict[str, SloVerdict] = Field({}, description="SLO -> verdict, at the study's confidence")
    steadiness: Steadiness = Steadiness(state="steady")
    ended: Ending = Field("cap", description="why the window ended")
    independent: float = Field(
        0.0, description="independent requests that those of the window are worth to the latency bound"
    )
    server: Server | None
    telemetry: Telemetry
    generator: Generator
    named: list[NamedRequests] = Field([], description="of all requests of a locustfile: those of each name")
    validity: Validity
    records: str | None = Field(description="file of the records, relative to the run directory")


class Trial(Data):
    """One configuration that was tried."""

    number: int = Field(description="0 is the baseline")
    config: dict[str, Value] = Field(description="knob -> value; durations in seconds")
    state: TrialState
    reason: str | None = None
    points: list[Point]
    apply_s: float = Field(description="time to load it; 0 where the trial before left it loaded")
    wall_s: float
    predicted: dict[str, dict[str, Estimate]] = Field(
        {}, description="workload -> metric -> what the twin expected of it before it was measured"
    )
    host: str | None = Field(None, description="that measured it, where several work on one study")
    own_loads: bool = Field(False, description="each workload was climbed by itself: any of their loads go together")

    def counts(self, point: Point) -> bool:
        """Return whether one of its points may be used: the server was not lost, and the load generator not in its way.

        A trial is invalid where one of its points is; the others of it count.
        """
        return self.state in ("complete", "invalid") and point.validity.valid


class FrontPoint(Data):
    """A point of the primary workload that is on the front, or may be under the measurement noise."""

    trial: int
    point: int
    loads: dict[str, Load] = Field({}, description="other workload -> the load that the point is judged with")
    meets_slo: bool
    membership: float = Field(description="probability of being on the front under the measurement noise")
    on_front: bool = Field(description="non-dominated by the measured values")


class Side(Data):
    """One configuration in the confirmation: everything measured of it there, pooled."""

    trial: int
    config: dict[str, Value]
    load: Load
    loads: dict[str, Load] = Field({}, description="other workload -> its load")
    metrics: dict[str, dict[str, Estimate]] = Field(description="workload -> metric -> estimate")
    verdicts: dict[str, dict[str, SloVerdict]] = Field(description="workload -> SLO -> verdict")
    server: dict[str, Server] = Field(description="workload -> the server's own numbers, all rounds together")
    generator: dict[str, Generator] = Field(
        {}, description="workload -> what the load generator says of itself, all rounds together"
    )
    valid: bool
    reasons: list[str] = Field([])


class Confirmation(Data):
    """The winner against the baseline, in interleaved rounds, both redeployed several times."""

    candidate: Side
    baseline: Side
    redeployments: int
    rounds: int = Field(description="of each side and workload")
    gains: dict[str, Ratio] = Field(description="metric of the first objective's workload -> candidate / baseline")
    verdict: SloVerdict = Field(description="of the candidate, over all SLOs and workloads")


class Comparison(Data):
    """Two configurations measured in turn, both redeployed several times."""

    ours: Side
    theirs: Side
    redeployments: int
    rounds: int = Field(description="of each side and workload")
    ratios: dict[str, dict[str, Ratio]] = Field(description="workload -> metric -> ours / theirs")
    notes: list[str] = Field(
        [], description="agents that were lost, and who made the load then; what did not fit side by side"
    )


class Best(Data):
    """What to deploy."""

    trial: int
    point: int
    config: dict[str, Value]
    load: Load
    loads: dict[str, Load] = Field({}, description="other workload -> its load")
    confirmed: bool
    metrics: dict[str, dict[str, Estimate]] = Field(description="workload -> metric -> estimate; confirmed if it is")
    verdicts: dict[str, dict[str, SloVerdict]]
    objective: str = Field(description="the metric that the gain is of")
    gain_vs_baseline: Ratio | None = Field(description="null: the baseline meets no SLO, or nothing was confirmed")
    regrets: dict[str, Number] = Field(
        {}, description="objective -> share given up for the others, by the search; {} where the first alone ranks"
    )
    export: str | None = Field(None, description="folder of the exported config, relative to the run directory")
    export_verified: bool = False


class Closest(Data):
    """When nothing met the SLO: the point that came closest."""

    trial: int
    point: int
    missed: dict[str, Number] = Field(description="WORKLOAD.SLO -> value / bound - 1")


class KnobInfo(Data):
    """A searched parameter."""

    name: str
    unit: str
    applied: str
    doc: str
    values: list[Value]
    apply_s: float | None = Field(None, description="what a change took; null where it was not changed")
    changes_answers: bool = Field(False, description="whether accuracy is measured for each of its values")


class Result(Data):
    """A whole run."""

    schema_: Literal["paretune.result/1"] = Field(SCHEMA, alias="schema")
    state: RunState
    exit_code: int | None = None
    message: str | None = None
    study: StudyInfo
    environment: dict[str, str]
    knobs: list[KnobInfo]
    search: SearchInfo | None = None
    own_metrics: list[MetricInfo] = Field([], description="the metrics that only this kind of server has")
    trials: list[Trial]
    front: list[FrontPoint]
    baseline: FrontPoint | None = Field(description="the user's config at its best load level; null if it meets no SLO")
    shortlist: list[Side] = Field([])
    confirmation: Confirmation | None = None
    best: Best | None = None
    closest: Closest | None = None
    validity: Validity
    timing: Timing
    hosts: list[HostInfo] = Field([], description="those that worked on the study together; [] where one did")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def trial(self, number: int) -> Trial:
        """Return a trial by its number. Raises KeyError when there is none."""
        return {trial.number: trial for trial in self.trials}[number]


NEWER = "newer.jsonl"
"""Trials that a run has told since it wrote its result.json, one a line."""


class ResultError(Exception):
    """A stored result that cannot be read; the message names the file and the reason."""


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema of result.json."""
    return Result.model_json_schema(by_alias=True, mode="serialization")


@keeping_all()
def read_result(run: Path) -> Result:
    """Read result.json of a run directory, with the trials that a run which goes on, or was killed, has told since.

    Raises:
        ResultError: it is missing, truncated, or of another schema.
    """
    path = run / "result.json"
    try:
        result = Result.model_validate_json(path.read_bytes())
        return _with_newer(result, run / NEWER) if result.state == "running" else result
    except OSError as error:
        if (run / "run.json").is_file():
            raise ResultError(f"{path}: not there yet: the run has only begun; look again in a while") from None
        raise ResultError(f"{path}: {error.strerror}; give the directory of a run, like runs/digits/latest") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ResultError(f"{path}: not a {SCHEMA} document: {place}: {first['msg']}") from None


def note_newer(run: Path, trial: Trial) -> None:
    """Keep a trial beside a result.json that does not have it."""
    with (run / NEWER).open("a") as file:
        file.write(trial.model_dump_json() + "\n")


def _with_newer(result: Result, path: Path) -> Result:
    """Return a result with the trials beside it; a line that a killed run did not finish is none."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    known = {trial.number for trial in result.trials}
    newer = [trial for trial in map(Trial.model_validate_json, lines) if trial.number not in known]
    return result.model_copy(update={"trials": [*result.trials, *newer]})


def to_json(result: Result) -> str:
    """Return the document that result.json holds."""
    return result.model_dump_json(by_alias=True, indent=1)
