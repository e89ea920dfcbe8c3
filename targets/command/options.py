"""The `target` section of a study of any server: how it is started or found, asked and observed."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from targets.base import Knob
from targets.command.knobs import KnobSpec
from targets.command.templates import PORTS, BadTemplate, compiled
from targets.hiding import shown_url
from targets.options import Section, ServerMetric, TargetOptions
from targets.prometheus import selector

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
START_SCRIPT = "start.sh"
VALUES = "knobs.yaml"
_RESERVED = frozenset({*PORTS, "env", "files", "concurrency", "rate", "users"})
_SHELL_NAMES = frozenset({"PORT", "METRICS_PORT", "STUDY_FOLDER"})
_OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection")
_BODILESS = ("HEAD", "CONNECT")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _text(given: object) -> object:
    """Take a number for the text that it is written as: YAML makes numbers of what an argument list has as text."""
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


def _checked_template(text: str, known: Sequence[str] | None, marked: Sequence[str] = ()) -> str:
    try:
        parsed = compiled(text, known, marked=marked)
    except BadTemplate as error:
        line = f"line {error.line}: " if "\n" in text.strip() else ""
        raise ValueError(f"{line}{error.message}") from None
    if taken := sorted(parsed.secrets & _SHELL_NAMES):
        raise ValueError(f"`env.{taken[0]}` has a name that the exported {START_SCRIPT} uses itself; rename it")
    return text


def _of_launch(text: str, info: ValidationInfo) -> str:
    known = [*info.data.get("knobs", ()), *PORTS, "files", "env"]
    return _checked_template(text, known, marked=PORTS)


def _of_request(text: str) -> str:
    return _checked_template(text, None)


def _of_address(text: str) -> str:
    _checked_template(text, PORTS)
    if not text.startswith(("/", "http://", "https://")):
        raise ValueError(f"expected a path, like `/health`, or a whole URL, but got {text!r}")
    _without_login(text)
    return text


def _without_login(url: str) -> None:
    if "@" in urlsplit(url).netloc:
        raise ValueError(
            f"expected a URL without user and password, but got {shown_url(url)!r}; `request.headers` brings secrets "
            "along, like `Authorization: Basic {{ env.LOGIN }}`"
        )


def _of_series(text: str) -> str:
    selector(text)
    return text


def _of_knob(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(f"a knob's name is letters, digits and `_`, as templates use it, but got {name!r}")
    if name in _RESERVED:
        raise ValueError(f"`{name}` means something else in templates and studies; take another name")
    return name


def _of_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"not the name of an environment variable: {name!r}")
    if name in _SHELL_NAMES:
        raise ValueError(f"the exported {START_SCRIPT} uses `{name}` itself; take another name")
    return name


def _of_file(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or str(path) != name:
        raise ValueError(f"expected the name of a file in the deployment's own folder, but got {name!r}")
    if name == START_SCRIPT:
        raise ValueError(f"the export writes a {START_SCRIPT} of its own; take another name")
    return name


def _of_header(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"not the name of a header: {name!r}")
    if name.lower() in _OWN_HEADERS:
        raise ValueError(f"Paretune writes `{name}` itself; leave it out")
    return name


def _of_method(name: str) -> str:
    if name in _BODILESS:
        raise ValueError(f"answers to {name} end with their head, and are not read here; take another method, like GET")
    return name


LaunchTemplate = Annotated[str, BeforeValidator(_text), AfterValidator(_of_launch)]
RequestTemplate = Annotated[str, BeforeValidator(_text), AfterValidator(_of_request)]
Address = Annotated[str, AfterValidator(_of_address)]
Series = Annotated[str, AfterValidator(_of_series)]


class ReadySpec(Section):
    """When a started server is ready; one of the three."""

    url: Address | None = Field(None, description="answers with a status from 200 to 299")
    port: bool | None = Field(None, description="`true`: the port accepts connections")
    log: str | None = Field(None, min_length=1, description="stands in what the server has written")

    @model_validator(mode="after")
    def _one(self) -> "ReadySpec":
        given = [name for name in ReadySpec.model_fields if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give one of `url`, `port` and `log`, but got {', '.join(given) or 'none'}")
        return self


class RequestSpec(Section):
    """What is sent: HTTP/1.1, made of templates with the inputs of the dataset; or tensors of KServe v2."""

    protocol: Literal["http", "kserve"] = Field(
        "http", description="`http`: made of the templates here; `kserve`: tensors of the Open Inference Protocol v2"
    )
    model: str | None = Field(None, min_length=1, description="`kserve`: name of the model on the server")
    path: RequestTemplate = Field("/", description="path and query")
    method: Annotated[str, AfterValidator(_of_method)] = Field(
        "POST", pattern=r"^[A-Z]+$", description="HTTP method, but HEAD and CONNECT"
    )
    headers: dict[Annotated[str, AfterValidator(_of_header)], RequestTemplate] = Field(
        default={}, description="further headers; `Content-Type` is application/json unless given"
    )
    body: RequestTemplate | None = Field(None, description="the body; none when absent")

    @model_validator(mode="after")
    def _of_one_protocol(self) -> "RequestSpec":
        if self.protocol == "http":
            if self.model is not None:
                raise ValueError("`model` is for `protocol: kserve`; leave it out")
            return self
        if self.model is None:
            raise ValueError("`protocol: kserve` needs `model`, its name on the server")
        for name in ("path", "method", "headers", "body"):
            if name in self.model_fields_set:
                raise ValueError(f"`{name}` does nothing: `protocol: kserve` says what is sent; leave it out")
        return self


class AnswerSpec(Section):
    """Which answers are ok, and where the value is that is compared with the labels."""

    ok: list[int] = Field(default=[200], min_length=1, description="statuses of answers that are ok")
    contains: str | None = Field(None, min_length=1, description="what stands in the body of an answer that is ok")
    output: str | None = Field(
        None, min_length=1, description="where the answer's JSON has its output: `scores`, `data.0.scores`, `/data/0`"
    )

    @field_validator("ok", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        return [given] if isinstance(given, int) else given

    @field_validator("ok")
    @classmethod
    def _statuses(cls, given: list[int]) -> list[int]:
        if wrong := [status for status in given if not 200 <= status <= 599]:
            raise ValueError(f"a status is a number from 200 to 599, but got {wrong[0]}")
        return given


class StatisticsSpec(Section):
    """Counters of the server's metrics that every target has a place for."""

    requests: Series | None = Field(None, description="requests answered")
    failures: Series | None = Field(None, description="requests that failed in the server")
    executions: Series | None = Field(None, description="batches executed")
    queue: Series | None = Field(None, description="summed time that requests waited")
    compute_input: Series | None = Field(None, description="summed time of preparing inputs")
    compute_infer: Series | None = Field(None, description="summed time of the model")
    compute_output: Series | None = Field(None, description="summed time of preparing outputs")
    unit: Literal["s", "ms", "us", "ns"] = Field("s", description="of the four times")


class MetricSpec(Section):
    """A number of the server's own that objectives and `slo` can use."""

    type: Literal["gauge", "rate", "ratio"] = Field(description="mean of a gauge; growth per second; growth per `per`")
    reading: Series = Field(description="the gauge or the counter")
    per: Series | None = Field(None, description="`ratio`: the other counter")
    scale: float = Field(1.0, gt=0, description="what `reading` is multiplied by to be in `unit`")
    unit: Literal["s", "/s", "bytes", "tokens"] | None = Field(None, description="of the metric")
    doc: str = Field("", pattern=r"^[^\n]*$", description="one line")
    better: Literal["more", "less"] | None = Field(None, description="what an objective may ask for")

    @model_validator(mode="after")
    def _per_is_of_a_ratio(self) -> "MetricSpec":
        if (self.per is not None) != (self.type == "ratio"):
            raise ValueError(f"`per` is for `type: ratio`, and needed there; this is a {self.type}")
        return self


class CommandOptions(TargetOptions):
    """Any server that an argument list starts, or a URL finds."""

    kind: Literal["command"] = "command"
    knobs: dict[Annotated[str, AfterValidator(_of_knob)], KnobSpec] = Field(
        default={}, description="name -> what can be tuned; templates make arguments, variables and files of it"
    )
    values: Path | None = Field(None, description="YAML file of the values you run today, in place of `default`")
    command: list[LaunchTemplate] | None = Field(None, min_length=1, description="argument list that starts the server")
    env: dict[Annotated[str, AfterValidator(_of_variable)], LaunchTemplate] = Field(
        default={}, description="environment variables of the server, besides those of Paretune"
    )
    templates: dict[Annotated[str, AfterValidator(_of_file)], Path] = Field(
        default={}, description="file of the deployment's folder -> your template of it"
    )
    reads: list[Path] = Field(
        default=[], description="what else the server reads: a run is not resumed once it changed"
    )
    url: str | None = Field(None, description="a server that runs already, in place of `command`")
    ca: Path | None = Field(None, description="`https`: certificates to trust; the system's when absent")
    verify: bool = Field(True, description="`https`: refuse a server whose certificate is not trusted")
    port: int | None = Field(None, ge=1, le=65535, description="port to serve on; a free one when absent")
    side_by_side: bool = Field(True, description="several deployments may run at once; never with a `port`")
    read_back: bool = Field(True, description="compare arguments and environment of the process with what was asked")
    ready: ReadySpec = Field(ReadySpec(port=True), description="when it is ready")
    request: RequestSpec = Field(RequestSpec(), description="what is sent")
    answer: AnswerSpec = Field(AnswerSpec(), description="what comes back")
    metrics_url: Address | None = Field(None, description="where the server's metrics are, in Prometheus' text format")
    statistics: StatisticsSpec = Field(StatisticsSpec(), description="its counters")
    server_metrics: dict[Annotated[str, AfterValidator(_of_knob)], MetricSpec] = Field(
        default={}, description="its other numbers, for objectives and `slo`"
    )

    @field_validator("command", mode="before")
    @classmethod
    def _a_list(cls, given: object) -> object:
        if isinstance(given, str):
            words = ", ".join(given.split())
            raise ValueError(f"expected a list of arguments, like [{words}], but got a text; no shell reads it")
        return given

    @field_validator("url")
    @classmethod
    def _of_a_server(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"expected a URL like http://127.0.0.1:9000, but got {shown_url(url)!r}")
        _without_login(url)
        _ = parts.port  # raises ValueError for one that is none
        return url.rstrip("/")

    @property
    def asked_by(self) -> tuple[str, ...]:
        """The request."""
        return ("request",)

    @model_validator(mode="after")
    def _one_way_to_the_server(self) -> "CommandOptions":
        if (self.command is None) == (self.url is None):
            raise ValueError("give `command`, to start the server, or `url`, to find one that runs already")
        useless = ("knobs", "values", "env", "templates", "port") if self.url else ("ca",)
        for name in useless:
            if getattr(self, name):
                what = "a server found by `url` is not started here" if self.url else "`command` serves in the clear"
                raise ValueError(f"`{name}` does nothing: {what}; leave it out")
        if self.url and "{" in f"{self.ready.url}{self.metrics_url}":
            raise ValueError("`ready.url` and `metrics_url` of a server found by `url` are no templates")
        if self.ready.log is not None and self.url:
            raise ValueError("`ready.log` needs `command`: the log of a server found by `url` is not here")
        return self

    @model_validator(mode="after")
    def _answers_of_kserve_are_judged_by_it(self) -> "CommandOptions":
        if self.request.protocol == "kserve":
            for name in ("ok", "contains", "output"):
                if name in self.answer.model_fields_set:
                    other = "; the workload's `requests.output` names an output" if name == "output" else ""
                    raise ValueError(
                        f"`answer.{name}` does nothing: `request.protocol: kserve` says what comes back; "
                        f"leave it out{other}"
                    )
        return self

    @model_validator(mode="after")
    def _files_have_names_of_their_own(self) -> "CommandOptions":
        if str(self.exported_values) in self.templates:
            raise ValueError(
                f"`templates` and the export's file of values both have a {self.exported_values}; rename one"
            )
        return self

    @model_validator(mode="after")
    def _numbers_have_a_source(self) -> "CommandOptions":
        wanted = [name for name in StatisticsSpec.model_fields if name != "unit" and getattr(self.statistics, name)]
        if self.metrics_url is None and (wanted or self.server_metrics):
            first = f"statistics.{wanted[0]}" if wanted else f"server_metrics.{next(iter(self.server_metrics))}"
            raise ValueError(f"`{first}` needs `metrics_url`: where the server's Prometheus metrics are")
        return self

    @property
    def exported_values(self) -> Path:
        """Where an export has the file of values: as the study names it, or its name alone if that is elsewhere."""
        path = PurePosixPath(VALUES if self.values is None else self.values)
        return Path(path.name) if path.is_absolute() or ".." in path.parts else Path(path)

    def declared_knobs(self) -> Mapping[str, Knob]:
        """Return the knobs by name."""
        return {name: spec.knob(name) for name, spec in self.knobs.items()}

    def metrics(self) -> Sequence[ServerMetric]:
        """Return the study's own metrics; their readings have the metric's name."""
        return [
            ServerMetric(
                name=name,
                unit=spec.unit or "",
                doc=spec.doc or f"{spec.reading} of the server's metrics",
                kind=spec.type,
                reading=name,
                per=f"{name} per" if spec.per else "",
                better=spec.better,
            )
            for name, spec in self.server_metrics.items()
        ]

    def files(self) -> Sequence[Path]:
        """Return the templates, the file of values, what `reads` names, and the arguments that look like a file."""
        plain = [Path(one) for one in self.command or () if "{" not in one and not one.startswith("-")]
        named = [path for path in plain if path.suffix]
        return [*self.templates.values(), *([self.values] if self.values else []), *self.reads, *named]

    def secrets(self) -> Sequence[str]:
        """Return the variables that arguments, the environment and requests use as `env.NAME`."""
        request = self.request
        texts = [*(self.command or ()), *self.env.values(), request.path, *request.headers.values(), request.body or ""]
        return sorted(frozenset().union(*(compiled(text, None).secrets for text in texts)))
