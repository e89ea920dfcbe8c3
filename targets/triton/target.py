"""The Triton target: models deployed under aliases on a server of ours, configurations applied through its load API."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import ClassVar

from targets.base import Config, ConfigRefused, Context, Export, Knob, TargetError, Value
from targets.common import named_choices
from targets.exports import Start
from targets.options import ServerMetric
from targets.triton import also, asking, command_line, loading, reloading, rules, together
from targets.triton import config as model_config
from targets.triton import flags as flags_of
from targets.triton.asking import Base
from targets.triton.completion import is_complete
from targets.triton.deployment import TritonDeployment
from targets.triton.exporting import load_flags, start_of
from targets.triton.fitting import check_requests
from targets.triton.fleet import Fleet
from targets.triton.found import models_at, models_served
from targets.triton.gpus import gpus_of
from targets.triton.knobs import ALWAYS_READ, KNOBS
from targets.triton.launching import availability, mounts_of
from targets.triton.options import TritonOptions
from targets.triton.repository import CONFIG_NAME, UserModel, check_name, needed, read_model
from targets.triton.server import ServerLog, TritonServer
from targets.triton.starting import server_on, start_server
from targets.triton.transport import Memories, Transport, check_model, shown
from targets.triton.usable import with_reasons
from workloads.requests import Requests

VERIFIED = "verified"
"""Alias of an export that is loaded as it is."""


class TritonTarget:
    """NVIDIA Triton Inference Server, started here, with explicit model control; with `launch: remote` one elsewhere.

    Raises:
        TargetError: the repository, the model, a flag or a variant cannot be used.
    """

    Options: ClassVar = TritonOptions
    side_by_side: ClassVar = True
    keeps_server: ClassVar = True
    loads_together: ClassVar = True

    def __new__(cls, options: TritonOptions, context: Context) -> "TritonTarget":
        """Make a target of the kind that the options ask for."""
        if cls is TritonTarget:
            from targets.triton.kinds import kind_of  # noqa: PLC0415 - they extend this class

            return object.__new__(kind_of(options, context))
        return object.__new__(cls)

    def __init__(self, options: TritonOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._log = ServerLog(context.log_path)
        self._start_server = partial(start_server, options, context, self._log, self._needed)
        self._fleet = Fleet(self._start_server)
        self._started = False
        self._memories = Memories(options)
        self._deployed: dict[str, TritonDeployment] = {}
        self._loads, self._run = 0, token_hex(4)
        self._own_flags = options.own_flags
        self._user_flags = flags_of.flag_values(self._own_flags)
        self._expected: tuple[str, ...] = ()
        self._models: dict[str, UserModel] = {}
        self._user = self._model(options.model)
        also.check(None if options.repository is None else self._repository(), options.also, options.model)
        for name, overlay in options.variants.items():
            model_config.check_variant(name, overlay)
        self._gpus = gpus_of(options)
        self._completed: Mapping[str | None, UserModel] = {}
        # What knobs change: the user's own configuration and those of the variants.
        self._bases = {variant: self._base(variant) for variant in (None, *options.variants)}
        if lacking := {variant: base for variant, base in self._bases.items() if not is_complete(base[1])}:
            self._complete(self._completed_of(lacking))

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of Triton's that can be tuned."""
        return (*KNOBS, *flags_of.KNOBS)

    availability = staticmethod(availability)
    models_at = staticmethod(models_at)
    models_served = staticmethod(models_served)

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it; with the reason for those that fit no variant."""
        named = named_choices(self.all_knobs(), "precision", self._options.variants)
        return with_reasons(named, list(self._bases.values()), self._gpus)

    def expect(self, knobs: Sequence[str]) -> None:
        """Take note of the knobs that a study sets."""
        self._expected = tuple(knobs)

    def check(self, config: Config) -> None:
        """Check a configuration by Triton's rules, without Triton. Raises ConfigRefused naming the rule."""
        self._wanted(config)

    def metrics(self) -> Sequence[ServerMetric]:
        """Return those of the response cache; the other statistics are those that all targets have a place for."""
        return self._options.metrics_with(self._expected)

    def user_config(self) -> Config:
        """Return what the user's files and flags give the knobs; `precision` where a variant changes nothing in them.

        Beside the few knobs that every configuration has a value of, these are the ones that a study sets: of others
        the file says what a variant may say otherwise.
        """
        values: dict[str, Value] = {
            **model_config.knob_values(self._user.config, (*ALWAYS_READ, *self._expected)),
            **self._user_flags,
        }
        for name, (model, base) in self._bases.items():
            if name is not None and model.name == self._user.name and base == self._user.config:
                values["precision"] = name
                break
        return values

    def own_values(self, knobs: Sequence[str]) -> Config:
        """Return what the user's file gives knobs of the model; a variant may say otherwise."""
        return model_config.knob_values(self._user.config, knobs)

    def check_requests(self, requests: Requests) -> None:
        """Check that requests have every input of the user's model and its variants, in its type and shape."""
        variants = {name: self._base(name)[1] for name in self._options.variants}
        check_requests(requests, self._user.config, variants)

    def start(self) -> None:
        """Start tritonserver with the user's own flags; an old one is stopped first."""
        self.stop()
        self._memories.check()
        self._fleet.serving(self._usual_flags)
        self._started = True

    def _start_of(self, *wanted: model_config.ModelConfig) -> Start:
        """Return how a server is started on these configurations, as the study has it."""
        local = self._options.launch == "local" and self._gpus != ()
        gpus = local or any(map(rules.on_gpus, wanted))
        mounts = mounts_of(self._options, self._context)
        return start_of(self._repository(), self._options.docker, mounts, gpus=gpus)

    def _needed(self) -> list[Path]:
        """Return the user's folders and files that the server needs, whichever variant it has."""
        bases = map(self._base, (None, *self._options.variants))
        found = [needed(self._repository(), model.name, config).values() for model, config in bases]
        others = also.folders(self._repository(), self._options.also).values()
        return list(dict.fromkeys(path for paths in (*found, others) for path in paths))

    def _server_for(
        self, flags: Sequence[str], alias: str, fits: Callable[[TritonServer], bool] | None = None
    ) -> TritonServer:
        """Return a server with flags; `fits` is as `Fleet.serving` has it.

        Raises:
            ConfigRefused: it does not start with them, and they are not the user's own, or not beside another server.
        """
        self._require_started()
        try:
            return self._fleet.serving(flags, alias, fits)
        except TargetError as error:
            if list(flags) != list(self._usual_flags):
                raise ConfigRefused(f"{' '.join(flags)}: {error}") from None
            if self._fleet.any() is not None:
                raise ConfigRefused(f"a second server, beside the one that runs: {error}") from None
            raise

    def deploy(self, config: Config, alias: str) -> TritonDeployment:
        """Load a configuration as `MODEL__ALIAS` and read back that it is the one loaded.

        What the alias had is unloaded first, so that it ends while the other begins; one that is refused brings it
        back. Where only the number of instances differs Triton changes that in place.
        """
        one, before = self._planned(config, alias), self._deployed.get(alias)
        leaves = before is not None and before.leaves(one.server, one.name, one.wanted)
        try:
            one.load()
        except ConfigRefused:
            if before is not None and leaves:
                with suppress(ConfigRefused):
                    before.load_again()
            raise
        if before is not None:
            before.replaced(one.server, [one.name])
        one.server.settle()
        return self._loaded(one)

    def deploy_together(self, wanted: Sequence[tuple[Config, str]]) -> Sequence[TritonDeployment]:
        """Load configurations under aliases that have nothing loaded, all for one server; see `together.load`."""
        planned = [self._planned(config, alias) for config, alias in wanted]
        together.load(planned)
        self.settle()
        return [self._loaded(one) for one in planned]

    def _planned(self, config: Config, alias: str) -> together.Planned:
        """Return what is to be loaded, and by what name. Raises ConfigRefused."""
        model, wanted = self._wanted(config)
        server = self._server_for(self._flags_of(config), alias)
        return together.Planned(alias, config, server, model, wanted, self._name(server, model.name, alias))

    def _loaded(self, one: together.Planned) -> TritonDeployment:
        """Take up what was loaded."""
        made = self._deployment(one.config, one.server, one.name, one.wanted, one.alias)
        self._deployed[one.alias] = replace(made, _wanted=one.wanted, _load=one.load)
        return self._deployed[one.alias]

    def _name(self, server: TritonServer, model: str, alias: str) -> str:
        """Return the name to load a model by, see `command_line.alias_name`."""
        self._loads += 1
        return command_line.alias_name(model, alias, server.flags, self._run, self._loads)

    def settle(self) -> None:
        """Wait until the instances that were retired have ended."""
        self._fleet.settle()

    def alive(self) -> bool:
        """Whether the server runs and answers."""
        return self._started and self._fleet.alive()

    def export(self, config: Config) -> Export:
        """Return the user's config.pbtxt with the tuned fields changed, and the flags where there are any."""
        model, wanted = self._wanted(config, replace(self._offer_to(config), gpus=None))  # another machine may serve it
        path = Path(model.name) / CONFIG_NAME
        files, originals = {path: loading.rewritten(model, wanted)}, {path: model.text}
        own = command_line.flags_for({}, self._own_flags, self._own_configs())
        given = command_line.flags_for(config, self._own_flags, self._configs_for(config))
        if own:
            originals[flags_of.FILE] = flags_of.to_text(own)
        if given or own:
            files[flags_of.FILE] = flags_of.to_text(given)
        repository = self._repository()
        return Export(
            files,
            originals,
            commented=frozenset({path}),
            places={path: model.directory / CONFIG_NAME},
            folders=needed(repository, model.name, wanted) | also.folders(repository, self._options.also),
            start=self._start_of(wanted),
            flags=(*load_flags(model.name, *self._options.also), *given),
            takes_effect=f"have it loaded again with `--reload URL` or `POST /v2/repository/models/{model.name}/load`, "
            "or restart the server",
        )

    def place_of(self, path: Path) -> Path | None:
        """Return where the user's own config.pbtxt stands, None for flags, and without a repository."""
        known = self._options.repository is not None and path != flags_of.FILE
        return self._repository() / path if known else None

    def verify(self, export: Export, requests: Requests) -> None:
        """Load the exported files as they are, compare what is loaded with what they say, and ask once."""
        server = self._server_for(flags_of.from_text(export.files.get(flags_of.FILE, "")), VERIFIED)
        for path, text in export.files.items():
            if path != flags_of.FILE:
                self._loaded_as_it_is(server, path, text, requests).retire()

    def _loaded_as_it_is(self, server: TritonServer, path: Path, text: str, requests: Requests) -> TritonDeployment:
        """Load a file of an export as it is, read back that the server has what it says, and ask once."""
        name = path.parent.name
        wanted = loading.load_file(server, self._model(name).directory, path, text)
        deployment = self._deployment({}, server, name, wanted, VERIFIED)
        deployment.ask_once(requests)
        return deployment

    def verify_copy(self, folder: Path, export: Export, requests: Mapping[str, Requests]) -> None:
        """Start a server on a copied repository with the exported flags, compare what it loads, and ask it once."""
        (asked,) = requests.values()
        with self._server_on(folder, export) as server:
            self._ask_copied(server, folder, [path for path in export.files if path != flags_of.FILE], asked)

    def _server_on(self, folder: Path, export: Export) -> AbstractContextManager[TritonServer]:
        self._memories.check()
        return server_on(folder, self._options, self._context, self._log, export.flags)

    def _ask_copied(self, server: TritonServer, folder: Path, paths: Sequence[Path], requests: Requests) -> None:
        """Read back that a server on a folder has what files there say, and ask the model of the last of them once."""
        *_, (name, wanted) = [loading.read_back_file(server, folder / path) for path in paths]
        deployment = self._deployment({}, server, name, wanted, VERIFIED)
        deployment.ask_once(requests)
        deployment.retire()

    def check_server(self, url: str) -> None:
        """Check that a Triton answers at a URL."""
        reloading.check(url)

    def reload(self, export: Export, url: str) -> None:
        """Have a Triton that serves the user's repository load models of it anew, and read back what it has."""
        texts = {path: text for path, text in export.files.items() if path != flags_of.FILE}  # they are for a start
        reloading.reload(url, {path.parent.name: model_config.parse(text, path) for path, text in texts.items()})

    def environment(self) -> Mapping[str, str]:
        """Return the server's version and where it was found."""
        server = self._running()
        version = server.ask(lambda client: client.get_server_metadata())["version"]
        own = {"server_flags": " ".join(self._own_flags)} if self._own_flags else {}
        return {"server": f"tritonserver {version}", **server.found, **own, "requests": ", ".join(shown(self._options))}

    def stop(self) -> None:
        """Stop every server."""
        self._started = False
        self._deployed.clear()
        self._fleet.stop()

    def _require_started(self) -> None:
        if not self._started:
            raise TargetError("the server was not started")

    def _running(self) -> TritonServer:
        """Return a server that runs; after one that did not start, one with the user's own flags."""
        self._require_started()
        return self._fleet.any() or self._fleet.serving(self._usual_flags)

    def _repository(self) -> Path:
        """Return the folder of the user's models."""
        assert self._options.repository is not None, "a server that is started here has one"
        return self._context.resolve(self._options.repository)

    def _model(self, name: str) -> UserModel:
        if name not in self._models:
            repository = self._repository()
            text, parsed = read_model(repository, name, self._context.texts)
            if is_complete(parsed):
                check_model(self._options, parsed, name)
            if self._options.launch != "remote":
                check_name(name)
            self._models[name] = UserModel(name, repository / name, text, parsed)
        return self._models[name]

    def _base(self, variant: str | None) -> tuple[UserModel, model_config.ModelConfig]:
        """Return the model that a variant is made from and its configuration with the overlay."""
        if variant in self._completed:
            return self._completed[variant], self._completed[variant].config
        if variant is None:
            return self._user, self._user.config
        overlay = self._options.variants[variant]
        model = self._model(str(overlay["model"])) if "model" in overlay else self._user
        return model, model_config.overlaid(model.config, overlay)

    def _completed_of(self, lacking: Mapping[str | None, Base]) -> Mapping[str | None, UserModel]:
        """Return models with what Triton completes of them. Raises TargetError where it does not."""
        return asking.completed_by(partial(self._start_server, self._usual_flags, True), lacking, self._log.path.parent)

    def _complete(self, found: Mapping[str | None, UserModel]) -> None:
        """Take up what Triton completed: variant, None for the user's own model -> the model."""
        for model in found.values():
            check_model(self._options, model.config, model.name)
        self._completed = found
        if None in found:
            self._user = self._models[self._user.name] = found[None]
        self._bases = {variant: self._base(variant) for variant in self._bases}

    def _wanted(self, config: Config, offer: rules.Offer | None = None) -> tuple[UserModel, model_config.ModelConfig]:
        """Return the model of a configuration, and what is loaded for it on a server with this offer."""
        variant = config.get("precision")
        model, base = self._base(None if variant is None else str(variant))
        wanted = model_config.applied(base, config)
        rules.check(wanted, offer or self._offer_to(config))
        return model, wanted

    def _own_configs(self) -> Sequence[model_config.ModelConfig]:
        """Return the user's own configurations of the models that are loaded."""
        return [self._user.config]

    def _configs_for(self, config: Config) -> Sequence[model_config.ModelConfig]:
        """Return what the models are loaded with, on another machine too. Raises ConfigRefused."""
        return [self._wanted(config, replace(self._offer_to(config), gpus=None))[1]]

    def _offer(self) -> rules.Offer:
        """Return what the server has: what the study's knobs and the user's files need."""
        bases = [config for _, config in self._bases.values()]
        return command_line.with_given(rules.offer_for(self._expected, bases, self._gpus), self._own_flags)

    def _offer_to(self, config: Config) -> rules.Offer:
        """Return what the server of a configuration has, by its flags."""
        return command_line.offer_to(config, self._offer(), self._usual_flags, self.user_config)

    @property
    def _usual_flags(self) -> tuple[str, ...]:
        """The user's own flags, and those that the study's knobs need beside."""
        return command_line.with_needed(self._own_flags, self._offer())

    def _flags_of(self, config: Config) -> list[str]:
        """Return the flags of the server that a configuration is measured on."""
        return flags_of.server_flags(config, self._usual_flags)

    def _deployment(
        self, config: Config, server: TritonServer, name: str, wanted: model_config.ModelConfig, alias: str
    ) -> TritonDeployment:
        transport = Transport(self._options, wanted, name, server.site, partial(self._memories.made, server))
        forget, keeps = partial(self._forget, alias), wanted.response_cache.enable
        return TritonDeployment(config, server, name, transport, forget, keeps_answers=keeps)

    def _forget(self, alias: str) -> None:
        self._fleet.forget(alias)
        self._deployed.pop(alias, None)
