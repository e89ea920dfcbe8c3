"""The shape of SLOs: bounds on latency, the times of tokens, errors, throughput and accuracy."""

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from targets.options import Duration, Section
from tuner.study.quantities import Energy, Fraction, Rate, Size


class BoundsSpec(Section):
    """Bounds on what is measured of requests."""

    mean: Duration | None = Field(None, gt=0, description="of done - intended, as are the next four")
    p50: Duration | None = Field(None, gt=0)
    p90: Duration | None = Field(None, gt=0)
    p95: Duration | None = Field(None, gt=0)
    p99: Duration | None = Field(None, gt=0)
    ttft_mean: Duration | None = Field(None, gt=0, description="of the time to the first token, as are the next four")
    ttft_p50: Duration | None = Field(None, gt=0)
    ttft_p90: Duration | None = Field(None, gt=0)
    ttft_p95: Duration | None = Field(None, gt=0)
    ttft_p99: Duration | None = Field(None, gt=0)
    tpot_mean: Duration | None = Field(None, gt=0, description="of the time per output token, as are the next four")
    tpot_p50: Duration | None = Field(None, gt=0)
    tpot_p90: Duration | None = Field(None, gt=0)
    tpot_p95: Duration | None = Field(None, gt=0)
    tpot_p99: Duration | None = Field(None, gt=0)
    itl_mean: Duration | None = Field(None, gt=0, description="of the gap before a token, as are the next four")
    itl_p50: Duration | None = Field(None, gt=0)
    itl_p90: Duration | None = Field(None, gt=0)
    itl_p95: Duration | None = Field(None, gt=0)
    itl_p99: Duration | None = Field(None, gt=0)
    error_rate: Fraction | None = None
    throughput_at_least: Rate | None = Field(None, description="requests answered ok per second, from below")
    accuracy: Fraction | None = Field(None, description="at least this; of labelled items")
    prediction_error: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="at most this, in the unit of the labels"
    )
    accuracy_drop: Fraction | None = Field(
        None,
        description="percentage points lost against the user's config, item by item; of a prediction error the share "
        "that it may grow by",
    )

    def bounds(self) -> dict[str, float]:
        """Return metric -> bound of those that are set, in seconds, per second or as fractions."""
        return {name: value for name, value in self if value is not None}


class SloSpec(BoundsSpec):
    """Bounds that every workload must meet; the target's own metrics can have one too."""

    energy_per_inference: Energy | None = Field(None, gt=0, description="energy of the GPUs per request answered ok")
    gpu_utilization: Fraction | None = Field(
        None, gt=0, description="mean share of time with a kernel running, at most"
    )
    gpu_utilization_at_least: Fraction | None = Field(None, gt=0, le=1, description="the same, from below")
    gpu_memory: Size | None = Field(None, gt=0, description="GPU memory of the server, at most")
    server_cpu: float | None = Field(None, gt=0, description="CPU of the server's processes, in cores")
    server_rss: Size | None = Field(None, gt=0, description="resident memory of the server's processes, at most")

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _suggest_for_unknown_keys(cls, data: object) -> object:
        return data  # which other keys there are depends on the target: `load_study` knows

    @field_validator("gpu_utilization_at_least")
    @classmethod
    def _below_the_most(cls, least: float | None, info: ValidationInfo) -> float | None:
        most = info.data.get("gpu_utilization")
        if least is not None and most is not None and least > most:
            raise ValueError(
                f"at most `gpu_utilization`, which is {most * 100:.4g}%, but got {least * 100:.4g}%; nothing meets both"
            )
        return least
