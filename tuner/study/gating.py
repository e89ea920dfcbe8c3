"""The shape of a study's `gate` section: by how much a release may be worse, and how that is found out."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from targets.options import Duration, Section
from tuner.study.names import PartName
from tuner.study.quantities import Fraction, Rate

_LIMIT = re.compile(r"([+-])\s*(\d+(?:\.\d+)?)\s*%")


def _limit(value: object, sign: str, example: str) -> float:
    """Return 0.05 from `-5%` where the sign is the one of harm. Raises ValueError for anything else."""
    match = _LIMIT.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"expected a change with its sign, like `{example}`, but got {value!r}")
    if match[1] != sign:
        worse = "falls" if sign == "-" else "grows"
        raise ValueError(f"it gets worse as it {worse}, so the limit is like `{example}`, but got {value!r}")
    return float(f"{float(match[2]) / 100:.12g}")


def parse_drop(value: object) -> float:
    """Return the share that a figure may fall by: 0.05 from `-5%`."""
    return _limit(value, "-", "-5%")


def parse_growth(value: object) -> float:
    """Return the share that a figure may grow by: 0.1 from `+10%`."""
    return _limit(value, "+", "+10%")


Drop = Annotated[
    float,
    BeforeValidator(parse_drop),
    WithJsonSchema({"type": "string", "pattern": r"^\s*-\s*\d+(\.\d+)?\s*%\s*$", "examples": ["-5%"]}),
]
Growth = Annotated[
    float,
    BeforeValidator(parse_growth),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\+\s*\d+(\.\d+)?\s*%\s*$", "examples": ["+10%"]}),
]


class GateRules(Section):
    """Limits on change. None: there is no such rule."""

    throughput: Drop | None = Field(None, description="requests answered ok per second")
    goodput: Drop | None = Field(None, description="those within the SLO's bounds, per second")
    token_throughput: Drop | None = Field(None, description="tokens received per second")
    mean: Growth | None = Field(None, description="of done - intended, as are the next four")
    p50: Growth | None = None
    p90: Growth | None = None
    p95: Growth | None = None
    p99: Growth | None = None
    ttft_mean: Growth | None = Field(None, description="of the time to the first token, as are the next four")
    ttft_p50: Growth | None = None
    ttft_p90: Growth | None = None
    ttft_p95: Growth | None = None
    ttft_p99: Growth | None = None
    tpot_mean: Growth | None = Field(None, description="of the time per output token, as are the next four")
    tpot_p50: Growth | None = None
    tpot_p90: Growth | None = None
    tpot_p95: Growth | None = None
    tpot_p99: Growth | None = None
    itl_mean: Growth | None = Field(None, description="of the gap before a token, as are the next four")
    itl_p50: Growth | None = None
    itl_p90: Growth | None = None
    itl_p95: Growth | None = None
    itl_p99: Growth | None = None
    error_rate: Growth | None = Field(None, description="percentage points, not a share of what there was")
    accuracy: Drop | None = Field(None, description="percentage points, on the labelled items")
    prediction_error: Growth | None = Field(None, description="on the labelled items")
    memory: Growth | None = Field(None, description="of the server: GPU memory where there is some, else resident")
    energy: Growth | None = Field(None, description="of the GPUs per request answered ok")
    cpu: Growth | None = Field(None, description="of the server's processes per request answered ok")
    cold_start: Growth | None = Field(None, description="mean latency of the first 32 requests after a deployment")

    def limits(self) -> dict[str, float]:
        """Return rule -> limit of those that are set, as fractions above 0."""
        values = ((name, getattr(self, name)) for name in GateRules.model_fields)
        return {name: value for name, value in values if value is not None}


class GateSpec(GateRules):
    """By how much a release may be worse, for every workload; SLOs are rules too."""

    workloads: dict[PartName, GateRules] = Field(
        default={}, description="rules of one workload, over those of all; or of `WORKLOAD.CLASS`"
    )
    confidence: Fraction = Field(0.99, ge=0.5, lt=1, description="of a verdict, over all looks and rules together")
    inconclusive: Literal["fail", "warn"] = Field(
        "fail", description="`fail`: exit code 5 where a rule could not be decided; `warn`: 0"
    )
    time: Duration = Field(120.0, gt=0, description="of measuring, at most; both sides together")
    redeployments: int = Field(3, ge=3, description="times at least that both sides are deployed anew")
    restarts: int = Field(5, ge=2, description="times at least that one side alone is deployed anew")
    elsewhere: Literal["inconclusive", "as_restarts"] = Field(
        "inconclusive",
        description="what a comparison with a baseline is where a server runs elsewhere, and so is not restarted; "
        "`as_restarts`: its deployments count as restarts",
    )
    rounds: int = Field(20, ge=2, description="rounds of each side and workload per redeployment, in turn (ABBA)")
    round: Duration = Field(0.1, gt=0, description="length of one round; the first fifth is not counted")
    sides: Literal["auto", "in_turn"] = Field(
        "auto", description="`auto`: both stay loaded where memory allows; `in_turn`: a reload stands between them"
    )
    concurrency: int | None = Field(None, ge=1, description="closed loop: requests in flight")
    rate: Rate | None = Field(None, description="open loop: mean offered requests per second")
    users: int | None = Field(None, ge=1, description="locustfile: users")

    def limits_of(self, workload: str) -> dict[str, float]:
        """Return rule -> limit of a workload: its own over those of all."""
        own = self.workloads.get(workload)
        return {**self.limits(), **(own.limits() if own else {})}
