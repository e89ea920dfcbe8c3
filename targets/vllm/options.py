"""The `target` section of a study of vLLM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from targets.openai.options import RequestOptions
from targets.options import Duration, ServerMetric
from targets.vllm.metrics import METRICS


class VLLMOptions(RequestOptions):
    """A language model on vLLM, started with `vllm serve`."""

    kind: Literal["vllm"] = "vllm"
    model: str | None = Field(
        None, description="folder of the model, relative to the study file, or its name in a hub; `config` may name it"
    )
    config: Path | None = Field(
        None, description="your YAML for `vllm serve --config`: the baseline, and what the export changes"
    )
    args: list[str] = Field(default=[], description="further arguments of `vllm serve`; nothing that is tuned")
    env: dict[str, str] = Field(default={}, description="environment variables of the server, besides ours")
    served_model_name: str | None = Field(None, description="name of the model in requests; `model` when absent")
    speculative: dict[str, dict[str, Any]] = Field(
        default={},
        description="name -> speculative config, {} for none; the knob `speculative_config` picks one",
    )
    server: Path | None = Field(None, description="the `vllm` command; looked for when absent")
    port: int | None = Field(None, ge=1, le=65535, description="port to serve on; a free one when absent")
    side_by_side: bool = Field(
        False, description="several deployments may run at once: the device has memory and time for all of them"
    )
    apply_timeout: Duration = Field(600.0, gt=0, description="how long a start may take; large models take minutes")

    @field_validator("env", mode="before")
    @classmethod
    def _numbers_are_texts(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {name: str(value) if type(value) in (int, float) else value for name, value in given.items()}

    @field_validator("args", mode="before")
    @classmethod
    def _a_list(cls, given: object) -> object:
        if isinstance(given, str):
            raise ValueError(f"expected a list of arguments, like [{', '.join(given.split())}], but got a text")
        if not isinstance(given, list):
            return given
        return [str(one) if type(one) in (int, float) else one for one in given]

    @model_validator(mode="after")
    def _fits_together(self) -> "VLLMOptions":
        if self.model is None and self.config is None:
            raise ValueError("give `model`, or a `config` that names it")
        if self.side_by_side and self.port is not None:
            raise ValueError("`side_by_side` needs a port for each deployment; leave `port` out")
        return self

    def metrics(self) -> Sequence[ServerMetric]:
        """Return what vLLM's own metrics give."""
        return METRICS

    def files(self) -> Sequence[Path]:
        """Return the configuration and the model, where it is a folder here."""
        return [*([self.config] if self.config else []), *([Path(self.model)] if self.model else [])]
