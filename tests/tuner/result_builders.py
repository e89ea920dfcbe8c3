"""Results for the tests of what works on them: everything that a test does not say has a plain value."""

from collections.abc import Mapping

from targets.base import Value
from tuner.objective import Goal
from tuner.rank import Candidate, candidates
from tuner.results import (
    Best,
    Estimate,
    Generator,
    Load,
    Point,
    Ratio,
    Result,
    Trial,
    TrialState,
    Validity,
)
from tuner.run_info import StudyInfo, Timing
from tuner.usage import Telemetry

GOALS = (Goal(True, "steady", "throughput"), Goal(False, "steady", "p99"))


def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=value if low is None else low, high=value if high is None else high, n=100)


def point(
    workload: str = "steady",
    level: float = 1,
    throughput: float = 100.0,
    p99: float = 0.01,
    violations: Mapping[str, float] | None = None,
    mode: str = "closed",
    throughputs: tuple[float, float] | None = None,
    p99s: tuple[float, float] | None = None,
) -> Point:
    """Return a point; `throughputs` and `p99s` are the bounds of its intervals, which otherwise have no width."""
    return Point.model_validate(
        {
            "workload": workload,
            "load": Load.model_validate({"mode": mode, "level": level}),
            "warmup_s": 0.3,
            "window_s": 1.4,
            "metrics": {
                "throughput_rps": estimate(throughput, *(throughputs or ())),
                "latency_p99_s": estimate(p99, *(p99s or (min(p99, 1.0), p99))),
            },
            "outcomes": {"ok": 140},
            "violations": dict(violations or {}),
            "server": None,
            "telemetry": Telemetry(),
            "generator": Generator(issue_delay_p50_s=1e-5, issue_delay_p99_s=1e-4, cpu_share=0.2),
            "validity": Validity(valid=True),
            "records": None,
        }
    )


def trial(
    number: int = 1, *points: Point, config: Mapping[str, Value] | None = None, state: TrialState = "complete"
) -> Trial:
    return Trial(number=number, config=dict(config or {}), state=state, points=list(points), apply_s=0.5, wall_s=2.5)


def candidate(
    config: Mapping[str, Value] | None = None,
    throughput: float = 100.0,
    p99: float = 0.01,
    level: float = 1,
    violations: Mapping[str, float] | None = None,
    number: int = 1,
) -> Candidate:
    """Return the only candidate of a trial with one point."""
    one = trial(number, point("steady", level, throughput, p99, violations), config=config)
    (found,) = candidates([one], ["steady"], GOALS)
    return found


def result(*trials: Trial) -> Result:
    return Result(
        state="done",
        study=StudyInfo(
            name="digits",
            path="digits.yaml",
            text="study: digits\n",
            overrides=[],
            fingerprint="0123456789abcdef",
            seed=7,
            slo={"p99": 0.01},
            objectives=["maximize throughput"],
            workloads=["steady"],
        ),
        environment={"cpu": "a"},
        knobs=[],
        trials=list(trials),
        front=[],
        baseline=None,
        validity=Validity(valid=True),
        timing=Timing(measured_s=1.0, overhead_s=0.5, wall_s=1.5),
    )


def best(number: int = 1, gain: tuple[float, float, float] | None = None, *, confirmed: bool = True) -> Best:
    """Return a recommended configuration; `gain` is value, low and high of its ratio to the baseline."""
    ratio = gain and Ratio(value=gain[0], low=gain[1], high=gain[2], n=3, verdict="better")
    return Best(
        trial=number,
        point=0,
        config={},
        load=Load(mode="closed", level=4),
        confirmed=confirmed,
        metrics={},
        verdicts={},
        objective="throughput_rps",
        gain_vs_baseline=ratio or None,
    )
