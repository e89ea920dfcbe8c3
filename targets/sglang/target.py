"""The SGLang target: a server of its own for each deployment, configured by the YAML of its `--config`."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from targets.base import Config, ConfigRefused, Context, Export, Knob, ServerDied, TargetError
from targets.common import prompts
from targets.openai import process, wire
from targets.openai.deployment import ModelDeployment
from targets.openai.process import HOST, Launch, ModelServer
from targets.options import ServerMetric
from targets.sglang import config as serve_config
from targets.sglang import installation, knobs, log, metrics, readback
from targets.sglang.options import SGLangOptions
from targets.sglang.own import OwnConfig
from workloads.requests import Prompts, Requests

_VERIFIED = "verified"


class SGLangTarget:
    """SGLang, started here.

    Raises:
        TargetError: the user's YAML or the study's arguments cannot be used.
    """

    Options: ClassVar = SGLangOptions

    def __init__(self, options: SGLangOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._own = OwnConfig(options, context)
        self._servers: dict[str, ModelServer] = {}
        self._installation: installation.Installation | None = None
        self._device = ""

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of SGLang's that can be tuned; a version may not know all of them."""
        return knobs.KNOBS

    @staticmethod
    def availability() -> str:
        """Say which SGLang would be taken."""
        found = installation.find(None)
        return f"{found.executable} -m {installation.MODULE} (from {found.source})"

    @property
    def side_by_side(self) -> bool:
        """Whether several deployments run at once: the study says whether the device has room for them."""
        return self._options.side_by_side

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return knobs.knobs(self._own.config.values)

    def metrics(self) -> Sequence[ServerMetric]:
        """What SGLang's own metrics give."""
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
        """Find SGLang and ask what it can be told; what ran before is ended."""
        self.stop()
        options = self._options
        found = installation.find(self._context.resolve(options.server) if options.server else None)
        able = installation.abilities(found, self._own.environment())
        serve_config.check_options(self._own.config, able.options, able.version)
        self._installation = found

    def deploy(self, config: Config, alias: str) -> ModelDeployment:
        """Start a server with the configuration and read back that it took it."""
        able = self._abilities()
        for name, value in config.items():
            if misfit := knobs.misfit(name, value, able.options):
                raise ConfigRefused(f"SGLang {able.version} {misfit}")
        text = self._own.rewritten(config)
        self._make_room(alias)
        running = self._launched(text, alias)
        self._servers[alias] = running
        said = _server_info(running)
        if wrong := readback.mismatches(config, said):
            self._make_room(alias)
            raise ConfigRefused(f"SGLang took another configuration: {'; '.join(wrong)}")
        self._device = str(said.get("device") or "")
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
        """Return SGLang's version, the device that it serves on, and where it was found."""
        able, found = self._abilities(), self._found()
        return {
            "server": f"sglang {able.version}",
            "server_found_in": found.source,
            "server_executable": str(found.executable),
            "model": self._own.model,
            **({"device": self._device} if self._device else {}),
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
        return installation.abilities(self._found(), self._own.environment())

    def _make_room(self, alias: str | None) -> None:
        """End the deployment of an alias, or all where only one may run or no alias is given."""
        for name in list(self._servers):
            if name == alias or alias is None or not self.side_by_side:
                self._servers.pop(name).stop()

    def _launched(self, text: str, alias: str) -> ModelServer:
        launch = Launch(
            name="SGLang",
            file=serve_config.NEW_NAME,
            text=text,
            command=partial(_command, self._found().executable, tuple(self._own.arguments)),
            env=self._own.environment(),
            headers=self._own.headers(),
            reason=log.reason,
            port=self._options.port,
            timeout_s=self._options.apply_timeout,
        )
        return process.start(launch, alias, self._context)

    def _deployment(self, config: Config, running: ModelServer) -> ModelDeployment:
        return ModelDeployment(
            config=config,
            server=running,
            model=self._own.served_name,
            options=self._options,
            headers=self._own.headers(),
            usage="continuous",
            counters=metrics.counters,
        )

    def _check_ids(self, asked: Prompts) -> None:
        """Check the ids of tokens against a model that is here: SGLang finds a wrong one when it is asked."""
        described = self._context.resolve(Path(self._own.model)) / "config.json"
        if asked.ids is None or not described.is_file():
            return
        try:
            size = json.loads(described.read_text(encoding="utf-8")).get("vocab_size")
        except (ValueError, AttributeError):
            return  # SGLang says what is wrong with it
        low, high = asked.ids
        if isinstance(size, int) and not 0 <= low <= high < size:
            raise TargetError(f"the model has tokens 0 to {size - 1}, but the prompts have {low} to {high}")


def _command(executable: Path, arguments: Sequence[str], file: Path, port: int) -> list[str]:
    """Return the command that starts SGLang with a YAML; arguments win over it."""
    address = ["--host", HOST, "--port", str(port)]
    return [str(executable), "-m", installation.MODULE, "--config", str(file), *arguments, "--enable-metrics", *address]


def _server_info(running: ModelServer) -> Mapping[str, object]:
    try:
        return readback.server_info(running.get("/server_info"))
    except ServerDied:  # older versions have it under the other name
        return readback.server_info(running.get("/get_server_info"))
