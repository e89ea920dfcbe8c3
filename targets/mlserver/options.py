"""The `target` section of a study of MLServer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from targets.mlserver.metrics import METRICS
from targets.options import ServerMetric, TargetOptions


class MLServerOptions(TargetOptions):
    """A model on an MLServer that Paretune starts."""

    kind: Literal["mlserver"] = "mlserver"
    model: str = Field(min_length=1, description="name of the model, as its model-settings.json or its folder has it")
    repository: Path = Field(description="folder that `mlserver start` is given, relative to the study file")
    protocol: Literal["http", "grpc"] = Field("http", description="what the requests are sent over")
    server: Path | None = Field(None, description="the `mlserver` command; looked for when absent")
    http_port: int | None = Field(None, ge=1, le=65535, description="port to serve HTTP on; a free one when absent")
    grpc_port: int | None = Field(None, ge=1, le=65535, description="port to serve gRPC on; a free one when absent")

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

    def metrics(self) -> Sequence[ServerMetric]:
        """Return what MLServer's metrics give beyond what all servers have."""
        return METRICS

    def files(self) -> Sequence[Path]:
        """Return the folder that the server is started on."""
        return [self.repository]
