"""The `target` section of a study of SGLang."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from targets.openai.options import LocalOptions
from targets.options import ServerMetric
from targets.sglang.metrics import METRICS


class SGLangOptions(LocalOptions):
    """A language model on SGLang, started with `python -m sglang.launch_server`."""

    kind: Literal["sglang"] = "sglang"
    config: Path | None = Field(None, description="your YAML for `--config`: the baseline, and what the export changes")
    served_model_name: str | None = Field(None, description="name of the model in requests; `model` when absent")
    server: Path | None = Field(None, description="the Python that has SGLang; looked for when absent")

    def metrics(self) -> Sequence[ServerMetric]:
        """Return what SGLang's own metrics give."""
        return METRICS
