"""The command target: a server that an argument list starts for each deployment, or one that a URL finds."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    TargetError,
    Tls,
    Value,
)
from targets.command.address import of_url
from targets.command.export import script
from targets.command.knobs import checked, parse_values, rewritten
from targets.command.launcher import Launcher, program, require_set
from targets.command.options import START_SCRIPT, AnswerSpec, CommandOptions, RequestSpec
from targets.command.server import CONTROL_TIMEOUT_S, FoundServer, Readiness, Server, StartedServer
from targets.command.statistics import Numbers
from targets.command.wire import HttpWire, Wire
from targets.command.wire_kserve import KServeWire
from targets.common import Encoded, a_dataset
from targets.exports import FOLDER, Start
from targets.options import ServerMetric
from targets.probe import failure_of
from workloads.requests import Requests

_PAUSE_S = 0.05
WIRES: Mapping[str, Callable[[RequestSpec, AnswerSpec], Wire]] = {"http": HttpWire, "kserve": KServeWire}


class CommandTarget:
    """A server of any kind: each deployment is a process of its own, or all are the one server at a URL.

    Raises:
        TargetError: the file of values or a template cannot be used.
    """

    Options: ClassVar = CommandOptions

    def __init__(self, options: CommandOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._knobs = options.declared_knobs()
        self._wire: Wire = WIRES[options.request.protocol](options.request, options.answer)
        self._servers: dict[str, StartedServer] = {}
        self._started = False
        self._values_text = "" if options.values is None else _read_values(context.resolve(options.values))
        said = parse_values(self._values_text, options.values or Path(), self._knobs)
        self._user: dict[str, Value] = {**{name: knob.default for name, knob in self._knobs.items()}, **said}
        self._launcher = None if options.url else Launcher(options, context, self._wire.secrets)
        self._found = _found_server(options, context)
        if self._launcher is not None:
            self._launcher.rehearse(self._user)

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """None without a study: it declares them."""
        return ()

    @staticmethod
    def availability() -> str:
        """Say which server would be taken: the study names it."""
        return "whatever `target.command` starts or `target.url` finds"

    @property
    def side_by_side(self) -> bool:
        """Whether several deployments run at once: each needs a port of its own."""
        return self._options.side_by_side and self._options.port is None

    def knobs(self) -> Sequence[Knob]:
        """Every knob that the study declares."""
        return tuple(self._knobs.values())

    def metrics(self) -> Sequence[ServerMetric]:
        """What the study maps of the server's metrics."""
        return self._options.metrics()

    def user_config(self) -> Config:
        """Return the knobs' defaults, or what the user's file of values says in their place."""
        return dict(self._user)

    def check_requests(self, requests: Requests) -> None:
        """Check that a dataset has what the request's templates use."""
        self._wire.check(a_dataset(requests, ()), self._user)

    def start(self) -> None:
        """Check that the server can be started, or that the one at the URL is ready; what ran before is ended."""
        self.stop()
        if self._launcher is not None:
            self._launcher.check(self._user)
        else:
            require_set(self._wire.secrets)
            self._wait_for_found()
        self._started = True

    def deploy(self, config: Config, alias: str) -> "CommandDeployment":
        """Start a server with the configuration and read back that it is what was asked for."""
        values = {**self._user, **checked(self._knobs, config)}
        if not self._started:
            raise TargetError("the target was not started")
        if self._launcher is None:
            deployment = self._deployment(config, values, self._found_again(), self._options.metrics_url)
        else:
            _refusing(self._launcher, values)
            self._make_room(alias)
            running = self._launcher.start(values, alias)
            self._servers[alias] = running.server
            deployment = self._deployment(config, values, running.server, running.metrics_url)
        deployment.statistics()  # that its metrics are there
        return deployment

    def alive(self) -> bool:
        """Whether every deployment's process runs and answers."""
        if not self._started:
            return False
        if self._found is not None:
            return self._found.alive()
        return all(server.alive() for server in self._servers.values() if not server.stopped)

    def export(self, config: Config) -> Export:
        """Return the file of values, the rendered files and a script that starts the server; nothing for a URL."""
        values = {**self._user, **checked(self._knobs, config)}
        if self._launcher is None:
            return Export({}, {})
        before, after = self._exported(self._launcher, self._user), self._exported(self._launcher, values)
        path, places = self._options.exported_values, {}
        if self._options.values is not None:
            before[path] = self._values_text
            places[path] = self._context.resolve(Path(self._options.values))
        starter = Path(START_SCRIPT)
        start = Start(program=("sh", f"{FOLDER}/{starter}"), files=(), home=self._context.folder)
        return Export(after, before, commented=frozenset({path, starter}), places=places, start=start)

    def verify(self, export: Export, requests: Requests) -> None:
        """Start the exported script as it is, on a free port, and ask once."""
        if self._launcher is None:
            self._ask_once(self._deployment({}, self._user, self._found_again(), None), requests)
            return
        path = self._options.exported_values
        values = {**self._user, **parse_values(export.files.get(path, ""), path, self._knobs)}
        if not self.side_by_side:
            self._make_room(None)
        running = self._launcher.start_script(export.files, values)
        try:
            self._ask_once(self._deployment({}, values, running.server, None), requests)
        finally:
            running.server.stop()

    def environment(self) -> Mapping[str, str]:
        """Say what is measured, as the study names it."""
        options = self._options
        if self._launcher is None:
            return {"server": str(options.url), "server_found_in": "target.url", "server_executable": "runs elsewhere"}
        command = options.command or ()
        launch = self._launcher.rehearse(self._user)
        return {
            "server": " ".join(command),
            "server_found_in": "target.command",
            "server_executable": str(program(launch, self._context.folder)),
        }

    def stop(self) -> None:
        """End every deployment."""
        self._make_room(None)
        self._started = False

    def _make_room(self, alias: str | None) -> None:
        """End the deployment of an alias, or all where only one may run or no alias is given."""
        for name in list(self._servers):
            if name == alias or alias is None or not self.side_by_side:
                self._servers.pop(name).stop()

    def _deployment(
        self, config: Config, values: Config, server: Server, metrics_url: str | None
    ) -> "CommandDeployment":
        whole = None if metrics_url is None else server.address.url(metrics_url)
        return CommandDeployment(config, values, server, self._wire, Numbers(self._options, whole))

    def _exported(self, launcher: Launcher, values: Config) -> dict[Path, str]:
        launch = launcher.rehearse(values)
        path = self._options.exported_values
        ports = {name.upper(): port for name, port in launcher.export_ports().items()}
        return {
            path: rewritten(self._values_text, path, self._knobs, self._user, values),
            Path(START_SCRIPT): script(launch, self._context.folder, ports, self._knobs, values),
            **{Path(name): text for name, text in launch.files.items()},
        }

    def _ask_once(self, deployment: "CommandDeployment", requests: Requests) -> None:
        if len(requests) and (failure := failure_of(deployment.endpoint(requests), CONTROL_TIMEOUT_S)):
            raise TargetError(f"a request to the server failed: {failure}")

    def _found_again(self) -> FoundServer:
        assert self._found is not None, "only asked with a URL"
        return self._found

    def _wait_for_found(self) -> None:
        found, timeout_s = self._found_again(), self._options.apply_timeout
        deadline = time.monotonic() + timeout_s
        while not found.readiness.holds(str):
            if time.monotonic() > deadline:
                raise TargetError(f"target.url: {self._options.url} was not ready within {timeout_s:g} s; start it")
            time.sleep(_PAUSE_S)


@dataclass
class CommandDeployment:
    """A configuration on a server."""

    config: Config
    _values: Config
    _server: Server
    _wire: Wire
    _numbers: Numbers

    def __post_init__(self) -> None:
        self._encoded = Encoded(self._encode)

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode the dataset for this deployment, once."""
        return self._encoded(requests)

    def _encode(self, requests: Requests) -> Endpoint:
        return self._wire.endpoint(a_dataset(requests, ()), self._values, self._server.address, os.environ)

    def http_address(self) -> HttpAddress:
        """Return where the server is; a prefix of `target.url` is for the requests that Paretune makes."""
        at = self._server.address
        return HttpAddress(at.host, at.port, at.tls is not None)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Return what an answer names, as `target.answer` says."""
        return self._wire.decode(answer)

    def processes(self) -> Sequence[int]:
        """Return the server's processes, none of a server at a URL."""
        return self._server.processes()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the server's metrics; without any, check that it has not ended."""
        return self._numbers.read(self._server)

    def retire(self) -> None:
        """End its process; a server at a URL stays as it is."""
        self._server.stop()


def _read_values(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise TargetError(
            f"target.values: {path}: no such file; make it (it may be empty), or leave `values` out"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"target.values: {path}: cannot be read: {error}") from None


def _found_server(options: CommandOptions, context: Context) -> FoundServer | None:
    if options.url is None:
        return None
    ca = None if options.ca is None else context.resolve(options.ca)
    if ca is not None and not ca.is_file():
        raise TargetError(f"target.ca: {ca}: no such file")
    address = of_url(options.url, Tls(ca, options.verify))
    return FoundServer(Readiness(address, None if options.ready.url is None else address.url(options.ready.url), None))


def _refusing(launcher: Launcher, values: Config) -> None:
    """Fill the templates before what runs is ended. Raises ConfigRefused when they cannot take these values."""
    try:
        launcher.rehearse(values)
    except TargetError as error:
        raise ConfigRefused(str(error)) from None
