"""The llama.cpp target: a server of its own for each deployment, configured by an environment file."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from targets.base import Config, ConfigRefused, Context, Export, Knob, TargetError
from targets.common import prompts
from targets.llamacpp import config as env_file
from targets.llamacpp import help as helped
from targets.llamacpp import installation, knobs, log, metrics, readback
from targets.llamacpp.options import LlamaCppOptions
from targets.llamacpp.own import OwnConfig
from targets.openai import process, wire
from targets.openai.deployment import ModelDeployment
from targets.openai.process import HOST, Launch, ModelServer
from targets.options import ServerMetric
from workloads.requests import Requests

_VERIFIED = "verified"
_CLOSED_BY_SERVER = {"Connection": "close"}
"""llama-server closes a connection after each stream and announces it only when it was asked to: without this, the next
request on it would be lost."""
_WITH_FILE = 'set -a && . "$0" && set +a && exec "$@"'


class LlamaCppTarget:
    """llama-server, started here.

    Raises:
        TargetError: the user's environment file or the study's arguments cannot be used.
    """

    Options: ClassVar = LlamaCppOptions

    def __init__(self, options: LlamaCppOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._own = OwnConfig(options, context)
        self._servers: dict[str, ModelServer] = {}
        self._installation: installation.Installation | None = None
        self._build = ""

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of llama.cpp's that can be tuned; a version may not know all of them."""
        return knobs.KNOBS

    @staticmethod
    def availability() -> str:
        """Say which llama-server would be taken."""
        found = installation.find(None)
        return f"{found.executable} (from {found.source})"

    @property
    def side_by_side(self) -> bool:
        """Whether several deployments run at once: the study says whether the machine has room for them."""
        return self._options.side_by_side

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return knobs.knobs(self._own.file.values)

    def metrics(self) -> Sequence[ServerMetric]:
        """What llama-server's own metrics give."""
        return self._options.metrics()

    def user_config(self) -> Config:
        """Return what the user's environment file gives the knobs."""
        return dict(self._own.file.values)

    def check_requests(self, requests: Requests) -> None:
        """Check that requests are prompts that the endpoint takes."""
        wire.check_prompts(prompts(requests), self._options)

    def start(self) -> None:
        """Find llama-server and ask what it can be told; what ran before is ended."""
        self.stop()
        options = self._options
        found = installation.find(self._context.resolve(options.server) if options.server else None)
        able = installation.abilities(found, self._own.environment())
        env_file.check_variables(self._own.file, able.variables, able.version)
        self._installation = found

    def deploy(self, config: Config, alias: str) -> ModelDeployment:
        """Start a server with the configuration and read back that it took it."""
        able = self._abilities()
        for name, value in config.items():
            if misfit := _misfit(name, value, able.variables):
                raise ConfigRefused(f"llama-server {able.version} {misfit}")
        text = self._own.rewritten(config)
        self._make_room(alias)
        running = self._launched(text, alias)
        self._servers[alias] = running
        took = readback.taken(running.get("/props"), running.get("/v1/models"), running.said())
        if wrong := readback.mismatches(config, took):
            self._make_room(alias)
            raise ConfigRefused(f"llama-server took another configuration: {'; '.join(wrong)}")
        self._build = took.build
        return self._deployment(config, running)

    def alive(self) -> bool:
        """Whether every deployment's process runs and answers."""
        if self._installation is None:
            return False
        return all(running.alive() for running in self._servers.values() if not running.stopped)

    def export(self, config: Config) -> Export:
        """Return the user's environment file with the tuned lines changed, or a new one."""
        path, own = self._own.exported, self._own.file
        return Export({path: self._own.rewritten(config)}, {path: own.text} if self._own.given else {})

    def verify(self, export: Export, requests: Requests) -> None:
        """Start a server with the exported file as it is, and ask once."""
        self._abilities()
        self._make_room(_VERIFIED)
        for path, text in export.files.items():
            env_file.parse(text, path)
            running = self._launched(text, _VERIFIED)
            try:
                self._deployment({}, running).ask_once(requests)
            finally:
                running.stop()

    def environment(self) -> Mapping[str, str]:
        """Return llama.cpp's version, and where it was found."""
        able, found = self._abilities(), self._found()
        return {
            "server": f"llama-server {able.version}",
            "server_found_in": found.source,
            "server_executable": str(found.executable),
            "model": self._own.model,
            **({"server_build": self._build} if self._build else {}),
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
            name="llama-server",
            file=env_file.NEW_NAME,
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
            model=self._own.model,
            options=self._options,
            headers={**self._own.headers(), **_CLOSED_BY_SERVER},
            usage="final",
            counters=metrics.counters,
        )


def _command(executable: Path, arguments: Sequence[str], file: Path, port: int) -> list[str]:
    """Return the command that starts llama-server with an environment file, as a shell does it."""
    served = [str(executable), *arguments, "--metrics", "--host", HOST, "--port", str(port)]
    return ["/bin/sh", "-c", _WITH_FILE, str(file), *served]


def _misfit(name: str, value: object, variables: Mapping[str, tuple[str, ...]]) -> str:
    """Say why a version of llama-server cannot be told a value, "" when it can."""
    if name not in knobs.BY_NAME:
        return f"has no knob `{name}`; known: {', '.join(knobs.BY_NAME)}"
    variable = knobs.BY_NAME[name].variable
    if variable not in variables:
        return f"has no {variable}, so `{name}` cannot be tuned"
    if value is False and not helped.can_be_false(variable, variables):
        return f"cannot be told that {variable} is false, so neither can `{name}`"
    return ""
