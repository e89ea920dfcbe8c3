"""A model put onto a Triton of ours: its configuration written, loaded under a name, and read back."""

from pathlib import Path

from targets.base import Config, ConfigRefused, TargetError
from targets.triton import config as model_config
from targets.triton import pbtxt
from targets.triton.completion import completed, is_complete
from targets.triton.knobs import BY_NAME
from targets.triton.repository import CONFIG_NAME, UserModel, stage
from targets.triton.server import TritonServer


def load(server: TritonServer, model: UserModel, wanted: model_config.ModelConfig, name: str, config: Config) -> None:
    """Load a model and read back that it is what was asked for.

    Args:
        server: that loads it.
        model: the user's files.
        wanted: its configuration.
        name: that it is loaded by.
        config: the knobs that the configuration was made from.

    Raises:
        ConfigRefused: the server refuses it, or has another one.
    """
    if model.unknown:
        _load_text(server, model, wanted, name)
    else:
        stage(model.directory, server.repository, name, wanted)
        server.load(name, model_config.to_json(model.written(wanted), name))
    read_back(server, name, wanted, config)


def _load_text(server: TritonServer, model: UserModel, wanted: model_config.ModelConfig, name: str) -> None:
    """Load a configuration as a file: the load API's JSON would be without the fields that we do not know."""
    text = rewritten(model, model_config.named(wanted, name))
    stage(model.directory, server.repository, name, wanted, text)
    try:
        server.load(name)
    except ConfigRefused as error:
        unknown = ", ".join(f"`{field}`" for field in model.unknown)
        raise ConfigRefused(f"{error}; fields that only a newer server may know: {unknown}") from None


def load_file(server: TritonServer, directory: Path, path: Path, text: str) -> model_config.ModelConfig:
    """Load a model by a config.pbtxt as it is, read back that the server has what it says, and return what it has.

    Args:
        server: that loads it.
        directory: of the user's model.
        path: of the file, its name in errors; its folder is the model's name.
        text: what is in it.

    Raises:
        ConfigRefused: the server refuses it, or has another one.
    """
    name, wanted = path.parent.name, model_config.parse(text, path)
    stage(directory, server.repository, name, wanted, text)
    server.load(name)
    read_back(server, name, wanted, said_of(wanted))
    return filled(server, name, wanted)


def said_of(config: model_config.ModelConfig) -> Config:
    """Return the values that a file gives knobs; the largest batch is none of them where it leaves that to Triton."""
    values = model_config.knob_values(config, BY_NAME)
    left = not is_complete(config) and not config.max_batch_size
    return {name: value for name, value in values.items() if not (left and name == "max_batch_size")}


def filled(server: TritonServer, name: str, said: model_config.ModelConfig) -> model_config.ModelConfig:
    """Return what a loaded model takes and gives, beside what its file says of it."""
    return said if is_complete(said) else completed(said, loaded_of(server, name), name)


def read_back_file(server: TritonServer, path: Path) -> tuple[str, model_config.ModelConfig]:
    """Check that a server which serves the user's folder has what a config.pbtxt there says.

    Returns:
        The model's name, and what the file says.

    Raises:
        ConfigRefused: it has another configuration, or has not loaded the model.
        TargetError: the file cannot be read.
    """
    name, wanted = path.parent.name, model_config.parse(path.read_text(), path)
    read_back(server, name, wanted, model_config.knob_values(wanted, BY_NAME))
    return name, wanted


def rewritten(model: UserModel, wanted: model_config.ModelConfig) -> str:
    """Return the user's config.pbtxt with the fields changed that differ. Raises TargetError where that fails."""
    try:
        return pbtxt.rewrite(model.text, model.said, model.written(wanted))
    except ValueError as error:
        raise TargetError(f"{model.directory / CONFIG_NAME}: cannot be changed: {error}") from None


def read_back(server: TritonServer, name: str, wanted: model_config.ModelConfig, config: Config) -> None:
    """Check that what is loaded is what was asked for. Raises ConfigRefused naming what differs."""
    loaded = loaded_of(server, name)
    versions = server.ask(lambda client: client.get_model_metadata(name))["versions"]
    server.keeps(name, model_config.instances_of(loaded) * len(versions))
    check_loaded(loaded, name, wanted, config)


def loaded_of(server: TritonServer, name: str) -> model_config.ModelConfig:
    """Return what the server has of a model. Raises ConfigRefused where it does not have it."""
    return model_config.from_loaded(server.ask(lambda client: client.get_model_config(name)))


def check_loaded(loaded: model_config.ModelConfig, name: str, wanted: model_config.ModelConfig, config: Config) -> None:
    """Compare what is loaded with what was asked for. Raises ConfigRefused naming what differs."""
    asked = {name: config[name] for name in model_config.knob_values(wanted, config)}
    wrong = [*model_config.knob_mismatches(asked, loaded), *model_config.mismatches(wanted, loaded)]
    if wrong:
        raise ConfigRefused(f"{name}: the server loaded another configuration: {'; '.join(wrong)}")
