"""Models that the one of a study calls by itself, as Python models do (BLS): beside it, under their own names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from targets.base import Config, ConfigRefused, ServerDied, TargetError
from targets.triton import config as model_config
from targets.triton import ensemble, loading
from targets.triton.ensemble import Part
from targets.triton.repository import CONFIG_NAME, UserModel, needed, read_model, stage, staged_text
from targets.triton.server import TritonServer


def check(repository: Path | None, names: Sequence[str], model: str) -> None:
    """Check that models are in the repository, if there is one, and others than the one of the study.

    Raises:
        TargetError: one is not there, or is that of the study.
    """
    for name in names:
        if name == model:
            raise TargetError(f"target.also: {name!r} is the model of the study; name those that it calls")
        if repository is not None and not (repository / name).is_dir():
            raise TargetError(f"target.also: no model {name!r} in {repository}")


def load(server: TritonServer, repository: Path, names: Sequence[str]) -> None:
    """Load models as they are. Raises TargetError with the server's reason where it refuses one; it is stopped then."""
    name = ""
    try:
        for name in names:
            text, config = _read(repository, name)
            stage(repository / name, server.repository, name, config, text)
            server.load(name)
    except BaseException as error:
        server.stop()
        if isinstance(error, ConfigRefused):
            raise TargetError(f"target.also: {name!r} was not loaded: {error}") from None
        raise


def folders(repository: Path, names: Sequence[str]) -> dict[Path, Path]:
    """Return what a server needs to serve models: path in a repository -> the user's folder or file."""
    found: dict[Path, Path] = {}
    for name in names:
        found |= needed(repository, name, _read(repository, name)[1])
    return found


def _read(repository: Path, name: str) -> tuple[str | None, model_config.ModelConfig]:
    """Return a model's config.pbtxt; without one the model is Triton's to complete."""
    if not (repository / name / CONFIG_NAME).is_file():
        return None, model_config.ModelConfig()
    return read_model(repository, name)


def parts(names: Sequence[str], read: Callable[[str], UserModel]) -> Sequence[Part]:
    """Return called models with their configurations, and why their knobs cannot be set where that is so.

    Args:
        names: of the models, as the study has them.
        read: gives one of them; raises TargetError.

    Raises:
        TargetError: one of them cannot be read.
    """
    found: list[Part] = []
    for name in names:
        try:
            model = read(name)
        except TargetError as error:
            raise TargetError(f"target.also: {error}") from None
        found.append(Part(model, model.config, called=True))
    whose = {step: part.name for part in found for step in ensemble.steps_of(part.config)}
    return [replace(part, fixed=_why_fixed(part, whose)) for part in found]


def _why_fixed(part: Part, whose: Mapping[str, str]) -> str:
    """Return why a called model stays as it is, "" where it need not; `whose` has the ensembles that models are of."""
    if ensemble.is_ensemble(part.config):
        return _ENSEMBLE.format(part.name)
    if part.name in whose:
        return _STEP.format(part.name, whose[part.name])
    return CACHED.format(part.name) if part.config.response_cache.enable else ""


_ENSEMBLE = "called model {!r} is an ensemble, and such a one is loaded as it is"
_STEP = "called model {!r} is a step of ensemble {!r}, which is called, too, and such a one is loaded as it is"
CACHED = (
    "called model {!r} keeps its name, so with response_cache on the server's cache would give the answers of one "
    "configuration for the next; measure it with `response_cache {{ enable: false }}`"
)


def has(wanted: Sequence[Part], server: TritonServer) -> bool:
    """Whether a server has called models with these configurations."""
    return not list(_changes(server, wanted))


def bring(server: TritonServer, wanted: Sequence[Part], knobs: Mapping[str, Config]) -> Sequence[tuple[Part, str]]:
    """Load called models in place of those of other configurations, and read back what the server has.

    What is to be replaced is unloaded first, so that both are never there at once; instances are changed in place.

    Args:
        server: that loads them.
        wanted: the models, with what they are to have.
        knobs: model -> the knobs that this was made from.

    Returns:
        The models that changed, each with the config.pbtxt that it had.

    Raises:
        ConfigRefused: the server refuses one, or has another configuration; all have again what they had.
        ServerDied: they have not.
    """
    changes = list(_changes(server, wanted))
    had = [(part, before) for part, before, _ in changes]
    _make_way(server, changes)
    for part, _, text in changes:
        try:
            _put(server, part, text, knobs[part.name])
        except ConfigRefused as error:
            give_back(server, had)
            raise ConfigRefused(f"{part.what}: {error}") from None
    return had


def give_back(server: TritonServer, had: Sequence[tuple[Part, str]]) -> None:
    """Load called models as they were. Raises ServerDied where that is refused: a new server has them all."""
    changes = [(part, staged_text(server.repository, part.name) or "", text) for part, text in had]
    _make_way(server, [one for one in changes if one[1] != one[2]])
    for part, text in had:
        try:
            _put(server, replace(part, config=model_config.parse(text, Path(part.name))), text, {})
        except ConfigRefused as error:
            raise ServerDied(f"{part.what}: what it had could not be loaded again: {error}") from None


def _changes(server: TritonServer, wanted: Sequence[Part]) -> Iterator[tuple[Part, str, str]]:
    """Yield each model that has another configuration, with its config.pbtxt as it is, and as it is to be."""
    for part in wanted:
        if part.model.known:  # what Triton completes of others is always the same
            before, text = staged_text(server.repository, part.name) or "", loading.rewritten(part.model, part.config)
            if before != text:
                yield part, before, text


def _make_way(server: TritonServer, changes: Sequence[tuple[Part, str, str]]) -> None:
    """Unload what cannot be changed in place."""
    for part, before, text in changes:
        if not ensemble.only_instances(before, text):
            server.unload(part.name)


def _put(server: TritonServer, part: Part, text: str, knobs: Config) -> None:
    stage(part.model.directory, server.repository, part.name, part.config, text)
    server.load(part.name)
    loading.read_back(server, part.name, part.config, knobs)
