"""The target of a study, of what a configuration of Model Analyzer says of its server and how requests are sent."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from targets import registry
from tuner.analyzer_values import CERTIFICATES, ImportRefused, Notes, several, texts_of

HTTP_ENDPOINT, GRPC_ENDPOINT = "localhost:8000", "localhost:8001"
"""Model Analyzer's own defaults."""
NO_IMAGE = "nvcr.io/nvidia/tritonserver:NAME_ONE-py3"
_SIZE = re.compile(r"[1-9]\d*[bkmg]?")
_MEMORIES = {"system": "shared_memory", "cuda": "cuda_shared_memory"}
_DOCKER_ARGS = {"ipc_mode": "ipc", "pid_mode": "pid", "privileged": "privileged", "runtime": "runtime"}
"""Argument of Docker's Python package -> flag of `docker run`."""
_TYPES: Mapping[str, Callable[[str], bool | int | float | str]] = {
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "uint": int,
    "float": float,
    "double": float,
}


class _Target:
    """The section `target` while it is made: what does not fit the rest of it is noted, with the target's reason."""

    def __init__(self, made: dict[str, Any], notes: Notes) -> None:
        if why := _misfit(made):
            raise ImportRefused(f"the target of the study would be {made}: {why}")
        self.made = made
        self._notes = notes

    def take(self, place: str, **keys: Any) -> bool:
        """Add keys where they fit; `place` in Model Analyzer's configuration is what they come from."""
        if why := _misfit({**self.made, **keys}):
            self._notes.add(place, f"{', '.join(f'{key}: {value}' for key, value in keys.items())}: {why}")
            return False
        self.made |= keys
        return True


def _misfit(made: Mapping[str, Any]) -> str:
    """Return why a section is none of a target Triton, "" where it is one."""
    try:
        registry.options_of("triton").model_validate(made)
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return ""


def target_of(
    settings: Mapping[str, Any], models: Mapping[str, Any] | None, name: str, path: Path, folder: Path, notes: Notes
) -> dict[str, Any]:
    """Return the section `target`.

    Args:
        settings: what is said of the model, or of all.
        models: several that are served at once, in the place of `name`; None for one.
        name: of the one.
        path: of the configuration.
        folder: where the study will stand.
        notes: take up what is not carried over.
    """
    begun: dict[str, Any] = {"kind": "triton", **({"model": name} if models is None else {"models": models})}
    if "model_repository" in settings:
        repository = (path.parent / str(settings["model_repository"])).resolve()
        begun["repository"] = os.path.relpath(repository, folder.resolve())
    if settings.get("client_protocol", "grpc") == "grpc":
        begun["protocol"] = "grpc"
    mode = str(settings.get("triton_launch_mode", "local"))
    if mode == "docker":
        begun |= {"launch": "docker", "docker": _docker(settings, notes)}
    elif mode == "remote":
        begun |= {"launch": "remote", **_urls(settings, grpc="protocol" in begun)}
    elif mode != "local":
        notes.add("triton_launch_mode", f"{mode}: the server is started as a process of its own, as with `local`")
    target = _Target(begun, notes)
    if mode != "remote":
        _started(settings, target, notes, in_docker=mode == "docker")
    if settings.get("bls_composing_models"):
        names = [str(name) for one in several(settings["bls_composing_models"]) for name in _split(one)]
        target.take("bls_composing_models", also=names)
    _requesting(dict(settings.get("perf_analyzer_flags") or {}), target, notes)
    return target.made


def _docker(settings: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    if "triton_docker_image" not in settings:
        notes.add("triton_docker_image", "not given, and Model Analyzer's own one is of its release: name an image")
    made: dict[str, Any] = {"image": str(settings.get("triton_docker_image", NO_IMAGE))}
    gpus = texts_of(settings.get("gpus", "all"))
    if gpus == ["all"] and not settings.get("cpu_only"):
        made["gpus"] = "all"
    elif gpus not in ([], ["all"]):
        made["gpus"] = f"device={','.join(gpus)}"
    if mounts := _mounts(several(settings.get("triton_docker_mounts"))):
        made["mounts"] = mounts
    if size := str(settings.get("triton_docker_shm_size", "")).lower():
        if _SIZE.fullmatch(size):
            made["shm_size"] = size
        else:
            notes.add("triton_docker_shm_size", f"{size}: give docker.shm_size as `1g`")
    if environment := dict(settings.get("triton_server_environment") or {}):
        made["env"] = {str(name): str(value) for name, value in environment.items()}
    labels = dict(settings.get("triton_docker_labels") or {})
    args = [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
    for name, value in dict(settings.get("triton_docker_args") or {}).items():
        if name in _DOCKER_ARGS:
            args.append(f"--{_DOCKER_ARGS[name]}={value}")
        else:
            notes.add(f"triton_docker_args.{name}", f"{value}: give it in docker.args, as `docker run` has it")
    return {**made, **({"args": args} if args else {})}


def _mounts(given: list[Any]) -> dict[str, str]:
    """Return path here -> path there of `/here:/there[:mode]`; what is mounted is read only."""
    parts = [str(one).split(":") for one in given]
    return {here: there for here, there, *_ in parts}


def _urls(settings: Mapping[str, Any], *, grpc: bool) -> dict[str, str]:
    """Return the places of a server that runs."""
    flags = dict(settings.get("perf_analyzer_flags") or {})
    start = "https" if any(flag.startswith("ssl-https") for flag in flags) else "http"
    urls = {"url": _url(start, settings.get("triton_http_endpoint", HTTP_ENDPOINT))}
    if grpc:
        secured = str(flags.get("ssl-grpc-use-ssl", False)).lower() != "false"
        urls["grpc_url"] = _url("grpcs" if secured else "grpc", settings.get("triton_grpc_endpoint", GRPC_ENDPOINT))
    if "triton_metrics_url" in settings:
        urls["metrics_url"] = str(settings["triton_metrics_url"])
    return urls


def _url(start: str, endpoint: Any) -> str:
    return str(endpoint) if "://" in str(endpoint) else f"{start}://{endpoint}"


def _started(settings: Mapping[str, Any], target: _Target, notes: Notes, *, in_docker: bool) -> None:
    """Take up what is about a server that is started."""
    for key, port in (("triton_http_endpoint", "http_port"), ("triton_grpc_endpoint", "grpc_port")):
        number = str(settings.get(key, "")).rpartition(":")[2]
        if number.isdecimal():
            target.take(key, **{port: int(number)})
    for name, value in dict(settings.get("triton_server_flags") or {}).items():
        flag = str(name).replace("_", "-")
        target.take(f"triton_server_flags.{name}", flags={**target.made.get("flags", {}), flag: value})
    if in_docker:
        return
    if "/" in str(settings.get("triton_server_path", "")):
        target.take("triton_server_path", server=str(settings["triton_server_path"]))
    if environment := dict(settings.get("triton_server_environment") or {}):
        given = " ".join(f"{name}={value}" for name, value in environment.items())
        notes.add("triton_server_environment", f"the server has that of `tune`: {given} tune STUDY.yaml")
    if texts_of(settings.get("gpus", "all")) != ["all"]:
        notes.add("gpus", "name them in CUDA_VISIBLE_DEVICES, in the environment of `tune`; or search `gpus`")


def _split(given: Any) -> list[Any]:
    return texts_of(given) if isinstance(given, str) else list(given) if isinstance(given, dict) else [given]


def _requesting(flags: Mapping[str, Any], target: _Target, notes: Notes) -> None:
    """Take up those flags of Perf Analyzer that are about how requests are sent."""
    if "true" in [str(one).lower() for one in several(flags.get("streaming"))]:
        target.take("perf_analyzer_flags.streaming", streaming=True)
    if "json" in (flags.get("input-tensor-format"), flags.get("output-tensor-format")):
        target.take("perf_analyzer_flags.input-tensor-format", tensors="json")
    _memories(flags, target, notes)
    parameters: dict[str, Any] = {}
    for one in several(flags.get("request-parameter")):
        place = "perf_analyzer_flags.request-parameter"
        name, _, rest = str(one).partition(":")
        text, _, kind = rest.rpartition(":")
        value = _TYPES.get(kind, str)(text)
        if name == "timeout":
            target.take(place, queue_timeout=f"{value} us")
        elif name == "priority":
            notes.add(place, f"{one}: give a class of workloads.steady.mix the `priority`")
        elif target.take(place, parameters={**parameters, name: value}):
            parameters[name] = value
    if headers := dict(str(one).split(":", 1) for key in ("header", "H") for one in several(flags.get(key))):
        target.take("perf_analyzer_flags.header", headers={name: text.strip() for name, text in headers.items()})
    for name in (flag for flag in CERTIFICATES if flag in flags):
        place = f"perf_analyzer_flags.{name}"
        if target.made.get("ca", flags[name]) == flags[name]:
            target.take(place, ca=flags[name])
        else:
            notes.add(place, f"{flags[name]}: `ca` is one file for both protocols; put the certificates into one")


def _memories(flags: Mapping[str, Any], target: _Target, notes: Notes) -> None:
    """Take up shared memory: of inputs, and of outputs unless they have no known size."""
    memory = _MEMORIES.get(str(flags.get("shared-memory", "none")))
    place = "perf_analyzer_flags.shared-memory"
    if memory is None or not target.take(place, tensors=memory):
        return
    if "output-shared-memory-size" in flags:
        notes.add("perf_analyzer_flags.output-shared-memory-size", "outputs of no known size come in the answer")
    else:
        target.take(f"{place} of outputs", outputs=memory)
