"""Studies for models that are found: in a model repository, or on a server that runs."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from string import Template

import yaml

import studies
from targets import registry
from targets.found import FoundModel
from tuner.starters import StarterError
from workloads.requests import TensorSpec

USUAL = (".", "models", "model_repository")
"""Folders that are looked into for a model repository."""
LEAST_BATCH = 8
"""A model that batches less is tried with batches up to this."""
SHORTEST, LONGEST = 16, 128
PROTOCOL = "  protocol: http                       # or grpc: what your clients send over"
STREAM = """  protocol: grpc
  streaming: true                      # the model may give several answers to a request, each with a time of its own"""
SEQUENCES = "\n    sequences: {length: 10}            # <- requests of one sequence: the model keeps a state"


def repository_here(folder: Path) -> Path | None:
    """Return a folder or one in it of a usual name that holds models with a config.pbtxt, None where neither does."""
    return next((folder / name for name in USUAL if any((folder / name).glob("*/config.pbtxt"))), None)


def write_for_repository(repository: Path, directory: Path, model: str | None) -> Path:
    """Write a study of Triton for a model of a repository and return its path. What is there already stays.

    Args:
        repository: the model repository.
        directory: where to put the study; made if need be.
        model: which of its models; may be None where there is one.

    Raises:
        StarterError: there are several models and none is named, or the study's file is there already.
        TargetError: it is no repository, or has no such model.
    """
    found = _one(registry.models_at("triton", str(repository), model), ["tune", "init", str(repository)])
    place = os.path.relpath(repository.resolve(), directory.resolve())
    knobs = "".join(f"  {_knob(name, found)}\n" for name in found.knobs)
    return _write("repository.yaml.in", found, directory, _scalar(place), knobs + _composing(found))


def _composing(found: FoundModel) -> str:
    """Return the part of the space with the knobs of an ensemble's composing models, "" where it has none."""
    searched = [one for one in found.composing if one.knobs]
    lines = ["composing:                           # knobs of the models that the ensemble is composed of"] * bool(
        searched
    )
    for one in searched:
        lines.append(f"  {_scalar(one.name)}:")
        lines += [f"    {_knob(name, one, max(1, found.max_batch))}" for name in one.knobs]
    return "".join(f"  {line}\n" for line in lines)


def write_for_server(url: str, directory: Path, model: str | None) -> Path:
    """Write a study for a model on a server that runs and return its path. What is there already stays.

    Args:
        url: of the server.
        directory: where to put the study; made if need be.
        model: which of its models; may be None where there is one.

    Raises:
        StarterError: there are several models and none is named, or the study's file is there already.
        TargetError: the server does not answer, or has no such model.
    """
    found = _one(registry.models_at("kserve", url, model), ["tune", "init", "--url", url])
    return _write("server.yaml.in", found, directory, url, "")


def _one(found: Sequence[FoundModel], command: Sequence[str]) -> FoundModel:
    parts = {part.name for one in found for part in one.composing}
    whole = [one for one in found if one.name not in parts]  # a repository is often one ensemble with its parts
    if len(found) == 1 or len(whole) == 1:
        return (whole or found)[0]
    choices = "\n".join(f"  {shlex.join([*command, '--model', one.name])}" for one in found)
    raise StarterError(f"there are {len(found)} models; a study is about one of them, so name it:\n{choices}")


def _write(template: str, found: FoundModel, directory: Path, place: str, knobs: str) -> Path:
    target = directory / "study.yaml"
    if target.exists():
        raise StarterError(f"{target} is there already; move it away, or give another folder with --to")
    text = Template((Path(studies.__path__[0]) / "templates" / template).read_text()).substitute(
        model=found.name,
        file=target.name,
        study=_scalar(re.sub(r"[^\w-]", "-", found.name)),
        name=_scalar(found.name),
        place=place,
        protocol=STREAM if found.streams else PROTOCOL,
        requests="\n".join(f"      {line}" for line in _requests(found.inputs)) + SEQUENCES * found.sequences,
        knobs=knobs,
    )
    directory.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def _scalar(value: str) -> str:
    """Return a text as YAML spells it, quoted where need be."""
    return yaml.safe_dump([value], default_flow_style=True, width=1000).strip()[1:-1]


def _knob(name: str, found: FoundModel, least: int = 1) -> str:
    """Return the line of a knob.

    Args:
        name: of the knob.
        found: its model.
        least: the smallest batch that may be its limit; Triton wants it no smaller than that of the ensemble.
    """
    most = max(found.max_batch, LEAST_BATCH, 2 * least)
    return {
        "max_batch_size": f"max_batch_size: {{low: {least}, high: {most}, scale: log2}}"
        "   # <- up to what the model can take",
        "max_queue_delay": "max_queue_delay: [0 us, 100 us, 500 us, 1 ms, 5 ms]     # a request's wait for its batch",
        "instances": "instances: {low: 1, high: 4}                            # copies of the model",
    }[name]


def _requests(inputs: Sequence[TensorSpec]) -> list[str]:
    """Return the lines of `requests`: tensors drawn for the model, with a length for each axis that is open."""
    if not inputs:
        return [
            "source: dataset                # nobody says what the model takes, so it cannot be made up",
            "path: requests.npz             # <- an array for each input, named like it, a row for each request",
        ]
    lines = [
        "source: tensors                # <- random ones are not your traffic; of a file with an array for each",
        "                               # input: {source: dataset, path: requests.npz}",
    ]
    shapes = {one.name: _axes(one) for one in inputs if not one.optional and _axes(one)}
    if shapes:
        names = list(dict.fromkeys(name for axes in shapes.values() for name in axes))
        length = f"{{distribution: uniform, low: {SHORTEST}, high: {LONGEST}}}"
        lines += ["lengths:                       # <- of the axes that the model leaves open"]
        lines += [f"  {name}: {length}" for name in names]
        lines += ["shapes:                        # axes of one name have the same length in a request"]
        lines += [f"  {_scalar(name)}: [{', '.join(axes)}]" for name, axes in shapes.items()]
    return lines


def _axes(one: TensorSpec) -> list[str]:
    """Return names for the open axes of an input: the first of each input has the same length, and so on."""
    return [f"axis{number}" for number in range(1, 1 + sum(size < 0 for size in one.shape))]
