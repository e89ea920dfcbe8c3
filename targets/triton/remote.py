"""A Triton that runs already: asked, reconfigured where it allows that, and left as it was found."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from targets.base import (
    Config,
    ConfigRefused,
    Context,
    Export,
    Knob,
    TargetError,
)
from targets.kserve.control import Control, HttpControl
from targets.kserve.options import KServeOptions
from targets.kserve.site import control_of, site_of, tls_of
from targets.kserve.target import KServeTarget
from targets.options import ServerMetric
from targets.triton import config as model_config
from targets.triton import ensemble, loading, metrics, rules
from targets.triton import flags as flags_of
from targets.triton.asking import Base
from targets.triton.completion import Completion, completed
from targets.triton.ensemble import Part
from targets.triton.knobs import BY_NAME
from targets.triton.options import TritonOptions
from targets.triton.remote_deployment import RemoteDeployment
from targets.triton.remote_memory import RemoteMemories
from targets.triton.repository import UserModel
from targets.triton.served import ServedModels, not_restored
from targets.triton.target import VERIFIED, TritonTarget
from targets.triton.transport import Transport, check_model, shown
from workloads.requests import Requests


class RemoteTriton(TritonTarget):
    """A Triton found by its URLs. It is never stopped.

    Where it lets models be loaded, a configuration takes the place of the one before under the model's own name, and
    the one that the model had at the start is loaded again at the end. Elsewhere only the load is searched.

    Raises:
        TargetError: the repository, the model or a variant cannot be used; without a repository, the server does not
            tell the model's configuration.
    """

    side_by_side: ClassVar = False
    keeps_server: ClassVar = False

    def __init__(self, options: TritonOptions, context: Context) -> None:
        asked = options.grpc_url if options.protocol == "grpc" else options.url
        self._asked = KServeTarget(reached(options, asked), context)
        self._controlled = reached(options, options.url or options.grpc_url)
        self._tls = tls_of(self._controlled, context)
        self._kept_control: Control | None = None
        self._metrics = self._metrics_control(options, context)
        self._why_fixed: str | None = None
        self._served: ServedModels | None = None
        self._regions = RemoteMemories(options)
        self._transports: dict[str, Transport] = {}
        for name, overlay in options.variants.items():
            if "model" in overlay:
                raise TargetError(
                    f"target.variants.{name}: with `launch: remote` another model cannot take the place of "
                    f"{options.model!r}; give an overlay of its config"
                )
        super().__init__(options, context)
        self._gpus = None  # it is not known what the server has

    def _metrics_control(self, options: TritonOptions, context: Context) -> HttpControl | None:
        if options.metrics_url is None:
            return None
        exposed = reached(options, options.metrics_url)
        return HttpControl(site_of(exposed, tls_of(exposed, context)))

    def _control(self) -> Control:
        if self._kept_control is None:
            self._kept_control = control_of(self._controlled, site_of(self._controlled, self._tls))
        return self._kept_control

    def _model(self, name: str) -> UserModel:
        """Return the user's files, or without a repository what the server says."""
        if self._options.repository is not None:
            return super()._model(name)
        if name not in self._models:
            given = self._as_given(name)
            check_model(self._options, given, name)
            self._models[name] = UserModel(name, Path(), "", given)
        return self._models[name]

    def _completed_of(self, lacking: Mapping[str | None, Base]) -> Mapping[str | None, UserModel]:
        """Return models with what the server says of them; without a repository that is all there is.

        A variant cannot be asked for before the study begins: of it the same is known, with its overlay.
        """
        if self._options.repository is None:
            return {}
        told = self._as_given(self._options.model)
        known = completed(self._user.config, told, self._user.name)
        return {variant: self._known(variant, known, given) for variant, (_, given) in lacking.items()}

    def _known(
        self, variant: str | None, known: model_config.ModelConfig, given: model_config.ModelConfig
    ) -> UserModel:
        overlay = {} if variant is None else self._options.variants[variant]
        own = model_config.overlaid(known, overlay)
        return replace(self._user, config=own, completion=Completion(self._user.said, given, own))

    def _as_given(self, name: str) -> model_config.ModelConfig:
        """Return what the server says of a model, as a file would say it.

        It is without the largest batch that Triton itself prefers: that would keep smaller ones out.
        """
        given = model_config.named(model_config.from_loaded(self._control().config(name)), name)
        if list(given.dynamic_batching.preferred_batch_size) == [given.max_batch_size]:
            given.dynamic_batching.ClearField("preferred_batch_size")
        return given

    def _own_parts(self) -> Sequence[Part]:
        """Return the models that are loaded with other configurations, with the user's own; the last is asked."""
        return [Part(self._user, self._user.config, top=True)]

    def _parts_for(self, config: Config) -> Sequence[Part]:
        """Return the models of a configuration, in the order in which they can be loaded. Raises ConfigRefused."""
        model, wanted = self._wanted(config)
        return [Part(model, wanted, top=True)]

    def _parts_in(self, export: Export) -> Sequence[Part]:
        """Return the models with what the files of an export say; none where there are no files."""
        return [Part(self._user, model_config.parse(text, path), top=True) for path, text in export.files.items()]

    def _names(self) -> Sequence[str]:
        """Return the models that may be loaded with another configuration, composing models before their ensemble."""
        return [self._options.model]

    def _look_at_models(self, *, missing: bool = False) -> ServedModels:
        """Return the models as they are; what they had before that could not be given back is still theirs."""
        original = self._served.original if self._served else None
        timeout_s = self._options.apply_timeout
        return ServedModels(self._control(), self._names(), timeout_s, missing=missing, original=original)

    def knobs(self) -> Sequence[Knob]:
        """Every knob; those that cannot be changed on this server say why."""
        fixed = self._why_not()
        return [
            replace(
                knob, unusable=_FLAG_FIXED.format(knob.name) if knob.name in flags_of.NAMES else fixed or knob.unusable
            )
            for knob in super().knobs()
        ]

    def _offer(self) -> rules.Offer:
        """Leave it to the server: what it was started with is not known."""
        return rules.Offer(None, response_cache=True, rate_limit=True)

    def _offer_to(self, config: Config) -> rules.Offer:  # noqa: ARG002 - whatever the configuration
        return self._offer()

    def _why_not(self) -> str:
        """Return why models cannot be loaded and what to do, "" where they can be or that is not known yet."""
        if self._why_fixed is None:
            try:
                why = self._control().why_not_load()
            except TargetError:
                return ""
            self._why_fixed = why and _MODEL_FIXED.format(self._controlled.url, why)
        return self._why_fixed

    def expect(self, knobs: Sequence[str]) -> None:
        """Take note of the knobs that a study sets. Raises TargetError where the user's own answers are kept."""
        super().expect(knobs)
        try:
            self._check_answers(self._own_parts())
        except ConfigRefused as error:
            raise TargetError(f"target.model: {error}") from None

    def check(self, config: Config) -> None:
        """Check a configuration by Triton's rules, and that its answers would be its own. Raises ConfigRefused."""
        self._check_answers(self._parts_for(config))

    def _check_answers(self, parts: Sequence[Part]) -> None:
        """Check that no other configuration can have left answers for this one. Raises ConfigRefused.

        A cache knows a model by its name, and here all configurations have the same one.
        """
        cached = [part for part in parts if part.config.response_cache.enable]
        if cached and any(name.rpartition(".")[2] in _OF_MODELS for name in self._expected):
            (one, *_) = cached
            raise ConfigRefused(_KEPT.format(one.name), (_KNOB if one.top else f"{one.name}.{_KNOB}",))

    def metrics(self) -> Sequence[ServerMetric]:
        """What is told of the response cache, and what the metrics give, where the study says where they are."""
        return self._options.metrics_with(self._expected)

    def lacking_of_gpus(self, fields: Sequence[str]) -> str:
        """Ask the server's metrics of its GPUs."""
        return "" if self._metrics is None else metrics.lacking(self._metrics.get(""), fields)

    def start(self) -> None:
        """Check that the server and the model are ready, and keep the configuration that it has.

        Raises:
            TargetError: they are not, or the model is otherwise than the user's file says and cannot be loaded.
        """
        with suppress(TargetError):  # of a server that was lost it is tried again at the end
            self.stop()
        self._asked.start()
        self._regions.check(self._control())
        self._served = self._look_at_models()
        other = "; ".join(self._mismatches(self._served))
        if other and (why := self._why_not()):
            raise TargetError(f"the server has another configuration than your file: {other}; {why}")
        if self._metrics is not None:
            metrics.gauges(self._metrics.get(""), self._options.model)
        self._started = True

    def _mismatches(self, served: ServedModels) -> Iterator[str]:
        """Yield what the models have otherwise than the user's files say; of a composing model with its name."""
        for part in self._own_parts():
            for found in model_config.mismatches(part.config, served.original[part.name]):
                yield found if part.top else f"{part.name}: {found}"

    def deploy(self, config: Config, alias: str) -> RemoteDeployment:  # type: ignore[override]
        """Load a configuration in place of the one before, and read it back."""
        self._require_started()
        parts = self._parts_for(config)
        if flags := flags_of.NAMES & set(config):
            raise ConfigRefused(_FLAG_FIXED.format(min(flags)))
        self._check_answers(parts)
        self._give(parts, {part.name: _own_knobs(part, config) for part in parts})
        return self._as_it_is(config, alias, [part.name for part in parts if not part.top])

    def _as_it_is(self, config: Config, alias: str, composing: Sequence[str] = ()) -> RemoteDeployment:
        """Return what the server has now: how it is asked, and what it tells.

        Args:
            config: that this is.
            alias: that it was deployed under.
            composing: models whose statistics are read beside those of the model that is asked.
        """
        assert self._served is not None, "it was started"
        model, statistics = self._options.model, self._control().statistics
        asked = self._asked.deploy({}, alias)
        if (before := self._transports.pop(alias, None)) is not None:
            before.close()
        made = partial(self._regions.made, self._control())
        transport = Transport(self._options, self._served.config(model), model, asked.site, made)
        self._transports[alias] = transport
        of_parts = {name: partial(statistics, name, "") for name in composing}
        return RemoteDeployment(config, asked, transport, model, self._metrics, of_parts)

    def _give(self, parts: Sequence[Part], knobs: Mapping[str, Config]) -> None:
        """Have the server load models, wait until their old instances have ended, and read back what they have.

        Args:
            parts: the models, with what they are to have.
            knobs: model -> the knobs that this was made from.

        Raises:
            ConfigRefused: the server refuses one of them, does not let models be loaded, or has another configuration.
        """
        assert self._served is not None, "it was started"
        wanted = {part.name: self._given(part, self._served) for part in parts}
        if not self._served.differ(wanted):
            return
        if why := self._why_not():
            raise ConfigRefused(why)
        time.sleep(self._served.bring(wanted))
        _read_back(self._served, parts, knobs)

    def _given(self, part: Part, served: ServedModels) -> model_config.ModelConfig:
        """Return what a model is loaded with: what it had at the start where that is what the user's file says."""
        original = served.original[part.name]
        own = part.config == self._models[part.name].config and not list(model_config.mismatches(part.config, original))
        return original if own else part.model.written(part.config)

    def alive(self) -> bool:
        """Whether server and model answer that they are ready."""
        return self._started and self._asked.alive()

    def export(self, config: Config) -> Export:
        """Return the user's config.pbtxt with the tuned fields changed; nothing without a repository.

        The flags that it needs are those of a server started for it: the one that runs has its own.
        """
        if self._options.repository is None:
            return Export({}, {})
        made = super().export(config)
        files, originals = ({path: text for path, text in texts.items() if path != flags_of.FILE}
                            for texts in (made.files, made.originals))  # fmt: skip
        return replace(made, files=files, originals=originals)

    def verify(self, export: Export, requests: Requests) -> None:
        """Load what the exported file says, compare what is loaded with it, and ask once."""
        self._require_started()
        parts = self._parts_in(export)
        said = {part.name: loading.said_of(part.config) if part.top or part.model.text else {} for part in parts}
        self._give(parts, said)
        made = self._as_it_is({}, VERIFIED)
        made.ask_once(requests)
        made.retire()

    def why_not_apply(self) -> str:
        """Return why the server does not let models be loaded, "" where it does."""
        why = self._control().why_not_load()
        return why and _NOT_LOADED.format(self._controlled.url, why)

    def apply(self, config: Config) -> str:
        """Have the server load a configuration under the model's own name, and read it back; it stays there."""
        parts = self._parts_for(config)
        try:
            served = self._look_at_models(missing=True)
            try:
                # A composing model that nothing is known of is Triton's to complete.
                served.bring(
                    {part.name: part.model.written(part.config) for part in parts if part.top or part.model.known}
                )
                _read_back(served, parts, {part.name: _own_knobs(part, config) for part in parts})
            except (ConfigRefused, KeyboardInterrupt) as error:
                if wrong := served.restore():
                    raise ConfigRefused(f"{error}; {not_restored(list(served.original), wrong)}") from None
                raise
        finally:
            self._close_control()
        return self._controlled.url

    def environment(self) -> Mapping[str, str]:
        """Return where the server is, what it is, how it is asked, and what of it can be changed."""
        control = (
            "none: only the load is searched" if self._why_not() else "models are loaded with other configurations"
        )
        told, (_, *how) = self._asked.environment(), shown(self._options)
        scheme = told["protocol"].partition(",")[0]
        return {**told, "protocol": ", ".join((scheme, *how)), "model_control": control}

    def stop(self) -> None:
        """Give the model the configuration back that it had, and leave the server alone.

        Raises:
            TargetError: that failed; with the remedy.
        """
        served, self._started = self._served, False
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()
        try:
            if served is not None and (wrong := served.restore()):
                raise TargetError(f"{self._controlled.url}: {not_restored(list(served.original), wrong)}")
            self._served = None
        finally:
            self._asked.stop()
            self._close_control()

    def _close_control(self) -> None:
        if self._kept_control is not None:
            self._kept_control.close()
            self._kept_control = None


_OF_MODELS = frozenset({"precision", *BY_NAME})
_KNOB = "response_cache"
_KEPT = (
    "model {0!r} has response_cache on, and with `launch: remote` the server's cache would give the answers of the "
    "configurations before for this one's; measure with `response_cache {{ enable: false }}` in its config.pbtxt and "
    "in its variants, or with `launch: local`"
)
_FLAG_FIXED = "`{}` is given to the server when it starts, and with `launch: remote` somebody else does that"
_NOT_LOADED = "{} does not let models be loaded ({})"
_MODEL_FIXED = (
    f"{_NOT_LOADED}, so only the load can be searched; to search more, start the server with "
    "--model-control-mode=explicit"
)


def _own_knobs(part: Part, config: Config) -> Config:
    """Return what a configuration says of a model, by the names that its knobs have there."""
    return config if part.top else ensemble.of_model(config, part.name)


def _read_back(served: ServedModels, parts: Sequence[Part], knobs: Mapping[str, Config]) -> None:
    """Compare what models have with what was asked for. Raises ConfigRefused naming what differs."""
    for part in parts:
        loading.check_loaded(served.config(part.name), part.name, part.config, knobs[part.name])


def reached(options: TritonOptions, url: str | None) -> KServeOptions:
    """Return how the server is reached at one of its URLs."""
    assert url is not None, "the options were checked"
    ca = options.ca if url.startswith(("https:", "grpcs:")) else None
    return KServeOptions(url=url, model=options.model, headers=options.headers, ca=ca)
