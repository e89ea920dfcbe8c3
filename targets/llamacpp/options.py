"""The `target` section of a study of llama.cpp."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from targets.llamacpp.metrics import METRICS
from targets.openai.options import LocalOptions
from targets.options import Duration, ServerMetric


class LlamaCppOptions(LocalOptions):
    """A language model on llama.cpp, started with `llama-server`."""

    kind: Literal["llamacpp"] = "llamacpp"
    model: str | None = Field(
        None, description="the model, a .gguf file, relative to the study file; `config` may name it"
    )
    config: Path | None = Field(
        None, description="your environment file for `llama-server`: the baseline, and what the export changes"
    )
    apply_timeout: Duration = Field(300.0, gt=0, description="how long a start may take; large models take minutes")

    @property
    def hub_model(self) -> None:
        """A model is a file."""
        return None

    def metrics(self) -> Sequence[ServerMetric]:
        """Return what llama-server's own metrics give."""
        return METRICS
