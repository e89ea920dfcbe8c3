"""The shape of `requests.accuracy`: how answers are compared with labels."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from targets.options import Section
from workloads.labels import Wanted

_REFERENCE = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*")


class TopKSpec(Section):
    """Classes: the right one is among the k highest scores."""

    kind: Literal["top_k"] = Field(description="classes: the right one is among the k highest scores")
    k: int = Field(1, ge=1, description="1: the right class has the highest score")


class RegressionSpec(Section):
    """Numbers: how far the answer is from the label."""

    kind: Literal["absolute_error", "squared_error"] = Field(
        description="numbers: mean absolute, or root mean squared, distance of the answer from the label"
    )


class CosineSpec(Section):
    """Vectors: how similar the answer is to the label."""

    kind: Literal["cosine"] = Field(description="vectors: cosine similarity of the answer and the label")


class FunctionSpec(Section):
    """Anything: what a function of the user's says."""

    kind: Literal["function"] = Field(description="a function of yours gives each item's score")
    function: str = Field(description="`FILE:FUNCTION`, of the Python file FILE.py beside the study")
    better: Literal["more", "less"] = Field("more", description="`less`: the scores are errors")

    @field_validator("function")
    @classmethod
    def _names_file_and_function(cls, given: str) -> str:
        if not _REFERENCE.fullmatch(given):
            raise ValueError(
                "expected `FILE:FUNCTION`, like `scores:f1` for the function f1 of scores.py beside the study, but got "
                f"{given!r}"
            )
        return given

    @property
    def file(self) -> Path:
        """The Python file, relative to the study."""
        return Path(f"{self.function.partition(':')[0]}.py")


AccuracySpec = Annotated[TopKSpec | RegressionSpec | CosineSpec | FunctionSpec, Field(discriminator="kind")]
TOP_1 = TopKSpec(kind="top_k")


def labels_of(spec: AccuracySpec) -> Wanted:
    """Return what the labels have to be."""
    if isinstance(spec, TopKSpec):
        return "classes"
    return "any" if isinstance(spec, FunctionSpec) else "numbers"
