"""The simulated target: a server of ours whose queue has a known answer, to check Paretune and to try it out."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    Value,
)
from targets.common import Encoded, a_dataset, check_tensors, named_choices
from targets.options import ServerMetric
from targets.probe import failure_of
from targets.repository import read_config
from targets.simulated import config as queue_config
from targets.simulated import wire
from targets.simulated.client import CONTROL_TIMEOUT_S, SimulatedServer
from targets.simulated.hosting import DeploymentSpec
from targets.simulated.options import SimulatedOptions
from targets.simulated.server import HOST
from workloads.requests import Requests


class SimulatedTarget:
    """The simulated server, started here; its deployments are made through its control API.

    Raises:
        TargetError: the repository, the model or a variant cannot be used.
    """

    Options: ClassVar = SimulatedOptions
    side_by_side: ClassVar = True
    keeps_server: ClassVar = True

    def __init__(self, options: SimulatedOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._server: SimulatedServer | None = None
        repository = context.resolve(options.repository)
        self._path, self._text = read_config(repository, options.model, queue_config.CONFIG_NAME)
        self._user = queue_config.parse(self._text, self._path)
        self._variants = {
            name: queue_config.overlaid(self._user, overlay, name) for name, overlay in options.variants.items()
        }

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of the simulated server."""
        return queue_config.KNOBS

    @staticmethod
    def availability() -> str:
        """Say which server would be taken: it is always there."""
        return "part of Paretune; answers come from a queue, not from a model"

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return named_choices(queue_config.KNOBS, "precision", self._variants)

    def metrics(self) -> Sequence[ServerMetric]:
        """The server has no numbers but those that all targets have a place for."""
        return ()

    def user_config(self) -> Config:
        """Return what the user's queue.json gives the knobs; `precision` where a variant changes nothing in it."""
        values: dict[str, Value] = dict(queue_config.knob_values(self._user))
        own = next((name for name, variant in self._variants.items() if variant == self._user), None)
        return values if own is None else {**values, "precision": own}

    def check_requests(self, requests: Requests) -> None:
        """Any dataset will do: its inputs are sent as bytes that mean nothing to the server."""
        check_tensors(requests)

    def start(self) -> None:
        """Start the server; an old one is stopped first."""
        self.stop()
        self._server = SimulatedServer(
            port=self._options.http_port,
            timeout_s=self._options.apply_timeout,
            log_path=self._context.log_path,
            cpus=self._context.cpus,
            env=self._context.inherited(),
        )

    def deploy(self, config: Config, alias: str) -> "SimulatedDeployment":
        """Make a deployment `MODEL__ALIAS` and read back that it is the one asked for."""
        return self._deployed(config, self._wanted(config), f"{self._options.model}__{alias}")

    def alive(self) -> bool:
        """Whether the server runs and answers."""
        return self._server is not None and self._server.alive()

    def export(self, config: Config) -> Export:
        """Return the user's queue.json with the tuned fields changed."""
        path = Path(self._options.model) / queue_config.CONFIG_NAME
        text = queue_config.rewrite(self._text, self._user, self._wanted(config), self._path)
        folder = Path(self._options.model)
        return Export({path: text}, {path: self._text}, places={path: self._path}, folders={folder: self._path.parent})

    def verify(self, export: Export, requests: Requests) -> None:
        """Deploy the exported files as they are, and ask once."""
        for path, text in export.files.items():
            deployment = self._deployed({}, queue_config.parse(text, path), path.parent.name)
            deployment.ask_once(requests)
            deployment.retire()

    def verify_copy(self, folder: Path, export: Export, requests: Mapping[str, Requests]) -> None:
        """Deploy the files of a copied folder as they are, and ask once."""
        (asked,) = requests.values()
        self.start()
        try:
            self.verify(replace(export, files={path: (folder / path).read_text() for path in export.files}), asked)
        finally:
            self.stop()

    def environment(self) -> Mapping[str, str]:
        """Say what answers."""
        return {
            "server": "simulated queue",
            "server_found_in": "Paretune itself",
            "server_executable": f"{sys.executable} -m targets.simulated.server",
        }

    def stop(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _wanted(self, config: Config) -> queue_config.QueueConfig:
        variant = config.get("precision")
        base = self._user if variant is None else self._variants[str(variant)]
        return queue_config.applied(base, config)

    def _deployed(self, config: Config, wanted: queue_config.QueueConfig, name: str) -> "SimulatedDeployment":
        if self._server is None:
            raise TargetError("the server was not started")
        asked = queue_config.deployment_spec(wanted)
        self._server.ask("PUT", wire.path_of(name), asked.model_dump_json())
        loaded = DeploymentSpec.model_validate_json(self._server.ask("GET", wire.path_of(name)))
        if loaded != asked:
            raise ConfigRefused(f"{name}: the server has another configuration: asked {asked}, deployed {loaded}")
        return SimulatedDeployment(config, self._server, name)


@dataclass
class SimulatedDeployment:
    """A queue on the server, under an alias."""

    config: Config
    _server: SimulatedServer
    _name: str

    def __post_init__(self) -> None:
        self._encoded = Encoded(self._encode)

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode the dataset for this deployment, once."""
        return self._encoded(requests)

    def _encode(self, requests: Requests) -> Endpoint:
        return wire.endpoint(a_dataset(requests, ()), self._name, HOST, self._server.port)

    def http_address(self) -> HttpAddress:
        """Return where the server is, and that it has the model under the alias."""
        own = wire.path_of(self._name.rpartition("__")[0] or self._name)
        return HttpAddress(HOST, self._server.port, own_path=own, path=wire.path_of(self._name))

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Return the class that an answer names: the label of the request, which it repeats."""
        return wire.decode(answer)

    def processes(self) -> Sequence[int]:
        """Return the server's process; it serves every alias."""
        return self._server.processes()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the server's statistics of this alias."""
        taken_ns, answer = time.monotonic_ns(), self._server.ask("GET", f"{wire.path_of(self._name)}/stats")
        return lambda: _counters(taken_ns, answer)

    def ask_once(self, requests: Requests) -> None:
        """Send the first item and check that it is answered. Raises TargetError with what came instead."""
        if len(requests) and (failure := failure_of(self.endpoint(requests), CONTROL_TIMEOUT_S)):
            raise TargetError(f"{self._name}: a request to the deployment failed: {failure}")

    def retire(self) -> None:
        """Remove the alias."""
        self._server.ask("DELETE", wire.path_of(self._name))


def _counters(taken_ns: int, answer: bytes) -> ServerCounters:
    stats = json.loads(answer)
    return ServerCounters(
        taken_ns=taken_ns,
        requests=stats["requests"],
        failures=stats["failures"],
        executions=stats["executions"],
        total_ns={"queue": stats["queue_ns"], "compute_infer": stats["compute_ns"]},
        batches={int(size): (executions, total_ns) for size, (executions, total_ns) in stats["batches"].items()},
    )
