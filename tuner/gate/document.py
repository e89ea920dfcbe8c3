"""What a gate measured and found, as plain data: the content of baselines and of gate.json."""

import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PlainSerializer, WithJsonSchema

from tuner.data import Data, Number
from tuner.results import Load, SloVerdict, Value

BASELINE: Literal["paretune.baseline/1"] = "paretune.baseline/1"
GATE: Literal["paretune.gate/1"] = "paretune.gate/1"
Known = Annotated[
    float | None,
    PlainSerializer(lambda value: value if value is not None and math.isfinite(value) else None),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}),
]
"""A number; null where it is not known, or infinite."""
RuleState = Literal["pass", "fail", "inconclusive", "info"]
Form = Literal["ab", "against", "compare", "alone"]


class Restart(Data):
    """One deployment of a side, on one workload."""

    metrics: dict[str, Number] = Field(description="figure -> value; seconds, per second, fractions, bytes, joules")
    requests: int = Field(description="intended in its windows")
    errors: int = Field(description="of these, those that did not end ok")


class Accuracy(Data):
    """How a side answered the labelled items of a workload."""

    value: Number = Field(description="share answered right, or mean score, or prediction error")
    of: Literal["accuracy", "prediction_error"] = Field("accuracy", description="which of these figures it is")
    items: int
    right: str | None = Field(
        None,
        description="one bit for each item, in hexadecimal; null where scores are no 0 or 1, and of a mix as a whole",
    )
    scores: str | None = Field(
        None,
        description="score of each item: base64 of float64, little-endian; null where `right` says them, and of a mix "
        "as a whole, whose classes have them",
    )


class Measured(Data):
    """What was measured of a workload, or of a class of one."""

    load: Load
    restarts: list[Restart]
    latency: dict[int, int] = Field(description="histogram of all restarts: bucket -> requests, see docs/gate.md")
    slo: dict[str, SloVerdict] = Field({}, description="SLO -> verdict")
    accuracy: Accuracy | None = None


class Accepted(Data):
    """Who made a run the baseline."""

    by: str
    when: str
    why: str
    run: str


class Measurement(Data):
    """Everything measured of one side; a baseline once it is accepted."""

    schema_: Literal["paretune.baseline/1"] = Field(BASELINE, alias="schema")
    checksum: str = Field("", description="SHA-256 of the rest, so that a change by hand is seen")
    accepted: Accepted | None = None
    study: str
    label: str = Field(description="what the side is called: a file, a git revision")
    started: str
    host: dict[str, str] = Field(description="what matters to the figures: see docs/gate.md")
    traffic: dict[str, str] = Field(description="workload -> SHA-256 of what it sends: its definition, and its files")
    earlier_traffic: dict[str, str] = Field(
        {}, description="the same as earlier versions told it; empty where `traffic` is of such a version"
    )
    environment: dict[str, str] = Field(description="everything else that belongs beside the figures")
    config: dict[str, Value]
    rules: dict[str, dict[str, float]] = Field(description="workload -> rule -> limit, of the study then")
    bounds: dict[str, dict[str, float]] = Field(description="workload, or class of one -> SLO -> bound")
    confidence: float = Field(description="`gate.confidence` of the study then")
    inconclusive: Literal["fail", "warn"] = Field(description="`gate.inconclusive` of the study then")
    elsewhere: Literal["inconclusive", "as_restarts"] = Field(
        "inconclusive", description="`gate.elsewhere` of the study then"
    )
    invalid: list[str] = Field([], description="why the load generator spoiled it; empty: it did not")
    workloads: dict[str, Measured]

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def restarts(self) -> int:
        """Deployments that it is from."""
        return min((len(one.restarts) for one in self.workloads.values()), default=0)


class RuleFound(Data):
    """What a rule says, or how a figure without a rule changed."""

    workload: str
    rule: str
    kind: Literal["ratio", "points", "slo"]
    limit: Known = Field(description="the change that is allowed, with its sign; of an SLO its bound")
    old: Known
    new: Known
    change: Known = Field(description="new / old - 1, or new - old for points; null for an SLO")
    low: Known = Field(description="bound of the change from below")
    high: Known = Field(description="bound from above")
    state: RuleState
    before: SloVerdict | None = Field(
        None, description="of an SLO, how the old side stood to the same bound; null where it had another, or none"
    )
    worse: bool = Field(
        False,
        description="of an SLO that is missed: whether the old side met it for certain, or was undecided and had "
        "a better figure for certain",
    )
    note: str = ""


class GateResult(Data):
    """A whole gate."""

    schema_: Literal["paretune.gate/1"] = Field(GATE, alias="schema")
    form: Form
    state: Literal["pass", "fail", "inconclusive", "invalid", "unfinished"]
    exit_code: int
    message: str
    study: str
    confidence: float
    warns: bool = Field(description="whether an inconclusive gate only warns")
    redeployments: int
    looks: list[int] = Field(description="after how many redeployments it was to be decided, the last at the time cap")
    measured_s: float
    wall_s: float
    in_turn: bool = Field(False, description="whether only one side was loaded at a time, so that no rounds interleave")
    notes: list[str] = Field([])
    rules: list[RuleFound]
    figures: list[RuleFound] = Field(description="how what has no rule changed; each at the confidence, uncorrected")
    old: Measurement | None
    new: Measurement

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
