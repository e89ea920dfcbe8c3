"""What is sent, and who is asked: told apart, so that measurements of another traffic are not compared."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from targets.hiding import shown_url
from targets.options import TargetOptions
from tuner.gate.hosts import HERE
from tuner.study.locustfile import LocustSpec
from workloads.datasets import files_of

_DIGITS = 12
_NAMED = ("mix", "classes")
"""Keys of a workload with classes of its requests."""
_LATER_BOUNDS = ("throughput_at_least",)
"""Bounds that earlier versions did not know."""


def traffic_hash(workload: BaseModel, resolve: Callable[[Path], Path]) -> str:
    """Identify what a workload sends: its definition, with the content of files and folders in place of their names.

    The bounds that it is held against are left out: they change nothing of what is sent. So is what has its default, so
    that a key which a later version adds changes nothing for those who do not give it.

    Args:
        workload: its section of the study.
        resolve: makes a path of the study an absolute one.
    """
    section = workload.model_dump(exclude_defaults=True)
    section.pop("slo", None)
    for one in (one for key in _NAMED for one in (section.get(key) or {}).values()):
        one.pop("slo", None)
    if isinstance(workload, LocustSpec) and (beside := workload.files_of_these(resolve)):
        folder = resolve(workload.locustfile).parent
        section["beside"] = {one.relative_to(folder).as_posix(): one for one in beside}
    return _short(json.dumps(_by_content(section, resolve), sort_keys=True).encode())


def _by_content(value: Any, resolve: Callable[[Path], Path]) -> Any:
    """Return a value of a study with the content of each file in the place of its path."""
    if isinstance(value, Path):
        return _content(resolve(value))
    if isinstance(value, Mapping):
        return {str(key): _by_content(one, resolve) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(one, resolve) for one in value]
    return value


def _content(path: Path) -> str:
    """Return a hash of a file, or of the names and contents of a folder's files."""
    if path.is_dir():
        inside = {one.name: _content(one) for one in files_of(path)}
        return hashlib.sha256(json.dumps(inside, sort_keys=True).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def earlier_hash(workload: BaseModel, files: Iterable[Path]) -> str:
    """Identify a workload as the baselines of earlier versions do: the text of its paths counts, and no folder does.

    A key that a workload gets has to be left out here, or no baseline of theirs is comparable any more.

    Args:
        workload: its section of the study.
        files: that it names, as absolute paths.
    """
    told = json.dumps(_unbound(workload.model_dump(mode="json")), sort_keys=True).encode()
    return _short(told, *(hashlib.sha256(file.read_bytes()).digest() for file in sorted(files) if file.is_file()))


def _unbound(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section of a workload as it is where neither it nor a class of it has a bound."""
    found = {**section, "slo": _none_of(section["slo"])}
    for key in _NAMED:
        if section.get(key):
            found[key] = {name: {**one, "slo": _none_of(one["slo"])} for name, one in section[key].items()}
    return found


def _none_of(bounds: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(name for name in bounds if name not in _LATER_BOUNDS)


def _short(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:_DIGITS]


def asked(options: TargetOptions, environment: Mapping[str, str]) -> dict[str, str]:
    """Return which server and model are asked, and over what: facts, see `hosts.FACTS`.

    Args:
        options: the study's `target`.
        environment: of a run; a server whose study names no model may say it there.
    """
    url = str(getattr(options, options.url_key)) if options.url_key else ""
    spoken = getattr(options, "protocol", None) or ("grpc" if url.startswith(("grpc:", "grpcs:")) else "http")
    model = getattr(options, "model", None) or ", ".join(sorted(options.several)) or environment.get("model", "unknown")
    return {
        "place": shown_url(url).rstrip("/").removesuffix("/v1") if url else HERE,
        "protocol": str(spoken),
        "model": Path(model).name if model.startswith(("/", ".", "~")) else model,
    }
