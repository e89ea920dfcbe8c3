"""A server of language models that Paretune starts for each deployment: what vLLM, SGLang and llama.cpp share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from targets.base import Config, ConfigRefused, Context, Export, Knob, ServerCounters, TargetError, Value
from targets.common import prompts
from targets.exports import Start
from targets.openai import process, wire
from targets.openai.deployment import ModelDeployment
from targets.openai.installation import Installation
from targets.openai.options import LocalOptions
from targets.openai.own import OwnFile
from targets.openai.process import Launch, ModelServer
from targets.options import ServerMetric
from workloads.requests import Requests

_VERIFIED = "verified"


class LocalTarget(ABC):
    """A server of language models, started here; a kind says how it is found, told, started and read back.

    Attributes:
        name: of the server, as errors call it.
        file_name: of the configuration file that it is started with.
        usage: how it tells the number of tokens in a stream.
    """

    name: ClassVar[str]
    file_name: ClassVar[str]
    usage: ClassVar[wire.Usage]

    def __init__(self, options: LocalOptions, context: Context, own: OwnFile) -> None:
        self._settings, self._context, self._file = options, context, own
        self._servers: dict[str, ModelServer] = {}
        self._installation: Installation | None = None

    @staticmethod
    @abstractmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob that can be tuned; a version of the server may not know all of them."""

    @abstractmethod
    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""

    @staticmethod
    @abstractmethod
    def find(given: Path | None) -> Installation:
        """Find the server: that of the study, or on this machine. Raises TargetError where there is none."""

    @classmethod
    def availability(cls) -> str:
        """Say which server would be taken."""
        found = cls.find(None)
        return f"{found.executable} (from {found.source})"

    @abstractmethod
    def version(self) -> str:
        """Return the version of the server that was found. Raises TargetError where it does not run."""

    @abstractmethod
    def check_file(self) -> None:
        """Check that this version knows all that the user's file says. Raises TargetError."""

    @abstractmethod
    def misfit(self, name: str, value: Value) -> str:
        """Say why this version cannot be told a value of a knob, "" when it can."""

    @abstractmethod
    def command(self, file: Path, port: int) -> Sequence[str]:
        """Return the command line that serves a configuration file on a port; arguments win over the file."""

    @staticmethod
    @abstractmethod
    def reason(text: str) -> str:
        """Find in the server's log why it ended; "" where the log does not say."""

    @staticmethod
    @abstractmethod
    def counters(taken_ns: int, text: bytes) -> ServerCounters:
        """Read an answer of /metrics, taken at a monotonic time in ns."""

    @abstractmethod
    def starting(self, text: str, home: Path) -> Start:
        """Return how a user starts the server on an exported file, besides the arguments of the study.

        Args:
            text: of the file.
            home: the folder that its path starts from.
        """

    @abstractmethod
    def mismatches(self, config: Config, running: ModelServer) -> list[str]:
        """Read back what a server took, and return every knob that is otherwise."""

    @abstractmethod
    def traits(self) -> Mapping[str, str]:
        """Return what else is known of the server, for the record; "" where it is not known."""

    @property
    def side_by_side(self) -> bool:
        """Whether several deployments run at once: the study says whether the device has room for them."""
        return self._settings.side_by_side

    def metrics(self) -> Sequence[ServerMetric]:
        """What the server's own metrics give."""
        return self._settings.metrics()

    def user_config(self) -> Config:
        """Return what the user's file gives the knobs."""
        return dict(self._file.values)

    def check_requests(self, requests: Requests) -> None:
        """Check that requests are prompts that the endpoint takes."""
        wire.check_prompts(prompts(requests), self._settings)

    def start(self) -> None:
        """Find the server and ask what it can be told; what ran before is ended."""
        self.stop()
        given = self._settings.server
        self._installation = self.find(self._context.resolve(given) if given else None)
        try:
            self.check_file()
        except TargetError:
            self._installation = None
            raise

    def deploy(self, config: Config, alias: str) -> ModelDeployment:
        """Start a server with the configuration and read back that it took it."""
        version = self.version()
        for name, value in config.items():
            if misfit := self.misfit(name, value):
                raise ConfigRefused(f"{self.name} {version} {misfit}")
        text = self._file.rewritten(config)
        self._make_room(alias)
        running = self._launched(text, alias)
        self._servers[alias] = running
        if wrong := self.mismatches(config, running):
            self._make_room(alias)
            raise ConfigRefused(f"{self.name} took another configuration: {'; '.join(wrong)}")
        return self._deployment(config, running)

    def alive(self) -> bool:
        """Whether every deployment's process runs and answers."""
        if self._installation is None:
            return False
        return all(running.alive() for running in self._servers.values() if not running.stopped)

    def export(self, config: Config) -> Export:
        """Return the user's file with the tuned settings changed, or a new one."""
        own, folder = self._file, self._context.folder
        path, text = own.exported, own.rewritten(config)
        place = None if self._settings.config is None else self._context.resolve(self._settings.config)
        return Export(
            {path: text},
            {path: own.text} if own.given else {},
            commented=frozenset({path}),
            places={} if place is None else {path: place},
            start=self.starting(text, folder if place is None else place.parents[len(path.parts) - 1]),
            flags=tuple(own.arguments),
        )

    def verify(self, export: Export, requests: Requests) -> None:
        """Start a server with the exported file as it is, and ask once."""
        self.found()
        self._make_room(_VERIFIED)
        for text in export.files.values():
            running = self._launched(text, _VERIFIED)
            try:
                self._deployment({}, running).ask_once(requests)
            finally:
                running.stop()

    def environment(self) -> Mapping[str, str]:
        """Return the server's version, where it was found, and what else is known of it."""
        found = self.found()
        known = {
            "server": f"{self.name.lower()} {self.version()}",
            "server_found_in": found.source,
            "server_executable": str(found.executable),
            "model": self._file.model,
            **self.traits(),
        }
        return {name: value for name, value in known.items() if value}

    def stop(self) -> None:
        """End every deployment."""
        self._make_room(None)
        self._installation = None

    def found(self) -> Installation:
        """Return the server that was found. Raises TargetError before the start."""
        if self._installation is None:
            raise TargetError("the target was not started")
        return self._installation

    def request_headers(self) -> Mapping[str, str]:
        """Return the headers of every request."""
        return self._file.headers()

    def _launched(self, text: str, alias: str) -> ModelServer:
        settings, own = self._settings, self._file
        launch = Launch(
            name=self.name,
            file=self.file_name,
            text=text,
            command=self.command,
            env=own.environment(),
            headers=own.headers(),
            reason=self.reason,
            port=settings.port,
            timeout_s=settings.apply_timeout,
        )
        return process.start(launch, alias, self._context)

    def _deployment(self, config: Config, running: ModelServer) -> ModelDeployment:
        return ModelDeployment(
            config=config,
            server=running,
            model=self._file.served_name,
            options=self._settings,
            headers=self.request_headers(),
            usage=self.usage,
            counters=self.counters,
        )

    def _make_room(self, alias: str | None) -> None:
        """End the deployment of an alias, or all where only one may run or no alias is given."""
        for name in list(self._servers):
            if name == alias or alias is None or not self.side_by_side:
                self._servers.pop(name).stop()
