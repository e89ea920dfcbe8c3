"""A model put onto a Triton of ours: its configuration written, loaded under a name, and read back."""

from targets.base import Config, ConfigRefused, TargetError
from targets.triton import config as model_config
from targets.triton import pbtxt
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
        server.load(name, model_config.to_json(wanted, name))
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


def rewritten(model: UserModel, wanted: model_config.ModelConfig) -> str:
    """Return the user's config.pbtxt with the fields changed that differ. Raises TargetError where that fails."""
    try:
        return pbtxt.rewrite(model.text, model.config, wanted)
    except ValueError as error:
        raise TargetError(f"{model.directory / CONFIG_NAME}: cannot be changed: {error}") from None


def read_back(server: TritonServer, name: str, wanted: model_config.ModelConfig, config: Config) -> None:
    """Check that what is loaded is what was asked for. Raises ConfigRefused naming what differs."""
    loaded = model_config.from_loaded(server.ask(lambda client: client.get_model_config(name)))
    versions = server.ask(lambda client: client.get_model_metadata(name))["versions"]
    server.keeps(name, model_config.instances_of(loaded) * len(versions))
    check_loaded(loaded, name, wanted, config)


def check_loaded(loaded: model_config.ModelConfig, name: str, wanted: model_config.ModelConfig, config: Config) -> None:
    """Compare what is loaded with what was asked for. Raises ConfigRefused naming what differs."""
    wrong = [*model_config.knob_mismatches(config, loaded), *model_config.mismatches(wanted, loaded)]
    if wrong:
        raise ConfigRefused(f"{name}: the server loaded another configuration: {'; '.join(wrong)}")
