"""The `target` section of a study of the simulated server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from targets.options import TargetOptions


class SimulatedOptions(TargetOptions):
    """A queue of known answer."""

    kind: Literal["simulated"] = "simulated"
    model: str = Field(description="name of the model in the repository")
    repository: Path = Field(description="folder of the models, relative to the study file")
    variants: dict[str, dict[str, Any]] = Field(
        default={}, description="name -> overlay of the model's queue.json; the knob `precision` picks one"
    )
    http_port: int | None = Field(None, ge=1, le=65535, description="port to serve HTTP on; a free one when absent")

    @property
    def ports(self) -> Mapping[str, int]:
        """The one that the study names."""
        return {} if self.http_port is None else {"http_port": self.http_port}

    def files(self) -> Sequence[Path]:
        """Return the model's folder."""
        return [self.repository / self.model]
