"""The `target` section of a study of Triton."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from targets.base import TargetError
from targets.kserve.options import Headers, Url, variables
from targets.options import Section, ServerMetric
from targets.triton.cache import METRICS as CACHE_METRICS
from targets.triton.flags import CACHE_CONFIG, caches, flag_name, given_flags
from targets.triton.metrics import METRICS
from targets.triton.repository import needed, read_model
from targets.triton.requesting import RequestOptions


def _as_text(value: object) -> object:
    """Take a number for the text that it is written as."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_as_text)]
FlagValue = str | int | float | bool


class DockerOptions(Section):
    """The container that Paretune starts the server in."""

    image: str = Field(min_length=1, description="image with `tritonserver`; it has to be on this machine")
    engine: str = Field("docker", min_length=1, description="command of the engine: `docker`, `podman`, or a path")
    gpus: Text | None = Field(None, description="GPUs that the container gets: `all`, a number, or `device=0,1`")
    mounts: dict[Path, Path] = Field(
        default={}, description="path here, relative to the study file -> path in the container, read only"
    )
    env: dict[str, Text] = Field(default={}, description="environment variables in the container")
    args: list[Text] = Field(default=[], description="further arguments of the engine's `run`")
    shm_size: Text = Field(
        "1g", pattern=r"^[1-9]\d*[bkmg]?$", description="shared memory of the container; the Python backend lives on it"
    )
    user: Text | None = Field(None, description="`UID`, `UID:GID` or name; the image's own when absent")
    network: Literal["bridge", "host"] = Field(
        "bridge", description="`bridge`: ports are published on loopback; `host`: no translation of addresses between"
    )

    def has_of_host(self, namespace: Literal["ipc", "pid"]) -> bool:
        """Whether further arguments give the container this host's own shared memory, or its processes."""
        return f"--{namespace}=host" in self.args or (f"--{namespace}", "host") in pairwise(self.args)


class ServedModelOptions(Section):
    """One of several models that a server has at once."""

    variants: dict[str, dict[str, Any]] = Field(
        default={}, description="of this model, as `target.variants` of a single one; its knob `precision` picks one"
    )


def _either_of_two(schema: dict[str, Any]) -> None:
    """Let the schema ask for `model` or for `models`."""
    schema["required"].remove("model")
    schema["anyOf"] = [{"required": ["model"]}, {"required": ["models"]}]


class TritonOptions(RequestOptions):
    """A model on NVIDIA Triton Inference Server, or several."""

    model_config = ConfigDict(json_schema_extra=_either_of_two)

    kind: Literal["triton"] = "triton"
    models: dict[Annotated[str, StringConstraints(pattern=r"^[\w-]+$")], ServedModelOptions] = Field(
        default={}, description="in place of `model`: several models that one server has at once, each with workloads"
    )
    model: str = Field(description="name of the model in the repository; this or `models`")
    repository: Path | None = Field(
        None, description="model repository, relative to the study file; with `launch: remote` it may be left out"
    )
    launch: Literal["local", "docker", "remote"] = Field(
        "local",
        description="`local`: Paretune starts the server; `docker`: in a container; `remote`: it runs already",
    )
    variants: dict[str, dict[str, Any]] = Field(
        default={},
        description="name -> overlay of the model's config, or `model: NAME`; the knob `precision` picks one",
    )
    also: list[Annotated[str, StringConstraints(pattern=r"^[\w-][\w.-]*$")]] = Field(
        default=[], description="models of the repository that the model calls by itself; `space.composing` tunes them"
    )
    server: Path | None = Field(None, description="the server's executable; looked for when absent")
    http_port: int | None = Field(None, ge=1, le=65535, description="port to serve HTTP on; a free one when absent")
    grpc_port: int | None = Field(
        None, ge=1, le=65535, description="port to serve gRPC on with `protocol: grpc`; a free one when absent"
    )
    cache_size: int | None = Field(
        None, ge=1024, description="bytes of the server's response cache; the server has none when absent"
    )
    flags: dict[Annotated[str, AfterValidator(flag_name)], FlagValue | list[FlagValue]] = Field(
        default={}, description="flag of tritonserver -> its value, or several values; your own command line"
    )
    docker: DockerOptions | None = Field(None, description="the container, with `launch: docker`")
    url: Url | None = Field(None, description="with `launch: remote`, of the server: `http://HOST:PORT`")
    grpc_url: Url | None = Field(
        None, description="with `launch: remote`, of its gRPC service: `grpc://HOST:PORT` or `grpcs://HOST`"
    )
    metrics_url: Url | None = Field(
        None, description="with `launch: remote`, of its metrics: `http://HOST:PORT/metrics`"
    )
    headers: Headers = Field(default={}, description="with `launch: remote`, sent with every request")
    ca: Path | None = Field(None, description="with `launch: remote`, file with the certificates to trust, for https")

    @model_validator(mode="before")
    @classmethod
    def _several_need_no_model(cls, data: object) -> object:
        return {"model": "", **data} if isinstance(data, dict) and data.get("models") else data

    @field_validator("model")
    @classmethod
    def _one_or_several(cls, model: str, info: ValidationInfo) -> str:
        if model and info.data.get("models"):
            raise ValueError(f"`models` names {', '.join(info.data['models'])} already; keep one of the two")
        return model

    @field_validator("grpc_port")
    @classmethod
    def _a_port_of_its_own(cls, grpc_port: int | None, info: ValidationInfo) -> int | None:
        if grpc_port is not None and grpc_port == info.data.get("http_port"):
            raise ValueError(f"{grpc_port} is `http_port` already; give another one, or none for a free one")
        return grpc_port

    @model_validator(mode="after")
    def _fits_the_launch(self) -> "TritonOptions":
        elsewhere = {"local": REMOTE + IN_DOCKER, "docker": (*REMOTE, "server"), "remote": STARTED + IN_DOCKER}
        for name in elsewhere[self.launch]:
            if name in self.model_fields_set and getattr(self, name) not in (None, {}):
                raise ValueError(f"`{name}` does not go with `launch: {self.launch}`; take it out")
        needed = {
            "local": ("repository",),
            "docker": ("repository", "docker"),
            "remote": ("grpc_url",) if self.protocol == "grpc" else ("url",),
        }
        for name in needed[self.launch]:
            if getattr(self, name) is None:
                raise ValueError(f"`launch: {self.launch}` with `protocol: {self.protocol}` needs `{name}`")
        return self

    @model_validator(mode="after")
    def _several_models_fit(self) -> "TritonOptions":
        if self.models and self.launch == "remote":
            raise ValueError(
                "`models` is for a server that Paretune starts; with `launch: remote` tune one `model` at a time"
            )
        if self.models and self.variants:
            raise ValueError("`variants` are of one model: give them under `models`, with the model")
        return self

    @model_validator(mode="after")
    def _requests_fit_the_launch(self) -> "TritonOptions":
        if self.docker is not None and (lacking := self._of_host_that_memories_lack(self.docker)):
            raise ValueError(
                f"a container does not see this host's {' and '.join(sorted(self.memories))} without "
                f"{' and '.join(lacking)}; give `docker: {{args: [{', '.join(lacking)}]}}`, or take it out"
            )
        if self.launch == "remote" and "cuda_shared_memory" in self.memories:
            raise ValueError("`cuda_shared_memory` is for a server that Paretune starts; take it out")
        return self

    def _of_host_that_memories_lack(self, docker: DockerOptions) -> list[str]:
        """Return the arguments that a container lacks to see the memories of this host; CUDA's takes its processes."""
        wanted: list[Literal["ipc", "pid"]] = ["ipc"] if self.memories else []
        wanted += ["pid"] if "cuda_shared_memory" in self.memories else []
        return [f"--{one}=host" for one in wanted if not docker.has_of_host(one)]

    @model_validator(mode="after")
    def _urls_of_their_protocol(self) -> "TritonOptions":
        for name, given, grpc in (("url", self.url, False), ("grpc_url", self.grpc_url, True),
                                  ("metrics_url", self.metrics_url, False)):  # fmt: skip
            if given is not None and given.startswith("grpc") != grpc:
                raise ValueError(
                    f"`{name}` has to begin with {'grpc:// or grpcs://' if grpc else 'http:// or https://'}: {given!r}"
                )
        urls = (*self.urls, *([self.metrics_url] if self.metrics_url else []))
        if self.ca is not None and not any(url.startswith(("https:", "grpcs:")) for url in urls):
            raise ValueError("`ca` is for https and grpcs, and no URL is one of them; take it out")
        return self

    @property
    def url_key(self) -> str | None:
        """With `launch: remote`, the URL of the protocol that requests go over."""
        if self.launch != "remote":
            return None
        return "grpc_url" if self.protocol == "grpc" else "url"

    @property
    def gpus_key(self) -> str | None:
        """Triton's metrics have those of its GPUs."""
        return "metrics_url" if self.launch == "remote" else None

    @property
    def urls(self) -> tuple[str, ...]:
        """With `launch: remote`, those of both protocols."""
        return tuple(url for url in (self.url, self.grpc_url) if url is not None)

    @property
    def asked_by(self) -> tuple[str, ...]:
        """Nothing: models of the server are loaded with other configurations."""
        return ()

    @property
    def ports(self) -> Mapping[str, int]:
        """Those that the study names."""
        given = {"http_port": self.http_port, "grpc_port": self.grpc_port}
        return {key: port for key, port in given.items() if port is not None}

    @property
    def keeps_connections(self) -> bool:
        """Calls of gRPC share connections."""
        return self.protocol == "grpc"

    @property
    def takes_priority(self) -> bool:
        """The parameter `priority` of a request picks a level of the queue."""
        return True

    @property
    def takes_sequences(self) -> bool:
        """Requests may name a sequence, its start and its end."""
        return True

    @property
    def own_flags(self) -> tuple[str, ...]:
        """The user's own flags, as they stand on a command line."""
        cache = () if self.cache_size is None else (f"{CACHE_CONFIG}{self.cache_size}",)
        return (*given_flags(self.flags), *cache)

    @property
    def several(self) -> tuple[str, ...]:
        """The models that the server has at once."""
        return tuple(self.models)

    def of_model(self, name: str) -> "TritonOptions":
        """Return the options of one of several models, as if the server had it alone."""
        return self.model_copy(update={"model": name, "models": {}, "variants": self.models[name].variants})

    def metrics(self) -> Sequence[ServerMetric]:
        """Return those of the response cache where flags give the server one, and what the server's metrics give."""
        return self.metrics_with(())

    def metrics_with(self, knobs: Collection[str]) -> Sequence[ServerMetric]:
        """Return the same where knobs may give it a cache, too."""
        cached = any(knob.rpartition(".")[2] in _CACHING for knob in knobs) or bool(caches(self.own_flags))
        cache = CACHE_METRICS if cached else ()
        return (*cache, *(METRICS if self.metrics_url is not None else ()))

    def secrets(self) -> Sequence[str]:
        """Return the variables of the headers."""
        return variables(self.headers)

    def files(self) -> Sequence[Path]:
        """Return the folders of the model, of the models that are variants of it, and of those that it calls."""
        if self.repository is None:
            return []
        if self.models:
            return [path for name in self.models for path in self.of_model(name).files()]
        others = [str(overlay["model"]) for overlay in self.variants.values() if "model" in overlay]
        return [self.repository / name for name in (self.model, *others, *self.also)]

    def files_of_these(self, resolve: Callable[[Path], Path]) -> Sequence[Path]:
        """Return the folders of the models that an ensemble is composed of, and what else models need."""
        found: dict[Path, None] = {}
        for folder in map(resolve, self.files()):
            try:
                config = read_model(folder.parent, folder.name)[1]
            except TargetError:
                continue  # the target says so when it is made
            found |= dict.fromkeys(needed(folder.parent, folder.name, config).values())
        return [path for path in found if path not in map(resolve, self.files())]


_CACHING = frozenset({"response_cache", "cache_size"})
"""Knobs by which a server gets a response cache."""
STARTED = ("server", "http_port", "grpc_port", "flags", "cache_size")
IN_DOCKER = ("docker",)
REMOTE = ("url", "grpc_url", "metrics_url", "headers", "ca")
