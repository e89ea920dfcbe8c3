"""A Triton whose model calls others by itself (BLS): these are tuned with it, and keep their names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from targets.base import Config, ConfigRefused, Export, Knob
from targets.triton import also, ensemble, loading, together
from targets.triton import config as model_config
from targets.triton import flags as flags_of
from targets.triton.deployment import TritonDeployment
from targets.triton.ensemble import Part
from targets.triton.repository import UserModel
from targets.triton.server import TritonServer
from targets.triton.target import VERIFIED
from targets.triton.with_parts import Read, TritonWithParts
from workloads.requests import Requests

CACHE_KNOB = "response_cache"


@dataclass(frozen=True)
class PlannedCaller(together.Planned):
    """What is to be loaded under an alias, and the models that it calls.

    Attributes:
        called: these, with what they are to have.
    """

    called: Sequence[Part]

    def load(self) -> None:
        """Load the called models that are to change, and then the model; where that is refused nothing changed."""
        had = also.bring(self.server, self.called, _knobs(self.called, self.config))
        try:
            super().load()
        except ConfigRefused:
            also.give_back(self.server, had)
            raise


class CallingTriton(TritonWithParts):
    """Triton with a model that asks other models by their names.

    A server has each of those with one configuration at a time, under its own name. Deployments that want the same ones
    share a server; beside one that wants others there is a second server.

    Raises:
        TargetError: as its base, and where a called model cannot be read.
    """

    def _parts(self, model: UserModel, config: model_config.ModelConfig, read: Read | None = None) -> tuple[Part, ...]:
        return (*also.parts(self._options.also, read or self._composing_model), Part(model, config, top=True))

    def knobs(self) -> Sequence[Knob]:
        """Every knob of the model, then those of each called one, whose answers cannot be cached."""
        cached = {ensemble.knob_name(name, CACHE_KNOB): also.CACHED.format(name) for name in self._composing}
        return [
            replace(knob, unusable=knob.unusable or cached[knob.name]) if knob.name in cached else knob
            for knob in super().knobs()
        ]

    def deploy(self, config: Config, alias: str) -> TritonDeployment:
        """Load a configuration of the model as `MODEL__ALIAS`, and the called ones in place, and read all back.

        Where one is refused all have again what they had.
        """
        try:
            return super().deploy(config, alias)
        except ConfigRefused:
            if alias not in self._deployed:
                self._fleet.forget(alias)
            raise

    def deploy_together(self, wanted: Sequence[tuple[Config, str]]) -> Sequence[TritonDeployment]:
        """Load configurations that have the called models alike; see `together.load`."""
        called, *others = [self._assembled(config)[:-1] for config, _ in wanted]
        if any(one != called for one in others):
            raise ConfigRefused("they call models of different configurations; load them one after the other")
        config, alias = wanted[0]
        also.bring(self._planned(config, alias).server, called, _knobs(called, config))
        return super().deploy_together(wanted)

    def _planned(self, config: Config, alias: str) -> PlannedCaller:
        *called, top = self._assembled(config)
        server = self._server_for(self._flags_of(config), alias, partial(also.has, called))
        name = self._name(server, top.name, alias)
        return PlannedCaller(alias, config, server, top.model, top.config, name, called)

    def _deployment(
        self, config: Config, server: TritonServer, name: str, wanted: model_config.ModelConfig, alias: str
    ) -> TritonDeployment:
        return replace(super()._deployment(config, server, name, wanted, alias), _called=self._options.also)

    def export(self, config: Config) -> Export:
        """Return config.pbtxt of the called models that are to change, and that of the model behind them."""
        made = super().export(config)
        if len([path for path in made.files if path != flags_of.FILE]) == 1:
            return made
        return replace(made, takes_effect="have each model loaded again with `--reload URL`, or restart the server")

    def verify(self, export: Export, requests: Requests) -> None:
        """Load the exported files as they are, with the user's own of what did not change, and ask once."""
        *called, top = self._exported(export)
        flags = flags_of.from_text(export.files.get(flags_of.FILE, ""))
        server = self._server_for(flags, VERIFIED, partial(also.has, called))
        said = {part.name: loading.said_of(part.config) for part in called}
        also.bring(server, called, said)
        path = next(one for one in export.files if one.parent.name == top.name)
        self._loaded_as_it_is(server, path, export.files[path], requests).retire()


def _knobs(called: Sequence[Part], config: Config) -> dict[str, Config]:
    """Return what a configuration says of each called model, by the names that its knobs have there."""
    return {part.name: ensemble.of_model(config, part.name) for part in called}
