"""The vLLM target: a server of its own for each deployment, configured by the YAML that `vllm serve --config` takes."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, ConfigRefused, Context, Endpoint, Export, Knob, ServerCounters, TargetError
from targets.common import prompts
from targets.openai import wire
from targets.options import ServerMetric
from targets.probe import failure_of
from targets.vllm import config as serve_config
from targets.vllm import installation, knobs, log, metrics, readback, server
from targets.vllm.options import VLLMOptions
from targets.vllm.own import OwnConfig
from targets.vllm.server import HOST, Launch, VLLMServer
from workloads.requests import Prompts, Requests

FIRST_ANSWER_S = 300.0
_VERIFIED = "verified"


class VLLMTarget:
    """vLLM, started here.

    Raises:
        TargetError: the user's YAML or the study's arguments cannot be used.
    """

    Options: ClassVar = VLLMOptions

    def __init__(self, options: VLLMOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._own = OwnConfig(options, context)
        self._servers: dict[str, VLLMServer] = {}
        self._installation: installation.Installation | None = None
        self._device = ""

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of vLLM's that can be tuned; a version may not know all of them."""
        return knobs.KNOBS

    @staticmethod
    def availability() -> str:
        """Say which vLLM would be taken."""
        found = installation.find(None)
        return f"{found.executable} (from {found.source})"

    @property
    def side_by_side(self) -> bool:
        """Whether several deployments run at once: the study says whether the device has room for them."""
        return self._options.side_by_side

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return knobs.knobs(self._options.speculative, self._own.config.values)

    def metrics(self) -> Sequence[ServerMetric]:
        """What vLLM's own metrics give."""
        return self._options.metrics()

    def user_config(self) -> Config:
        """Return what the user's YAML gives the knobs."""
        return dict(self._own.config.values)

    def check_requests(self, requests: Requests) -> None:
        """Check that requests are prompts that the endpoint and the model take."""
        asked = prompts(requests)
        wire.check_prompts(asked, self._options)
        self._check_ids(asked)

    def start(self) -> None:
        """Find vLLM and ask what it can be told; what ran before is ended."""
        self.stop()
        options = self._options
        found = installation.find(self._context.resolve(options.server) if options.server else None)
        able = installation.abilities(found, options.env)
        serve_config.check_options(self._own.config, able.options, able.version)
        self._device = able.device
        self._installation = found

    def deploy(self, config: Config, alias: str) -> "VLLMDeployment":
        """Start a server with the configuration and read back that it took it."""
        able = self._abilities()
        for name, value in config.items():
            if misfit := knobs.misfit(name, value, able.options):
                raise ConfigRefused(f"vLLM {able.version} {misfit}")
        text = self._own.rewritten(config)
        self._make_room(alias)
        running = self._launched(text, alias)
        self._servers[alias] = running
        if wrong := readback.mismatches(config, running.said(), able.options):
            self._make_room(alias)
            raise ConfigRefused(f"vLLM took another configuration: {'; '.join(wrong)}")
        return self._deployment(config, running)

    def alive(self) -> bool:
        """Whether every deployment's process runs and answers."""
        if self._installation is None:
            return False
        return all(running.alive() for running in self._servers.values() if not running.stopped)

    def export(self, config: Config) -> Export:
        """Return the user's YAML with the tuned keys changed, or a new one."""
        path, own = self._own.exported, self._own.config
        return Export({path: self._own.rewritten(config)}, {path: own.text} if self._own.given else {})

    def verify(self, export: Export, requests: Requests) -> None:
        """Start a server with the exported file as it is, and ask once."""
        self._abilities()
        self._make_room(_VERIFIED)
        for text in export.files.values():
            running = self._launched(text, _VERIFIED)
            try:
                self._deployment({}, running).ask_once(requests)
            finally:
                running.stop()

    def environment(self) -> Mapping[str, str]:
        """Return vLLM's version, the device that it is for, and where it was found."""
        able, found = self._abilities(), self._found()
        return {
            "server": f"vllm {able.version}",
            "server_found_in": found.source,
            "server_executable": str(found.executable),
            "device": self._device,
            "model": self._own.model,
        }

    def stop(self) -> None:
        """End every deployment."""
        self._make_room(None)
        self._installation = None

    def _found(self) -> installation.Installation:
        if self._installation is None:
            raise TargetError("the target was not started")
        return self._installation

    def _abilities(self) -> installation.Abilities:
        return installation.abilities(self._found(), self._options.env)

    def _make_room(self, alias: str | None) -> None:
        """End the deployment of an alias, or all where only one may run or no alias is given."""
        for name in list(self._servers):
            if name == alias or alias is None or not self.side_by_side:
                self._servers.pop(name).stop()

    def _launched(self, text: str, alias: str) -> VLLMServer:
        launch = Launch(
            executable=self._found().executable,
            model=self._own.positional,
            text=text,
            arguments=self._own.arguments,
            env=self._options.env,
            port=self._options.port,
            timeout_s=self._options.apply_timeout,
        )
        running = server.start(launch, alias, self._context)
        self._device = log.device(running.said()) or self._device
        return running

    def _deployment(self, config: Config, running: VLLMServer) -> "VLLMDeployment":
        return VLLMDeployment(config, running, self._own.served_name, self._options, self._own.headers(os.environ))

    def _check_ids(self, asked: Prompts) -> None:
        """Check the ids of tokens against a model that is here: vLLM finds a wrong one when it is asked."""
        described = self._context.resolve(Path(self._own.model)) / "config.json"
        if asked.ids is None or not described.is_file():
            return
        try:
            size = json.loads(described.read_text(encoding="utf-8")).get("vocab_size")
        except (ValueError, AttributeError):
            return  # vLLM says what is wrong with it
        low, high = asked.ids
        if isinstance(size, int) and not 0 <= low <= high < size:
            raise TargetError(
                f"the model has the token ids 0 to {size - 1}, but the prompts have {low} to {high}; give other ids, "
                f"made up ones with `token_ids: {{low: 0, high: {size - 1}}}`"
            )


@dataclass
class VLLMDeployment:
    """A configuration on a server of its own."""

    config: Config
    _server: VLLMServer
    _model: str
    _options: VLLMOptions
    _headers: Mapping[str, str]
    _encoded: dict[int, Endpoint] = field(default_factory=dict)

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode prompts for this deployment, once."""
        if id(requests) not in self._encoded:
            self._encoded[id(requests)] = wire.endpoint(
                prompts(requests),
                model=self._model,
                address=wire.Address(HOST, self._server.port, secure=False, path="/v1"),
                options=self._options,
                usage="continuous",
                headers=self._headers,
            )
        return self._encoded[id(requests)]

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:  # noqa: ARG002 - it has none
        """Texts have no right class."""
        raise TargetError("answers of a language model are not compared with labels")

    def processes(self) -> Sequence[int]:
        """Return the server's processes: of its API, its engine and its workers."""
        return self._server.processes()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read vLLM's metrics."""
        taken_ns, text = time.monotonic_ns(), self._server.get("/metrics")
        return lambda: metrics.counters(taken_ns, text)

    def ask_once(self, requests: Requests) -> None:
        """Send the first prompt and check that it is answered. Raises TargetError with what came instead."""
        if failure := failure_of(self.endpoint(requests), FIRST_ANSWER_S):
            raise TargetError(f"a request to vLLM failed: {failure}")

    def retire(self) -> None:
        """End its process."""
        self._server.stop()
