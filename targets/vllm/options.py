"""The `target` section of a study of vLLM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from targets.openai.options import LocalOptions
from targets.options import ServerMetric
from targets.vllm.metrics import METRICS


class VLLMOptions(LocalOptions):
    """A language model on vLLM, started with `vllm serve`."""

    kind: Literal["vllm"] = "vllm"
    config: Path | None = Field(
        None, description="your YAML for `vllm serve --config`: the baseline, and what the export changes"
    )
    served_model_name: str | None = Field(None, description="name of the model in requests; `model` when absent")
    speculative: dict[str, dict[str, Any]] = Field(
        default={},
        description="name -> speculative config, {} for none; the knob `speculative_config` picks one",
    )

    @property
    def takes_priority(self) -> bool:
        """The field `priority` of a request, for `scheduling-policy: priority`."""
        return True

    def metrics(self) -> Sequence[ServerMetric]:
        """Return what vLLM's own metrics give."""
        return METRICS
