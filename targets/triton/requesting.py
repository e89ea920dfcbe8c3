"""What a study says of the requests to Triton: how tensors travel, and what goes along with them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from targets.kserve.parameters import Parameter, free
from targets.options import Duration, TargetOptions

_OWN = {"priority": "`priority` of a class of a workload's `mix`", "timeout": "`target.queue_timeout`"}
MAX_TIMEOUT_S = 2**63 / 1e6


def _free(name: str) -> str:
    """Return the name of a parameter that is for the model alone."""
    if name in _OWN:
        raise ValueError(f"Triton itself reads {name!r}; give {_OWN[name]}")
    return free(name)


class RequestOptions(TargetOptions):
    """The requests to a model on Triton."""

    protocol: Literal["http", "grpc"] = Field("http", description="what the requests are sent over")
    tensors: Literal["binary", "json", "shared_memory", "cuda_shared_memory"] = Field(
        "binary", description="how inputs travel: in the request, or in memory that the server shares"
    )
    outputs: Literal["inline", "shared_memory", "cuda_shared_memory"] = Field(
        "inline", description="where the server puts outputs: into the answer, or into memory that it shares"
    )
    cuda_device: int = Field(0, ge=0, description="GPU that has the memory of `cuda_shared_memory`")
    streaming: bool = Field(
        default=False, description="ask over a gRPC stream and take any number of answers, as decoupled models give"
    )
    queue_timeout: Duration | None = Field(
        None, gt=0, lt=MAX_TIMEOUT_S, description="`timeout` of every request in the server's queue; none when absent"
    )
    parameters: dict[Annotated[str, AfterValidator(_free)], Parameter] = Field(
        default={}, description="name to value, sent with every request; a Python model reads them"
    )

    @field_validator("tensors")
    @classmethod
    def _json_over_http(cls, tensors: str, info: ValidationInfo) -> str:
        if tensors == "json" and info.data.get("protocol") == "grpc":
            raise ValueError("JSON goes over HTTP only; give `protocol: http`, or take `tensors: binary`")
        return tensors

    @field_validator("outputs")
    @classmethod
    def _no_json_elsewhere(cls, outputs: str, info: ValidationInfo) -> str:
        if outputs != "inline" and info.data.get("tensors") == "json":
            raise ValueError(f"with `tensors: json` outputs come as JSON too; take `outputs: {outputs}` out")
        return outputs

    @field_validator("streaming")
    @classmethod
    def _streamed_over_grpc(cls, streaming: bool, info: ValidationInfo) -> bool:
        if streaming and info.data.get("protocol") != "grpc":
            raise ValueError("answers are streamed over gRPC only; give `protocol: grpc`")
        if streaming and info.data.get("outputs") != "inline":
            raise ValueError("the answers to one request would overwrite each other; take `outputs` out")
        return streaming

    @property
    def streams(self) -> bool:
        """Whether a request may have several answers, each with a time of its own."""
        return self.streaming

    @property
    def memories(self) -> set[str]:
        """The kinds of shared memory that are used."""
        return {kind for kind in (self.tensors, self.outputs) if kind.endswith("shared_memory")}
