"""The shape of a study's arrival processes, and the processes made of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from targets.options import Duration, Section
from tuner.study.quantities import Fraction, Rate, RateOrZero
from workloads import think
from workloads.arrivals import Arrivals, Bursty, Constant, Gamma, Jittered, Poisson
from workloads.modulated import MarkovModulated, ramp, sinusoid, spike, steps
from workloads.replay import Superposition
from workloads.traces import load_trace

Resolve = Callable[[Path], Path]
"""(a path of the study) -> the same from where Paretune runs."""


class ExponentialTimeSpec(Section):
    """Exponentially distributed pauses."""

    distribution: Literal["exponential"]
    mean: Duration = Field(gt=0)


class UniformTimeSpec(Section):
    """Pauses from low to high, equally likely."""

    distribution: Literal["uniform"]
    low: Duration = 0.0
    high: Duration = Field(gt=0)


class LogNormalTimeSpec(Section):
    """Log-normally distributed pauses."""

    distribution: Literal["lognormal"]
    median: Duration = Field(gt=0)
    sigma: float = Field(ge=0)


def _time_form(value: object) -> str:
    """Say which form a time has: a duration, or a mapping by its distribution."""
    if isinstance(value, dict):
        return str(value.get("distribution", "?"))
    return str(getattr(value, "distribution", "(duration)"))


ThinkTime = Annotated[
    Annotated[Duration, Tag("(duration)")]
    | Annotated[ExponentialTimeSpec, Tag("exponential")]
    | Annotated[UniformTimeSpec, Tag("uniform")]
    | Annotated[LogNormalTimeSpec, Tag("lognormal")],
    Discriminator(
        _time_form,
        custom_error_type="time",
        custom_error_message="expected a duration or a mapping with `distribution: exponential|uniform|lognormal`",
    ),
]


class OpenSpec(Section, ABC):
    """An open loop."""

    @abstractmethod
    def made(self, resolve: Resolve) -> Arrivals:
        """Return the process that this describes.

        Raises:
            ValueError: its numbers do not fit together, or a file cannot be read.
        """

    def files(self) -> list[Path]:
        """Return the files that it is read from."""
        return []


class ClosedSpec(Section):
    """Closed loop: `concurrency` requests in flight."""

    process: Literal["closed"]
    concurrency: int | None = Field(
        None, ge=1, le=65536, description="requests in flight of this workload alone; `space.concurrency` if absent"
    )
    think_time: ThinkTime = Field(
        0.0,
        description="pause between an answer and the next request of its slot: a duration, or `{distribution: "
        "exponential, mean: 1 s}`, `{distribution: uniform, low: 1 s, high: 3 s}`, `{distribution: lognormal, median: "
        "1 s, sigma: 0.5}`",
    )
    ramp_up: Duration = Field(0.0, description="the slots begin one after the other over this time, in the warm-up")

    def files(self) -> list[Path]:
        """Nothing is read from files."""
        return []

    def pauses(self) -> think.Pauses:
        """Return the pauses that this describes. Raises ValueError where its numbers do not fit together."""
        match self.think_time:
            case ExponentialTimeSpec(mean=mean):
                return think.Exponential(mean)
            case UniformTimeSpec(low=low, high=high):
                return think.Uniform(low, high)
            case LogNormalTimeSpec(median=median, sigma=sigma):
                return think.LogNormal(median, sigma)
            case time_s:
                return think.Always(time_s)


class ConstantSpec(OpenSpec):
    """Open loop: evenly spaced arrivals."""

    process: Literal["constant"]
    rate: Rate

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return Constant(self.rate)


class PoissonSpec(OpenSpec):
    """Open loop: memoryless arrivals."""

    process: Literal["poisson"]
    rate: Rate

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return Poisson(self.rate)


class BurstySpec(OpenSpec):
    """Open loop: bursts with pauses between them."""

    process: Literal["bursty"]
    burst_size: int = Field(ge=1, description="requests of a burst")
    pause: Duration = Field(gt=0, description="from the last request of a burst to the first of the next")
    spacing: Duration = Field(0.0, description="between the requests of a burst")

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return Bursty(self.burst_size, self.pause, self.spacing)


class JitteredSpec(OpenSpec):
    """Open loop: evenly spaced arrivals, each late by its own share of a gap."""

    process: Literal["jittered"]
    rate: Rate
    jitter: Fraction = Field(1.0, gt=0, le=1, description="largest delay, as a share of a gap")

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return Jittered(self.rate, self.jitter)


class GammaSpec(OpenSpec):
    """Open loop: independent gaps with a coefficient of variation."""

    process: Literal["gamma"]
    rate: Rate
    cv: float = Field(gt=0, description="coefficient of variation of the gaps; 1 is poisson, above it arrivals cluster")

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return Gamma(self.rate, self.cv)


class StateSpec(Section):
    """A state of a Markov-modulated process."""

    rate: RateOrZero
    dwell: Duration = Field(gt=0, description="mean time in the state")


class MarkovSpec(OpenSpec):
    """Open loop: poisson arrivals whose rate jumps between states."""

    process: Literal["mmpp"]
    states: list[StateSpec] = Field(min_length=2)

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return MarkovModulated(tuple(one.rate for one in self.states), tuple(one.dwell for one in self.states))


class RampSpec(OpenSpec):
    """Open loop: poisson arrivals whose rate goes from one to another, again and again."""

    process: Literal["ramp"]
    first: RateOrZero = Field(description="rate at the start")
    last: RateOrZero = Field(description="rate at the end")
    over: Duration = Field(gt=0, description="from the first to the last rate")

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return ramp(self.first, self.last, self.over)


class StepsSpec(OpenSpec):
    """Open loop: poisson arrivals whose rate goes through steps, again and again."""

    process: Literal["steps"]
    rates: list[RateOrZero] = Field(min_length=2)
    each: Duration = Field(gt=0, description="length of a step")

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return steps(self.rates, self.each)


class SinusoidSpec(OpenSpec):
    """Open loop: poisson arrivals whose rate goes up and down like that of a day."""

    process: Literal["sinusoid"]
    rate: Rate
    amplitude: Fraction = Field(0.5, gt=0, le=1, description="of the wave, as a share of the rate")
    period: Duration = Field(gt=0, description="of the wave")

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return sinusoid(self.rate, self.amplitude, self.period)


class SpikeSpec(OpenSpec):
    """Open loop: poisson arrivals with a spike of another rate, again and again."""

    process: Literal["spike"]
    rate: RateOrZero = Field(description="rate outside of the spike")
    peak: Rate = Field(description="rate in the spike")
    length: Duration = Field(gt=0, description="of the spike")
    every: Duration = Field(gt=0, description="from the start of a spike to the start of the next")

    def made(self, resolve: Resolve) -> Arrivals:  # noqa: ARG002 - there is no file
        """Return the process."""
        return spike(self.rate, self.peak, self.length, self.every)


class TraceSpec(OpenSpec):
    """Open loop: arrivals as they were recorded, again and again."""

    process: Literal["trace"]
    path: Path = Field(description="the trace, relative to the study file")
    format: Literal["csv", "jsonl", "intervals"] | None = Field(
        None, description="of the trace; by its content if absent"
    )
    unit: Literal["s", "ms", "us", "ns"] | None = Field(
        None, description="of times that are numbers; `s` in CSV, `ms` in JSONL, `us` for intervals if absent"
    )
    start: Duration = Field(0.0, description="where the piece of the trace that is played begins")
    duration: Duration | None = Field(None, gt=0, description="of that piece; up to the end of the trace if absent")
    mean_rate: Rate | None = Field(None, description="mean rate that the trace is stretched to; its own if absent")

    def made(self, resolve: Resolve) -> Arrivals:
        """Read the trace. Raises RequestSourceError where it cannot be read."""
        trace = load_trace(resolve(self.path), self.unit, self.format).cut(self.start, self.duration)
        return trace.arrivals() if self.mean_rate is None else trace.arrivals().at_rate(self.mean_rate)

    def files(self) -> list[Path]:
        """Return the trace."""
        return [self.path]


class SumSpec(OpenSpec):
    """Open loop: several processes at once, independent of each other."""

    process: Literal["sum"]
    parts: list["OpenArrival"] = Field(min_length=2)

    def made(self, resolve: Resolve) -> Arrivals:
        """Return all parts at once."""
        return Superposition(tuple(part.made(resolve) for part in self.parts))

    def files(self) -> list[Path]:
        """Return the parts' files."""
        return [path for part in self.parts for path in part.files()]


_Open = (
    ConstantSpec
    | JitteredSpec
    | PoissonSpec
    | GammaSpec
    | BurstySpec
    | MarkovSpec
    | RampSpec
    | StepsSpec
    | SinusoidSpec
    | SpikeSpec
    | TraceSpec
    | SumSpec
)
OpenArrival = Annotated[_Open, Field(discriminator="process")]
Arrival = Annotated[ClosedSpec | _Open, Field(discriminator="process")]
SumSpec.model_rebuild()
