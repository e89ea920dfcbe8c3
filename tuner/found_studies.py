"""Studies for models that are found: in a folder of models, or on a server that runs."""

import itertools
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from targets import registry
from targets.base import TargetError
from targets.found import FoundModel, NothingFound, models_alone
from tuner import found_text
from tuner.starters import StarterError

USUAL = (".", "models", "model_repository")
"""Folders that are looked into for models."""
FOLDERS = ("triton", "mlserver")
"""Kinds of target that are asked for the models of a folder, in this order."""
CONFIG, MODEL_SETTINGS, SETTINGS = "config.pbtxt", "model-settings.json", "settings.json"
FIXED = """ It does not let models be loaded.
# To tune Triton's configuration as well: start it with --model-control-mode=explicit, or `tune init FOLDER` with its
# model repository."""
"""What else can be done with a Triton that keeps its models as they are."""
ADVICE = {
    "mlserver": """\
# To tune MLServer's batching and workers as well: `tune init FOLDER` with the folder that it is started on.
""",
}
"""Comments on what else can be done with a server, by the first word of what it calls itself."""


def repository_here(folder: Path) -> Path | None:
    """Return a folder, or one in it of a usual name, with models; None: there is none.

    Those of Triton that have a configuration come first, then those of MLServer, then what has a model and no
    configuration: Triton completes some of these.
    """
    places = [folder / name for name in USUAL]
    triton = (place for place in places if any(place.glob(f"*/{CONFIG}")))
    mlserver = (place for place in places if _is_of_mlserver(place))
    alone = (place for place in places if models_alone(place, CONFIG))
    return next(itertools.chain(triton, mlserver, alone), None)


def _is_of_mlserver(folder: Path) -> bool:
    """Whether MLServer may be started on a folder: one below a settings.json may have its models further down."""
    levels = ("", "*/", "*/*/") if (folder / SETTINGS).is_file() else ("", "*/")
    return any(any(folder.glob(f"{level}{MODEL_SETTINGS}")) for level in levels)


def write_for_repository(repository: Path, directory: Path, model: str | None) -> Path:
    """Write a study for a model of a repository and return its path. What is there already stays.

    Args:
        repository: Triton's model repository, or the folder that MLServer is started on.
        directory: where to put the study; made if need be.
        model: which of its models; may be None where there is one.

    Raises:
        StarterError: there are several models and none is named, the study's file is there already, or runs would get
            among MLServer's models.
        TargetError: there are no models in it, or not the one that is named.
    """
    kind, models = _of_first(
        FOLDERS,
        lambda kind: registry.models_at(kind, str(repository), model),
        str(repository),
        "a model's own configuration is what is tuned: give Triton's model repository, or the folder that `mlserver "
        "start` is given; `tune init triton` writes a study to fill in",
    )
    found = _one(models, ["tune", "init", str(repository)])
    if len(models) > 1:  # of one among several only what its files say is known
        (found,) = registry.models_at(kind, str(repository), found.name)
    place = found_text.scalar(os.path.relpath(repository.resolve(), directory.resolve()))
    requests = found_text.requests(found)
    if kind == "mlserver":
        _check_runs_are_elsewhere(repository)
        values = {"place": place, "requests": requests, "knobs": found_text.mlserver_knobs(found)}
        return _write("mlserver.yaml.in", found, directory, values)
    knobs = found_text.triton_knobs(found)
    values = {"place": place, "requests": requests, "knobs": knobs, "protocol": found_text.protocol(found)}
    return _write("repository.yaml.in", found, directory, values)


def _check_runs_are_elsewhere(repository: Path) -> None:
    """Raise StarterError where a run that begins here would put its exported settings below MLServer's folder."""
    whole = repository.resolve()
    if Path.cwd().is_relative_to(whole):
        raise StarterError(
            f"{whole} is the folder that MLServer is started on: it would load what a run that begins here exports; go "
            f"outside: {shlex.join(['cd', str(whole.parent)])} && {shlex.join(['tune', 'init', whole.name])}"
        )


def write_for_server(url: str, directory: Path, model: str | None, key_env: str | None = None) -> Path:
    """Write a study for a model on a server that runs and return its path. What is there already stays.

    Args:
        url: of the server, which has OpenAI's API or speaks the Open Inference Protocol.
        directory: where to put the study; made if need be.
        model: which of its models; may be None where there is one.
        key_env: the environment variable with the key or token that the server wants; None: it wants none.

    Raises:
        StarterError: there are several models and none is named, the study's file is there already, or the variable
            is not set.
        TargetError: the server does not answer, has no such model, or is of another kind.
    """
    if key_env is not None and not os.environ.get(key_env, "").strip():
        raise StarterError(f"--api-key-env: the environment variable {key_env} is not set; export the key in it")
    over_http = url.startswith(("http://", "https://"))
    kind, models = _of_first(
        ("openai", "triton", "kserve") if over_http else ("triton", "kserve"),
        lambda kind: registry.models_served(kind, url, model, key_env),
        url,
        "give the URL of a server with OpenAI's API or of the Open Inference Protocol (KServe v2)",
    )
    key = [] if key_env is None else ["--api-key-env", key_env]
    found = _one(models, ["tune", "init", "--url", url, *key])
    values = {
        "place": found_text.plain(url),
        "server": found_text.comment(f" ({found.server})" if found.server else ""),
    }
    if kind == "openai" and found.prompted is not None:
        return _write("openai.yaml.in", found, directory, values | found_text.prompted(found.prompted, key_env))
    values |= {"requests": found_text.requests(found), "headers": found_text.headers(key_env)}
    if kind == "triton":
        values |= {"place": found_text.remote_place(url, found), "knobs": found_text.remote_knobs(found)}
        return _write("remote.yaml.in", found, directory, values | {"control": FIXED if found.fixed else ""})
    return _write("server.yaml.in", found, directory, values | {"advice": _advice(found)})


def _advice(found: FoundModel) -> str:
    """Return the lines of the comment that say what else can be done with the server, "" where nothing is known."""
    name = found.server.partition(" ")[0].lower()
    return ADVICE.get(name, "")


def _of_first(
    kinds: Sequence[str], look: Callable[[str], Sequence[FoundModel]], place: str, remedy: str
) -> tuple[str, Sequence[FoundModel]]:
    """Return the first kind that finds models at a place, and those.

    Raises:
        TargetError: none of them finds any, with what each looked at.
    """
    said = []
    for kind in kinds:
        try:
            return kind, look(kind)
        except NothingFound as error:
            said.append(str(error))
    raise TargetError(f"{place}: {', and '.join(dict.fromkeys(said))}; {remedy}")


def _one(found: Sequence[FoundModel], command: Sequence[str]) -> FoundModel:
    parts = {part.name for one in found for part in one.composing}
    whole = [one for one in found if one.name not in parts]  # a repository is often one ensemble with its parts
    if len(found) == 1 or len(whole) == 1:
        return (whole or found)[0]
    choices = "\n".join(f"  {shlex.join([*command, '--model', one.name])}" for one in found)
    raise StarterError(f"there are {len(found)} models; a study is about one of them, so name it:\n{choices}")


def _write(template: str, found: FoundModel, directory: Path, values: Mapping[str, str]) -> Path:
    target = directory / "study.yaml"
    if target.exists():
        raise StarterError(f"{target} is there already; move it away, or give another folder with --to")
    names = {
        "model": found_text.comment(found.name),
        "file": target.name,
        "study": found_text.scalar(re.sub(r"[^\w-]", "-", found.name)),
        "name": found_text.scalar(found.name),
    }
    text = found_text.filled(template, {**names, **values})
    directory.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target
