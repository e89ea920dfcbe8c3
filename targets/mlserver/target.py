"""The MLServer target: each deployment is a server of its own, started on the user's folder with changed settings."""

from collections.abc import Callable, Mapping, Sequence
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
)
from targets.common import a_dataset, check_tensors
from targets.exports import FOLDER, Start
from targets.found import FoundModel
from targets.kserve.control import described
from targets.kserve.served import ServedModel, wire_of
from targets.kserve.wire import Site, fitted, items_of
from targets.mlserver import config as settings_of
from targets.mlserver import jsontext
from targets.mlserver.config import MODEL_SETTINGS, SETTINGS, Settings
from targets.mlserver.found import models_in
from targets.mlserver.installation import Installation, find_installation
from targets.mlserver.metrics import METRICS
from targets.mlserver.options import MLServerOptions
from targets.mlserver.repository import ModelFolder, read_model
from targets.mlserver.server import HOST, MLServer
from targets.options import ServerMetric
from targets.ports import choose_ports
from workloads.requests import Dataset, Requests


class MLServerTarget:
    """MLServer, started here, once for each deployment.

    Raises:
        TargetError: the repository, the model or its settings cannot be used.
    """

    Options: ClassVar = MLServerOptions

    def __init__(self, options: MLServerOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._model = read_model(context.resolve(options.repository), options.model)
        self._user = settings_of.knob_values(self._model.settings)
        self._installation: Installation | None = None
        self._version = ""
        self._deployed: dict[str, MLServerDeployment] = {}

    @property
    def side_by_side(self) -> bool:
        """With ports of their own, several servers can run at once; not with a port that the study names."""
        return self._options.http_port is None and self._options.grpc_port is None

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of MLServer's that can be tuned."""
        return settings_of.KNOBS

    @staticmethod
    def availability() -> str:
        """Say which MLServer would be taken."""
        found = find_installation(None)
        return f"{found.executable} (from the {found.source})"

    @staticmethod
    def models_at(place: str, model: str | None) -> Sequence[FoundModel]:
        """Return the models of a folder that `mlserver start` is given."""
        return models_in(Path(place), model)

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return settings_of.KNOBS

    def metrics(self) -> Sequence[ServerMetric]:
        """What MLServer's metrics give beyond what all servers have."""
        return METRICS

    def user_config(self) -> Config:
        """Return what the user's files give the knobs, MLServer's default where they are silent."""
        return self._user

    def check_requests(self, requests: Requests) -> None:
        """Check a dataset against the inputs that model-settings.json names; without them any dataset will do."""
        settings = self._model.settings
        members = jsontext.parse(settings.model, settings.model_path)
        named: dict[str, object] = {key: members[key].value for key in ("inputs", "outputs") if key in members}
        model = described(self._options.model, "", named)
        check_tensors(requests)
        if isinstance(requests, Dataset) or model.inputs:
            fitted(model, a_dataset(requests, items_of(model)))

    def start(self) -> None:
        """Find MLServer and ask it for its version; what was deployed is stopped first."""
        self.stop()
        options = self._options
        given = self._context.resolve(options.server) if options.server else None
        installation = find_installation(given)
        choose_ports(self._ports())
        self._version = installation.version_within(options.apply_timeout)
        self._installation = installation

    def deploy(self, config: Config, alias: str) -> "MLServerDeployment":
        """Start a server with a configuration, in place of the alias's, and read back what it was started with."""
        wanted = settings_of.applied(self._model.settings, config)
        self._require_started()
        for other in [alias] if self.side_by_side else list(self._deployed):
            if other in self._deployed:
                self._deployed[other].retire()
        self._deployed[alias] = self._started(config, wanted, lambda: self._forget(alias))
        return self._deployed[alias]

    def _started(
        self, config: Config, settings: Settings, forget: Callable[[], None], model: ModelFolder | None = None
    ) -> "MLServerDeployment":
        """Start a server on settings and compare what it has with what they say; None: on the user's own model."""
        installation = self._require_started()
        server = MLServer(
            installation.executable,
            model or self._model,
            settings,
            name=self._options.model,
            ports=self._ports(),
            timeout_s=self._options.apply_timeout,
            log_path=self._context.log_path,
            cpus=self._context.cpus,
            inherited=self._context.inherited(),
        )
        try:
            _read_back(server, settings_of.knob_values(settings))
            return MLServerDeployment(config, server, self._options, forget)
        except BaseException:
            server.stop()
            raise

    def _forget(self, alias: str) -> None:
        self._deployed.pop(alias, None)

    def _ports(self) -> dict[str, int | None]:
        return {"http": self._options.http_port, "grpc": self._options.grpc_port}

    def _require_started(self) -> Installation:
        if self._installation is None:
            raise TargetError("the target was not started")
        return self._installation

    def alive(self) -> bool:
        """Whether the target was started and every server that is deployed runs and answers."""
        return self._installation is not None and all(one.alive() for one in self._deployed.values())

    def export(self, config: Config) -> Export:
        """Return the user's model-settings.json and settings.json with the tuned fields changed."""
        before, after = self._model.settings, settings_of.applied(self._model.settings, config)
        model_path, server_path = self._model.relative / MODEL_SETTINGS, Path(SETTINGS)
        files, originals = {model_path: after.model}, {model_path: before.model}
        if after.server is not None:
            files[server_path] = after.server
        if before.server is not None:
            originals[server_path] = before.server
        places = {path: self._model.repository / path for path in files}
        return Export(files, originals, places=places, folders=self._folders(), start=self._start())

    def _folders(self) -> dict[Path, Path]:
        """Return what a server on the model needs besides its settings: the model's folder."""
        return {self._model.relative: self._model.repository / self._model.relative}

    def _start(self) -> Start:
        return Start(
            program=("mlserver", "start"),
            files=(FOLDER,),
            home=self._model.repository,
            image="seldonio/mlserver:latest",
            in_image=("mlserver", "start"),
            folder="/mnt/models",
            ports=(8080, 8081, 8082),
        )

    def verify(self, export: Export, requests: Requests) -> None:
        """Start a server on the exported files as they are, and ask once."""
        user = self._model.settings
        server_text = next((text for path, text in export.files.items() if path.name == SETTINGS), user.server)
        model_text = next(text for path, text in export.files.items() if path.name == MODEL_SETTINGS)
        self._require_started()
        if not self.side_by_side:
            self._retire_all()
        exported = Settings(model_text, server_text, Path(MODEL_SETTINGS), Path(SETTINGS))
        deployment = self._started({}, exported, lambda: None)
        try:
            deployment.ask_once(requests)
        finally:
            deployment.retire()

    def verify_copy(self, folder: Path, export: Export, requests: Mapping[str, Requests]) -> None:  # noqa: ARG002
        """Start a server on a copied folder with the settings that stand there, and ask once."""
        (asked,) = requests.values()
        copied = read_model(folder, self._options.model)
        self.start()
        deployment = self._started({}, copied.settings, lambda: None, copied)
        try:
            deployment.ask_once(asked)
        finally:
            deployment.retire()
            self.stop()

    def environment(self) -> Mapping[str, str]:
        """Return the server's version and where it was found."""
        installation = self._require_started()
        return {
            "server": f"mlserver {self._version}",
            "server_found_in": installation.source,
            "server_executable": str(installation.executable),
        }

    def stop(self) -> None:
        """Stop every server."""
        self._retire_all()
        self._installation = None

    def _retire_all(self) -> None:
        for deployment in list(self._deployed.values()):
            deployment.retire()


def _read_back(server: MLServer, wanted: Config) -> None:
    """Check that a server was started with what was asked for.

    MLServer does not tell its settings: what can be seen is the files that it read, and its worker processes.
    """
    has = settings_of.knob_values(server.settings())
    wrong = [f"{name}: asked {value}, started with {has[name]}" for name, value in wanted.items() if has[name] != value]
    workers = server.workers()
    if workers < int(wanted["parallel_workers"]) or (workers and not wanted["parallel_workers"]):
        wrong.append(f"parallel_workers: asked {wanted['parallel_workers']}, but {workers} run")
    if wrong:
        raise ConfigRefused(f"MLServer has another configuration: {'; '.join(wrong)}")


class MLServerDeployment:
    """A server that was started with a configuration."""

    def __init__(self, config: Config, server: MLServer, options: MLServerOptions, forget: Callable[[], None]) -> None:
        self.config = config
        self._server, self._forget = server, forget
        grpc = options.protocol == "grpc"
        site = Site(HOST, server.grpc_port if grpc else server.port)
        wire = wire_of(server.control.server(), grpc=grpc)
        self._served = ServedModel(server.control.model(options.model, ""), wire, site)

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode the dataset for this deployment, once."""
        return self._served.endpoint(requests)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one complete HTTP answer, or the message of a gRPC answer."""
        return self._served.outputs(answer)

    def http_address(self) -> HttpAddress:
        """Return where the server is: it speaks HTTP beside gRPC."""
        return HttpAddress(HOST, self._server.port)

    def ask_once(self, requests: Requests) -> None:
        """Send the first item and check that it is answered. Raises TargetError with what came instead."""
        self._served.ask_once(requests)

    def processes(self) -> Sequence[int]:
        """Return the server's processes, its workers included."""
        return self._server.processes()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the server's metrics."""
        return self._server.statistics()

    def alive(self) -> bool:
        """Whether the server runs and answers."""
        return self._server.alive()

    def retire(self) -> None:
        """Stop the server."""
        self._forget()
        self._server.stop()
