"""A Triton that runs already: asked, reconfigured where it allows that, and left as it was found."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from targets.base import (
    Config,
    ConfigRefused,
    Context,
    Endpoint,
    Export,
    HttpAddress,
    Knob,
    ServerCounters,
    ServerDied,
    TargetError,
)
from targets.kserve.control import Control, HttpControl
from targets.kserve.options import KServeOptions
from targets.kserve.target import KServeDeployment, KServeTarget, control_of, site_of, tls_of
from targets.options import ServerMetric
from targets.triton import config as model_config
from targets.triton import flags as flags_of
from targets.triton import loading, metrics, rules
from targets.triton.cache import readings
from targets.triton.knobs import BY_NAME
from targets.triton.options import TritonOptions
from targets.triton.repository import UserModel
from targets.triton.target import TritonTarget
from targets.triton.transport import parameters_of
from workloads.requests import Requests

LEAVING_S = 1.2
"""What an instance of the Python backend takes to end."""


class RemoteTriton(TritonTarget):
    """A Triton found by its URLs. It is never stopped.

    Where it lets models be loaded, a configuration takes the place of the one before under the model's own name, and
    the one that the model had at the start is loaded again at the end. Elsewhere only the load is searched.

    Raises:
        TargetError: the repository, the model or a variant cannot be used; without a repository, the server does not
            tell the model's configuration.
    """

    side_by_side: ClassVar = False

    def __init__(self, options: TritonOptions, context: Context) -> None:
        asked = options.grpc_url if options.protocol == "grpc" else options.url
        wire = {"tensors": options.tensors, "parameters": parameters_of(options)}
        self._asked = KServeTarget(_reached(options, asked).model_copy(update=wire), context)
        self._controlled = _reached(options, options.url or options.grpc_url)
        self._tls = tls_of(self._controlled, context)
        self._kept_control: Control | None = None
        self._metrics = self._metrics_control(options, context)
        self._why_fixed: str | None = None
        self._original: model_config.ModelConfig | None = None
        self._applied = ""
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
        reached = _reached(options, options.metrics_url)
        return HttpControl(site_of(reached, tls_of(reached, context)))

    def _control(self) -> Control:
        if self._kept_control is None:
            self._kept_control = control_of(self._controlled, site_of(self._controlled, self._tls))
        return self._kept_control

    def _loaded(self) -> model_config.ModelConfig:
        """Return the configuration that the model has now."""
        return model_config.from_loaded(self._control().config(self._options.model))

    def _model(self, name: str) -> UserModel:
        """Return the user's files, or without a repository what the server says."""
        if self._options.repository is not None:
            return super()._model(name)
        if name not in self._models:
            self._models[name] = UserModel(name, Path(), "", _as_given(self._loaded()))
        return self._models[name]

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

    def _why_not(self) -> str:
        """Return why models cannot be loaded and what to do, "" where they can be or that is not known yet."""
        if self._why_fixed is None:
            try:
                why = self._control().why_not_load()
            except TargetError:
                return ""
            self._why_fixed = why and _MODEL_FIXED.format(self._controlled.url, why)
        return self._why_fixed

    def metrics(self) -> Sequence[ServerMetric]:
        """What is told of the response cache, and what the metrics give, where the study says where they are."""
        return self._options.metrics_with(self._expected)

    def start(self) -> None:
        """Check that the server and the model are ready, and keep the configuration that it has.

        Raises:
            TargetError: they are not, or the model is otherwise than the user's file says and cannot be loaded.
        """
        with suppress(TargetError):  # a server that was lost has nothing to be restored
            self.stop()
        self._asked.start()
        self._original = self._loaded()
        self._applied = self._text(self._original)
        other = "; ".join(model_config.mismatches(self._user.config, self._original))
        if other and (why := self._why_not()):
            raise TargetError(f"the server has another configuration than your file: {other}; {why}")
        if self._metrics is not None:
            metrics.gauges(self._metrics.get(""), self._options.model)
        self._started = True

    def deploy(self, config: Config, alias: str) -> "RemoteDeployment":  # type: ignore[override]
        """Load a configuration in place of the one before, and read it back."""
        self._require_started()
        _, wanted = self._wanted(config)
        if flags := flags_of.NAMES & set(config):
            raise ConfigRefused(_FLAG_FIXED.format(min(flags)))
        self._load(wanted, config)
        return RemoteDeployment(config, self._asked.deploy({}, alias), self._options.model, self._metrics)

    def _load(self, wanted: model_config.ModelConfig, config: Config) -> None:
        assert self._original is not None, "it was started"
        own = wanted == self._user.config and not list(model_config.mismatches(wanted, self._original))
        text = self._text(self._original if own else wanted)
        if text == self._applied:
            return
        if why := self._why_not():
            raise ConfigRefused(why)
        before = self._loaded()
        self._apply(text)
        loaded = self._loaded()
        if not model_config.only_instances(before, loaded):
            time.sleep(_leaving_s(before))
        loading.check_loaded(loaded, self._options.model, wanted, config)

    def _apply(self, text: str) -> None:
        """Load a configuration in JSON; a refused one leaves the one before in place."""
        before, self._applied = self._applied, ""
        try:
            self._control().load(self._options.model, text, self._options.apply_timeout)
        except ServerDied:
            raise
        except TargetError as error:
            self._applied = before
            raise ConfigRefused(str(error)) from None
        self._applied = text

    def _text(self, config: model_config.ModelConfig) -> str:
        return model_config.to_json(config, self._options.model)

    def alive(self) -> bool:
        """Whether server and model answer that they are ready."""
        return self._started and self._asked.alive()

    def export(self, config: Config) -> Export:
        """Return the user's config.pbtxt with the tuned fields changed; nothing without a repository."""
        return super().export(config) if self._options.repository is not None else Export({}, {})

    def verify(self, export: Export, requests: Requests) -> None:
        """Load what the exported file says, compare what is loaded with it, and ask once."""
        self._require_started()
        for path, text in export.files.items():
            wanted = model_config.parse(text, path)
            self._load(wanted, model_config.knob_values(wanted, BY_NAME))
        self._asked.verify(Export({}, {}), requests)

    def why_not_apply(self) -> str:
        """Return why the server does not let models be loaded, "" where it does."""
        why = self._control().why_not_load()
        return why and _NOT_LOADED.format(self._controlled.url, why)

    def apply(self, config: Config) -> str:
        """Have the server load a configuration under the model's own name, and read it back; it stays there."""
        _, wanted = self._wanted(config)
        try:
            self._apply(self._text(wanted))
            loading.check_loaded(self._loaded(), self._options.model, wanted, config)
        finally:
            self._close_control()
        return self._controlled.url

    def environment(self) -> Mapping[str, str]:
        """Return where the server is, what it is, how it is asked, and what of it can be changed."""
        control = (
            "none: only the load is searched" if self._why_not() else "models are loaded with other configurations"
        )
        return {**self._asked.environment(), "model_control": control}

    def stop(self) -> None:
        """Give the model the configuration back that it had, and leave the server alone.

        Raises:
            TargetError: that failed; with the remedy.
        """
        original, self._original, self._started = self._original, None, False
        try:
            if original is not None and self._applied != self._text(original):
                self._restore(original)
        finally:
            self._asked.stop()
            self._close_control()

    def _close_control(self) -> None:
        if self._kept_control is not None:
            self._kept_control.close()
            self._kept_control = None

    def _restore(self, original: model_config.ModelConfig) -> None:
        try:
            self._apply(self._text(original))
            wrong = "" if self._loaded() == original else "the server has another one all the same"
        except TargetError as error:
            wrong = str(error)
        if wrong:
            raise TargetError(
                f"{self._controlled.url}: the configuration that model {self._options.model!r} had at the start could "
                f"not be loaded again: {wrong}; unload the model and load it again"
            )


_FLAG_FIXED = "`{}` is given to the server when it starts, and with `launch: remote` somebody else does that"
_NOT_LOADED = "{} does not let models be loaded ({})"
_MODEL_FIXED = (
    f"{_NOT_LOADED}, so only the load can be searched; to search more, start the server with "
    "--model-control-mode=explicit"
)


def _leaving_s(before: model_config.ModelConfig) -> float:
    """Return how long the instances of a model that was replaced take to end: from here that is not to be seen.

    The Python backend takes a second for each, one after the other, and the end of its process (python_backend,
    src/python_be.cc, ModelInstanceState).
    """
    return LEAVING_S * model_config.instances_of(before) if before.backend == "python" else 0.0


def _as_given(loaded: model_config.ModelConfig) -> model_config.ModelConfig:
    """Return a configuration without the largest batch that Triton itself prefers: it would keep smaller ones out."""
    given = model_config.named(loaded, loaded.name)
    if list(given.dynamic_batching.preferred_batch_size) == [given.max_batch_size]:
        given.dynamic_batching.ClearField("preferred_batch_size")
    return given


def _reached(options: TritonOptions, url: str | None) -> KServeOptions:
    """Return how the server is reached at one of its URLs."""
    assert url is not None, "the options were checked"
    ca = options.ca if url.startswith("https:") else None
    return KServeOptions(url=url, model=options.model, headers=options.headers, ca=ca)


class RemoteDeployment:
    """A configuration that the server has now."""

    def __init__(self, config: Config, served: KServeDeployment, model: str, exposed: HttpControl | None) -> None:
        self.config = config
        self._served, self._model, self._exposed = served, model, exposed

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode the dataset for the model, once."""
        return self._served.endpoint(requests)

    def http_address(self) -> HttpAddress:
        """Return where the server is. Raises TargetError where it is asked over gRPC."""
        return self._served.http_address()

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one answer."""
        return self._served.outputs(answer)

    def processes(self) -> Sequence[int]:
        """Return none: the server runs elsewhere."""
        return ()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the server's statistics of the model, and its metrics where the study says where they are."""
        reading = self._served.statistics()
        text = None if self._exposed is None else self._exposed.get("")

        def counters() -> ServerCounters:
            found = reading()
            gauges = found.gauges if text is None else metrics.gauges(text, self._model)
            return replace(found, gauges=gauges, counters={**found.counters, **readings(found.cache)})

        return counters

    def retire(self) -> None:
        """Leave it until another one takes its place, or the target is stopped."""
