"""The shape of a study's workloads: what is sent, and when."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from targets.options import Duration, Section
from tuner.study.accuracy import TOP_1, AccuracySpec, FunctionSpec
from tuner.study.arrivals import Arrival, ClosedSpec
from tuner.study.lengths import Length
from tuner.study.locustfile import LocustSpec
from tuner.study.names import WorkloadName
from tuner.study.quantities import Fraction
from tuner.study.slo import BoundsSpec


class DatasetSpec(Section):
    """Tensors read from a file or a folder."""

    source: Literal["dataset"] = Field(description="rows of an .npz, .npy or .jsonl file, or the files of a folder")
    path: Path = Field(description="the file or folder, relative to the study file")
    labels: str = Field("labels", description="array or key of the labels; given here, the file has to have it")
    accuracy: AccuracySpec = Field(TOP_1, description="how answers are compared with the labels; top 1 if absent")
    input: str | None = Field(
        None,
        description="input of the model that an .npy file or a folder is for, and no other file; its name if absent",
    )
    output: str | None = Field(None, description="output that is compared with the labels; needed if there are several")


class PerfAnalyzerSpec(Section):
    """Tensors as perf_analyzer takes them."""

    source: Literal["perf_analyzer"] = Field(description="a JSON file as `--input-data` of perf_analyzer takes it")
    path: Path = Field(description="the file, relative to the study file")


class TensorsSpec(Section):
    """Random tensors, drawn for what the model says that it takes."""

    source: Literal["tensors"] = Field(description="random tensors of the model's own types and shapes")
    count: int = Field(1000, ge=1, le=1_000_000, description="requests; sent again from the first when all were")
    lengths: dict[str, Length] = Field(default={}, description="name -> length of the dynamic axes that have it")
    shapes: dict[str, list[str]] = Field(
        default={}, description="input -> names of the lengths of its dynamic axes, in their order"
    )
    values: dict[str, tuple[float, float]] = Field(
        default={}, description="input -> lowest and highest value; 0 to 1, or 0 to 100 for whole numbers if absent"
    )
    strings: Length = Field(16, description="length of strings, in bytes")
    batch: Length | None = Field(None, description="items of a request; one if absent")
    fresh: bool = Field(False, description="other values in every measurement, so that no cache knows them")


class PromptsSpec(Section):
    """Prompts for a language model: lines of a file."""

    source: Literal["prompts"] = Field(description="lines of a JSONL file")
    path: Path = Field(description="the file, relative to the study file")
    default_output_tokens: int | None = Field(
        None, ge=1, description="tokens asked for by lines without `output_tokens`"
    )
    fresh: bool = Field(True, description="no prompt is sent twice: each gets words of its own in front")


class TokenIdsSpec(Section):
    """Which token ids prompts are made of."""

    low: int = Field(1000, ge=0)
    high: int = Field(9999, ge=0)


class PromptLengthsSpec(Section):
    """A trace that prompts have their lengths from."""

    path: Path = Field(description="the trace, relative to the study file")
    format: Literal["csv", "jsonl"] | None = Field(None, description="of the trace; told by its content if absent")
    unit: Literal["s", "ms", "us", "ns"] | None = Field(
        None, description="of times that are numbers; `s` in CSV, `ms` in JSONL if absent"
    )
    start: Duration = Field(0.0, description="where the piece of the trace that is taken begins")
    duration: Duration | None = Field(None, gt=0, description="of that piece; up to the end of the trace if absent")


class SyntheticSpec(Section):
    """Prompts for a language model, made up with given lengths."""

    source: Literal["synthetic"] = Field(description="made up with given lengths")
    input_tokens: Length | None = Field(None, description="length of the prompts; required without `lengths_from`")
    output_tokens: Length | None = Field(None, description="tokens asked for; required without `lengths_from`")
    lengths_from: PromptLengthsSpec | None = Field(
        None, description="a trace: prompts and answers as long as its requests', row by row"
    )
    count: int | None = Field(
        None, ge=1, le=1_000_000, description="prompts; 1000, or as many as the trace has, if absent"
    )
    form: Literal["text", "ids"] = Field(
        "text", description="`text`: that many words; `ids`: token ids, of exactly that length (completions only)"
    )
    token_ids: TokenIdsSpec = TokenIdsSpec()
    fresh: bool = Field(True, description="no prompt is sent twice: each begins with words or ids of its own")

    @field_validator("token_ids")
    @classmethod
    def _ids_are_sent(cls, token_ids: TokenIdsSpec, others: ValidationInfo) -> TokenIdsSpec:
        if others.data.get("form") == "text":
            raise ValueError("a prompt is made of words with `form: text`; take `token_ids` out, or give `form: ids`")
        return token_ids

    @model_validator(mode="after")
    def _lengths_are_given_once(self) -> "SyntheticSpec":
        given = [name for name in ("input_tokens", "output_tokens") if getattr(self, name) is not None]
        if self.lengths_from is not None and given:
            raise ValueError(f"`lengths_from` gives the lengths; leave `{given[0]}` out")
        if self.lengths_from is None and len(given) < 2:
            raise ValueError("give `input_tokens` and `output_tokens`, or `lengths_from`")
        return self


class RepeatsSpec(Section):
    """Requests that were sent before."""

    share: Fraction = Field(gt=0, lt=1, description="of the requests")
    skew: float = Field(1.0, ge=0, description="of their popularity (Zipf); 0: all that were sent are equally popular")


RequestsSpec = Annotated[
    DatasetSpec | PerfAnalyzerSpec | TensorsSpec | PromptsSpec | SyntheticSpec, Field(discriminator="source")
]


class ClassSpec(Section):
    """A class of the requests of a mix."""

    weight: float = Field(1.0, gt=0, allow_inf_nan=False, description="share of the requests, over all weights")
    requests: RequestsSpec
    repeats: RepeatsSpec | None = Field(None, description="requests of the class that were sent before")
    timeout: Duration | None = Field(None, gt=0, description="of its requests; the workload's if absent")
    priority: int = Field(
        0, ge=0, le=2**32 - 1, description="in the server's queue, as the server counts it; 0: the server's default"
    )
    slo: BoundsSpec = Field(BoundsSpec(), description="bounds of its own; a metric named here is judged class by class")


class SequencesSpec(Section):
    """Requests that belong to sequences, for a server that keeps a state for each."""

    length: Length | None = Field(
        None, description="requests of a sequence; if absent, those of each stream of a `perf_analyzer` file"
    )
    at_once: int | None = Field(
        None, ge=1, le=16384, description="open loop, required there: sequences that are live at once"
    )
    first_id: int = Field(1, ge=1, lt=2**62, description="id of the first sequence; the others count up from it")


class WorkloadSpec(Section):
    """One kind of traffic."""

    arrival: Arrival
    model: str | None = Field(None, description="with `target.models`: the one that is asked")
    requests: RequestsSpec | None = Field(None, description="what is sent; this or `mix`")
    mix: dict[WorkloadName, ClassSpec] | None = Field(
        None, min_length=1, description="what is sent: classes of requests, each with its results"
    )
    slo: BoundsSpec = Field(BoundsSpec(), description="bounds of its own, each in place of the study's on that metric")
    repeats: RepeatsSpec | None = Field(None, description="requests that were sent before, as caches know them")
    sequences: SequencesSpec | None = Field(
        None, description="requests that belong together, one after the other in each sequence; absent: each is alone"
    )
    timeout: Duration = Field(2.0, gt=0, description="after this long without an answer a request counts as failed")
    connections: int = Field(
        256, ge=1, le=16384, description="open loop: connections at most; more requests due wait for one"
    )
    keep_alive: bool = Field(True, description="false: a new connection for every request (HTTP)")

    @field_validator("connections")
    @classmethod
    def _loop_is_open(cls, connections: int, others: ValidationInfo) -> int:
        if isinstance(others.data.get("arrival"), ClosedSpec):
            raise ValueError(
                f"is {connections}, but in a closed loop `concurrency` says how many requests are in flight; take "
                "`connections` out"
            )
        return connections

    @model_validator(mode="after")
    def _has_requests_once(self) -> "WorkloadSpec":
        if (self.requests is None) == (self.mix is None):
            raise ValueError("give `requests`, or a `mix` of classes that have them")
        if self.mix is not None and self.repeats is not None:
            raise ValueError("`repeats` is of one class of requests; give it in the classes of the mix")
        return self

    @model_validator(mode="after")
    def _sequences_fit(self) -> "WorkloadSpec":
        if self.sequences is None:
            return self
        for name, given in (("mix", self.mix), ("repeats", self.repeats)):
            if given is not None:
                raise ValueError(f"`sequences` say which request comes next, and so does `{name}`; take one out")
        if self.sequences.length is None and not isinstance(self.requests, PerfAnalyzerSpec):
            raise ValueError("`sequences` need a `length`; only a `perf_analyzer` file has sequences of its own")
        closed = isinstance(self.arrival, ClosedSpec)
        if closed and self.sequences.at_once is not None:
            raise ValueError("in a closed loop `concurrency` says how many sequences are live; take `at_once` out")
        if not closed and self.sequences.at_once is None:
            raise ValueError("`sequences` of an open loop need `at_once`: how many are live at once")
        return self

    def classes(self) -> dict[str, ClassSpec]:
        """Return the classes of the requests; one without a name where it is no mix."""
        if self.mix is not None:
            return self.mix
        assert self.requests is not None, "it was validated"
        return {"": ClassSpec(requests=self.requests, repeats=self.repeats)}

    def files(self) -> list[Path]:
        """Return the files that the traffic is read from."""
        own = [path for one in self.classes().values() for path in _files(one.requests)]
        return [*self.arrival.files(), *own]

    def files_of_these(self, resolve: Callable[[Path], Path]) -> list[Path]:  # noqa: ARG002 - a locustfile has some
        """Return what those files need beside them: nothing."""
        return []


def _way_of(value: object) -> str:
    """Say which way of describing traffic a value has; the words are no keys of a study, errors' places have them."""
    told = isinstance(value, LocustSpec) or (isinstance(value, dict) and "locustfile" in value)
    return "(locustfile)" if told else "(requests)"


TrafficSpec = Annotated[
    Annotated[WorkloadSpec, Tag("(requests)")] | Annotated[LocustSpec, Tag("(locustfile)")], Discriminator(_way_of)
]


def _files(source: RequestsSpec) -> list[Path]:
    if isinstance(source, SyntheticSpec):
        return [source.lengths_from.path] if source.lengths_from else []
    if isinstance(source, TensorsSpec):
        return []
    if isinstance(source, DatasetSpec) and isinstance(source.accuracy, FunctionSpec):
        return [source.path, source.accuracy.file]
    return [source.path]


def _words(union: object, key: str) -> tuple[str, ...]:
    """Return the words that a key has in the members of a union."""
    members = get_args(get_args(union)[0])
    return tuple(word for member in members for word in get_args(member.model_fields[key].annotation))


TAGS = {
    "process": _words(Arrival, "process"),
    "source": _words(RequestsSpec, "source"),
    "kind": _words(AccuracySpec, "kind"),
}
"""Keys that decide which others there are -> what they can be."""
