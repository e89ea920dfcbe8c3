"""What a kind of target finds at a place before there is a study: models that one can be written for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from targets.base import TargetError, Value
from workloads.requests import TensorSpec


class NothingFound(TargetError):
    """A place has nothing of this kind of target, though another kind may find something; says what was looked at."""


@dataclass(frozen=True)
class Prompted:
    """How a language model takes prompts.

    Attributes:
        endpoint: that answers them.
        usage: how its streams tell the number of tokens.
        ignore_eos: whether answers can be made as long as they are asked to be.
        context: tokens of a prompt and its answer together, at most; 0 where nobody tells.
    """

    endpoint: Literal["completions", "chat"]
    usage: Literal["continuous", "final", "none"]
    ignore_eos: bool = False
    context: int = 0


@dataclass(frozen=True)
class FoundModel:
    """A model that a study can be written for.

    Attributes:
        name: of the model, as a study names it.
        inputs: what one request takes, shapes without an axis of the batch and -1 for an open one; () where the place
            does not tell.
        knobs: names of the knobs that can be searched of it.
        max_batch: the largest batch that it takes as it is, 0 where it takes none or nobody tells.
        composing: the models that it is composed of, and those that these are composed of.
        sequences: whether its requests have to belong to sequences.
        streams: whether it may give several answers to a request, so that it has to be asked over a stream.
        values: what the user's files give its knobs, where they say it.
        server: name and version of the server that has it, "" where none runs.
        fixed: whether that server keeps it with the configuration that it has.
        prompted: how it takes prompts; None: it takes tensors, or was not asked, being one of several.
    """

    name: str
    inputs: tuple[TensorSpec, ...] = ()
    knobs: tuple[str, ...] = ()
    max_batch: int = 0
    composing: tuple["FoundModel", ...] = ()
    sequences: bool = False
    streams: bool = False
    values: Mapping[str, Value] = field(default_factory=dict)
    server: str = ""
    fixed: bool = False
    prompted: Prompted | None = None


def models_alone(repository: Path, configuration: str) -> list[str]:
    """Return the models of a repository that are a version with a model's file, by the name that Triton looks for.

    Args:
        repository: folder with a folder for each model.
        configuration: name of the file that each of the others has; these, and MLServer's, have none.
    """
    models = {path.parents[1] for path in repository.glob("*/[0-9]*/model.*")}
    others = (configuration, "model-settings.json", "*/model-settings.json")
    return sorted(model.name for model in models if not any(any(model.glob(name)) for name in others))


@runtime_checkable
class FindsModels(Protocol):
    """A kind of target that can say which models there are in a folder of its own kind."""

    def models_at(self, place: str, model: str | None) -> Sequence[FoundModel]:
        """Return the models in a folder, by name.

        Args:
            place: the folder.
            model: the one that is wanted, None: every one.

        Raises:
            NothingFound: the folder has no models of this kind of target.
            TargetError: the folder cannot be used, or has no such model; with the remedy.
        """
        ...


@runtime_checkable
class FindsServedModels(Protocol):
    """A kind of target that can say which models a server has that runs already."""

    def models_served(self, url: str, model: str | None, key_env: str | None) -> Sequence[FoundModel]:
        """Return the models of a server, by name.

        Args:
            url: of the server.
            model: the one that is wanted, None: every one.
            key_env: the environment variable with the key or token that the server wants, None for none.

        Raises:
            NothingFound: the server does not speak what this kind of target does.
            TargetError: the server cannot be used, or has no such model; with the remedy.
        """
        ...
