"""A Triton whose model is an ensemble: deployed, tuned, read back and written with its composing models."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import ClassVar

from targets.base import Config, ConfigRefused, Context, Export, TargetError
from targets.triton import config as model_config
from targets.triton import ensemble, loading, reloading
from targets.triton import flags as flags_of
from targets.triton.deployment import TritonDeployment
from targets.triton.ensemble import Part
from targets.triton.options import TritonOptions
from targets.triton.repository import read_model, stage, staged_text
from targets.triton.server import TritonServer
from targets.triton.target import VERIFIED
from targets.triton.with_parts import TritonWithParts
from workloads.requests import Requests


def has_ensemble(options: TritonOptions, context: Context) -> bool:
    """Whether the model of a study, or one that is a variant of it, is an ensemble; False where that cannot be read."""
    assert options.repository is not None, "a server that is started here has one"
    others = [str(overlay["model"]) for overlay in options.variants.values() if "model" in overlay]
    try:
        configs = [read_model(context.resolve(options.repository), name)[1] for name in (options.model, *others)]
    except TargetError:
        return False  # the target says so when it is made
    return any(ensemble.is_ensemble(config) for config in configs)


class ComposedTriton(TritonWithParts):
    """Triton with an ensemble.

    The composing models are loaded under the ensemble's alias as well, and its steps name those: what is deployed
    side by side shares no instances. Configurations are put where the server reads them, since Triton loads composing
    models from there, whatever was given for them before, when it loads their ensemble.

    Raises:
        TargetError: as its base, and where a composing model is not in the repository.
    """

    loads_together: ClassVar = False

    def deploy(self, config: Config, alias: str) -> TritonDeployment:
        """Load a configuration of all models under an alias and read back that it is the one loaded.

        What is loaded already stays as it is, and with it what it has counted. What is to be replaced is unloaded
        first, so that it ends while the other begins; where one is refused all models have again what they had.
        """
        parts = self._assembled(config)
        server = self._server_for(self._flags_of(config), alias)
        names = {part.name: self._name(server, part.name, alias) for part in parts}
        load = partial(self._load, server, parts, names, config)
        before = self._deployed.get(alias)
        had = () if before is None else before.names_on(server)
        for name in self._leaving(server, had, {names[part.name]: self._text(part, names) for part in parts}):
            server.unload(name)
        try:
            load(had)
        except ConfigRefused:
            with suppress(ConfigRefused):
                for name in reversed(names.values()):
                    if name not in had:
                        server.unload(name)
                if before is not None and had:
                    before.load_again()
            raise
        if before is not None:
            before.replaced(server, list(names.values()))
        server.settle()
        top = parts[-1]
        made = self._deployment(config, server, names[top.name], ensemble.under_names(top, names), alias)
        composing = {name: loaded for name, loaded in names.items() if name != top.name}
        self._deployed[alias] = replace(made, _composing=composing, _load=load)
        return self._deployed[alias]

    @staticmethod
    def _leaving(server: TritonServer, had: Sequence[str], wanted: Mapping[str, str | None]) -> list[str]:
        """Return what is to be unloaded before other models are loaded, ensembles before what they need.

        A model stays that is to be as it is, and one whose instances alone change: that is done in place. Ensembles
        go with the first that does not stay.
        """
        texts = {name: staged_text(server.repository, name) for name in had}
        going = [
            name
            for name, text in texts.items()
            if name not in wanted or (text != wanted[name] and not ensemble.only_instances(text, wanted[name]))
        ]
        return [name for name, text in texts.items() if name in going or (going and ensemble.is_ensemble_text(text))]

    def _load(
        self,
        server: TritonServer,
        parts: Sequence[Part],
        names: Mapping[str, str],
        config: Config,
        had: Sequence[str] = (),
    ) -> None:
        """Load models and read back that they are what was asked for.

        Args:
            server: that loads them.
            parts: the models, with what they are to have.
            names: model -> name that it is loaded by.
            config: the knobs that this was made from.
            had: names by which models are loaded already.

        Raises:
            ConfigRefused: the server refuses one of them, or has another configuration.
        """
        before = {name: staged_text(server.repository, name) for name in had}
        wanted = {names[part.name]: self._text(part, names) for part in parts}
        self._stage(server, parts, names, wanted)
        # Of a model that is loaded by itself Triton changes the instances in place; what its ensemble brings is loaded
        # anew, several at once.
        for name, text in wanted.items():
            if ensemble.only_instances(before.get(name), text):
                server.load(name)
        server.load(names[parts[-1].name])
        self._read_back_all(server, parts, names, config)

    def _text(self, part: Part, names: Mapping[str, str]) -> str | None:
        """Return the config.pbtxt that a part is loaded with, None for one that has none."""
        own = part.top or part.model.known
        return loading.rewritten(part.model, ensemble.under_names(part, names)) if own else None

    @staticmethod
    def _stage(
        server: TritonServer, parts: Sequence[Part], names: Mapping[str, str], texts: Mapping[str, str | None]
    ) -> None:
        """Put models where the server loads them from; what stands there as it is to be stays untouched."""
        for part in parts:
            name = names[part.name]
            if not (server.repository / name).exists() or staged_text(server.repository, name) != texts[name]:
                stage(part.model.directory, server.repository, name, part.config, texts[name])

    def _read_back_all(
        self, server: TritonServer, parts: Sequence[Part], names: Mapping[str, str], config: Config
    ) -> None:
        for part in parts:
            own = config if part.top else ensemble.of_model(config, part.name)
            loading.read_back(server, names[part.name], ensemble.under_names(part, names), own)

    def verify(self, export: Export, requests: Requests) -> None:
        """Load the exported files as they are, with the user's own of what did not change, and ask once."""
        server = self._server_for(flags_of.from_text(export.files.get(flags_of.FILE, "")), VERIFIED)
        parts = self._exported(export)
        top = parts[-1]
        composing = {part.name: part.name for part in parts if not part.top}
        for part in parts:
            stage(part.model.directory, server.repository, part.name, part.config, part.model.text or None)
        server.load(top.name)
        for part in parts:
            loading.read_back(server, part.name, part.config, loading.said_of(part.config) if part.model.text else {})
        known = loading.filled(server, top.name, top.config)
        deployment = replace(self._deployment({}, server, top.name, known, VERIFIED), _composing=composing)
        deployment.ask_once(requests)
        deployment.retire()

    def reload(self, export: Export, url: str) -> None:
        """Have a Triton that serves the user's repository load the models anew, and read back what it has."""
        paths = [path for path in export.files if path != flags_of.FILE]
        # The ensemble is the last, and with it Triton loads what changed of the others: at once, so that it is never
        # an ensemble that does not fit them.
        wanted = {path.parent.name: model_config.parse(export.files[path], path) for path in reversed(paths)}
        reloading.reload(url, wanted)
