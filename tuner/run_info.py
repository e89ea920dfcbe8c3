"""What a result says of the run itself, beside its trials: the study, the search, the time, the hosts and agents."""

from pydantic import Field

from tuner.data import Data, Number
from tuner.endings import SearchEnding


class StudyInfo(Data):
    """The study that was run."""

    name: str
    path: str
    text: str
    overrides: list[str] = Field(description="PATH=VALUE given with --set")
    fingerprint: str
    seed: int
    slo: dict[str, float] = Field(description="SLO -> bound, of every workload")
    bounds: dict[str, dict[str, float]] = Field({}, description="workload, or WORKLOAD.CLASS -> SLO -> bound")
    objectives: list[str]
    workloads: list[str] = Field(
        description="the first is the primary one; the classes of a mix follow it as WORKLOAD.CLASS"
    )
    price_usd_per_h: float | None = Field(None, description="of the server, dollars per hour, where the study says")

    def bounds_of(self, workload: str) -> dict[str, float]:
        """Return SLO -> bound of a workload, or of a class of one."""
        return self.bounds.get(workload, self.slo)


class LeftOut(Data):
    """Configurations that were never tried: they break a rule of the server that is known without asking it."""

    configurations: int = Field(description="how many were left out")
    of: int | None = Field(
        description="configurations of the space; null: it is large, and those that came up count, whatever their load"
    )
    rules: dict[str, int] = Field(description="a rule, as the first that breaks it does -> how many break it")

    def __str__(self) -> str:
        """Say what was left out, and by which rules."""
        whole = "the configurations that came up" if self.of is None else f"{self.of:,} configurations"
        rules = "; ".join(f"{rule} ({count:,})" for rule, count in self.rules.items())
        verb = "is" if self.configurations == 1 else "are"
        return f"{self.configurations:,} of {whole} {verb} left out by rules of the server: {rules}"


class SearchInfo(Data):
    """How configurations were proposed, and why the search ended."""

    sampler: str
    reason: str = Field(description="why this sampler")
    ended: SearchEnding | None = Field(None, description="null while it goes on")
    chance_left: float | None = Field(
        None, description="the largest chance of an untried configuration to beat the best, as the twin sees it"
    )
    prediction_error: float | None = Field(None, description="share by which the objective was off, in the median")
    predictions: int = Field(0, description="trials that were predicted and measured")
    left_out: LeftOut | None = Field(None, description="by rules of the server; null: nothing")


class MetricInfo(Data):
    """A metric that only this kind of server has."""

    name: str = Field(description="in the study and in `metrics`")
    unit: str = Field(description="`s`, `/s`, `bytes`, `tokens`, `share`, or empty for a count")
    doc: str


class Timing(Data):
    """Where the time went."""

    measured_s: float = Field(description="windows and warm-ups")
    applied_s: float = Field(0.0, description="the server's part: starting, loading, unloading")
    overhead_s: float = Field(description="everything else")
    wall_s: float


class HostFigure(Data):
    """The first objective of your configuration on one host, at one load."""

    workload: str
    level: float
    value: Number = Field(description="null: infinite, too many requests failed")
    low: float | None = Field(description="null: no bound is known")
    high: float | None = Field(description="null: no bound is known")


class HostInfo(Data):
    """One of the hosts that worked on a study together."""

    name: str = Field(description="as in `trials[].host`")
    group: int | None = Field(description="hosts of one group are compared; null: it was not admitted")
    trials: int = Field(description="of the result, that it measured")
    facts: dict[str, str] = Field(description="CPU, cores, GPU, driver, server and agents")
    baseline: list[HostFigure] = Field(description="of your configuration on this host")
    refused: str | None = Field(None, description="why it was not admitted")


class Agent(Data):
    """What one agent did of a load that several machines offered."""

    name: str
    cores: int = Field(description="CPUs that it may use")
    requests: int = Field(description="of the window, sent by it")
    issue_delay_p99_s: float = Field(description="sent - ready, of its requests")
    cpu_share: float = Field(description="of one core, over the window; of its busiest process")
    longest_stall_s: float = Field(
        0.0, description="the longest time in the window that it did not look at its sockets"
    )
    rtt_s: float = Field(description="the shortest round trip of a message to it, right before the load")
    start_skew_s: float = Field(description="its start is off the agreed moment by this at most")
    late_s: float = Field(0.0, description="how long after the agreed moment it had its part of the load; 0: in time")
