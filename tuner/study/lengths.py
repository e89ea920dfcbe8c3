"""The shape of lengths in a study, and the distributions made of them."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from targets.options import Section
from workloads import lengths


class UniformSpec(Section):
    """Every length from low to high equally often."""

    distribution: Literal["uniform"]
    low: int = Field(1, ge=1)
    high: int = Field(ge=1)


class NormalSpec(Section):
    """Normally distributed lengths, clipped."""

    distribution: Literal["normal"]
    mean: float = Field(gt=0)
    sd: float = Field(ge=0)
    low: int = Field(1, ge=1)
    high: int = Field(ge=1)


class LogNormalSpec(Section):
    """Log-normally distributed lengths, clipped."""

    distribution: Literal["lognormal"]
    median: float = Field(gt=0)
    sigma: float = Field(ge=0)
    low: int = Field(1, ge=1)
    high: int = Field(ge=1)


def _length_form(value: object) -> str:
    """Say which form a length has: a number, or a mapping by its distribution."""
    if isinstance(value, dict):
        return str(value.get("distribution", "?"))
    return str(getattr(value, "distribution", "(number)"))


class ZipfSpec(Section):
    """Lengths of which the shortest is the most frequent: P(k) falls with (k - low + 1)^-skew."""

    distribution: Literal["zipf"]
    skew: float = Field(gt=0)
    low: int = Field(1, ge=1)
    high: int = Field(ge=1)


class HistogramSpec(Section):
    """Lengths with weights, as they were counted."""

    distribution: Literal["histogram"]
    values: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    weights: list[Annotated[float, Field(ge=0)]] = Field(min_length=1)


Length = Annotated[
    Annotated[int, Field(ge=1), Tag("(number)")]
    | Annotated[UniformSpec, Tag("uniform")]
    | Annotated[NormalSpec, Tag("normal")]
    | Annotated[LogNormalSpec, Tag("lognormal")]
    | Annotated[ZipfSpec, Tag("zipf")]
    | Annotated[HistogramSpec, Tag("histogram")],
    Discriminator(
        _length_form,
        custom_error_type="length",
        custom_error_message="expected a whole number or a mapping with `distribution: "
        "uniform|normal|lognormal|zipf|histogram`",
    ),
]


def lengths_of(spec: Length) -> lengths.Lengths:
    """Return the distribution that a study describes. Raises ValueError where its numbers do not fit together."""
    if isinstance(spec, int):
        return lengths.Constant(spec)
    match spec:
        case UniformSpec(low=low, high=high):
            return lengths.Uniform(low, high)
        case NormalSpec(mean=mean, sd=sd, low=low, high=high):
            return lengths.Normal(mean, sd, low, high)
        case LogNormalSpec(median=median, sigma=sigma, low=low, high=high):
            return lengths.LogNormal(median, sigma, low, high)
        case ZipfSpec(skew=skew, low=low, high=high):
            return lengths.Zipf(skew, low, high)
        case HistogramSpec(values=values, weights=weights):
            return lengths.Histogram(tuple(values), tuple(weights))
