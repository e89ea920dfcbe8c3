"""The `target` section of a study of Triton."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from targets.options import ServerMetric
from targets.triton.cache import METRICS as CACHE_METRICS
from targets.triton.requesting import RequestOptions


class TritonOptions(RequestOptions):
    """A model on NVIDIA Triton Inference Server."""

    kind: Literal["triton"] = "triton"
    model: str = Field(description="name of the model in the repository")
    repository: Path = Field(description="model repository, relative to the study file")
    launch: Literal["local"] = Field("local", description="`local`: Paretune starts the server")
    variants: dict[str, dict[str, Any]] = Field(
        default={},
        description="name -> overlay of the model's config, or `model: NAME`; the knob `precision` picks one",
    )
    server: Path | None = Field(None, description="the server's executable; looked for when absent")
    http_port: int | None = Field(None, ge=1, le=65535, description="port to serve HTTP on; a free one when absent")
    grpc_port: int | None = Field(
        None, ge=1, le=65535, description="port to serve gRPC on with `protocol: grpc`; a free one when absent"
    )
    cache_size: int | None = Field(
        None, ge=1024, description="bytes of the server's response cache; the server has none when absent"
    )

    @field_validator("grpc_port")
    @classmethod
    def _a_port_of_its_own(cls, grpc_port: int | None, info: ValidationInfo) -> int | None:
        if grpc_port is not None and grpc_port == info.data.get("http_port"):
            raise ValueError(f"{grpc_port} is `http_port` already; give another one, or none for a free one")
        return grpc_port

    @property
    def keeps_connections(self) -> bool:
        """Calls of gRPC share connections."""
        return self.protocol == "grpc"

    @property
    def takes_priority(self) -> bool:
        """The parameter `priority` of a request picks a level of the queue."""
        return True

    def metrics(self) -> Sequence[ServerMetric]:
        """Return those of the response cache where there is one."""
        return CACHE_METRICS if self.cache_size is not None else ()

    def files(self) -> Sequence[Path]:
        """Return the folders of the model and of the models that are variants of it."""
        others = [str(overlay["model"]) for overlay in self.variants.values() if "model" in overlay]
        return [self.repository / name for name in (self.model, *others)]
