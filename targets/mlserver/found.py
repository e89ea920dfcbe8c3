"""The models of a folder of MLServer's, as a study for one of them needs to know them."""

from collections.abc import Sequence
from pathlib import Path

from targets.base import TargetError
from targets.found import FoundModel, NothingFound
from targets.kserve.control import described
from targets.kserve.wire import items_of
from targets.mlserver import jsontext
from targets.mlserver.config import BATCHING, KNOBS, MODEL_SETTINGS, SETTINGS, knob_values
from targets.mlserver.repository import holds_models, model_names, read_model
from workloads.requests import TensorSpec


def models_in(repository: Path, model: str | None) -> Sequence[FoundModel]:
    """Return the models that have a model-settings.json in a folder or below it, or the one that is wanted.

    Raises:
        NothingFound: there is none.
        TargetError: the folder is that of one model and MLServer is started on the one above, there is no such model,
            or settings cannot be read.
    """
    if not holds_models(repository):
        raise NothingFound(f"nothing in it holds a {MODEL_SETTINGS}")
    above = repository.resolve().parent
    own = (repository / MODEL_SETTINGS).is_file()
    if own and not (repository / SETTINGS).is_file() and (above / SETTINGS).is_file():
        raise TargetError(
            f"{repository} is the folder of one model, and the {SETTINGS} of its server is above it; give the folder "
            f"that `mlserver start` is given: {above}"
        )
    return [_found(repository, name) for name in (model_names(repository) if model is None else [model])]


def _found(repository: Path, name: str) -> FoundModel:
    settings = read_model(repository, name).settings
    members = jsontext.parse(settings.model, settings.model_path)
    named = {"inputs": members["inputs"].value} if "inputs" in members else {}
    spec = described(name, "", named)
    values = knob_values(settings)
    knobs = [knob.name for knob in KNOBS if knob.name not in BATCHING or _batches(spec.inputs)]
    return FoundModel(name, items_of(spec), tuple(knobs), int(values["max_batch_size"]), values=values)


def _batches(inputs: Sequence[TensorSpec]) -> bool:
    """Whether requests can be put together along the first axis: where inputs are named, each leaves its size open."""
    return all(one.shape and one.shape[0] == -1 for one in inputs)
