"""The Triton target: models deployed under aliases on a local server, configurations applied through its load API."""

import json
import tempfile
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
    Knob,
    ServerCounters,
    TargetError,
    Value,
)
from targets.common import a_dataset, named_choices
from targets.kserve.statistics import cache_of
from targets.options import ServerMetric
from targets.probe import failure_of
from targets.triton import config as model_config
from targets.triton import pbtxt, wire_stream
from targets.triton.cache import readings
from targets.triton.installation import find_installation
from targets.triton.options import TritonOptions
from targets.triton.repository import CONFIG_NAME, read_model, stage
from targets.triton.server import CONTROL_TIMEOUT_S, ServerLog, TritonServer
from targets.triton.transport import Memories, Transport, check_model, shown
from targets.triton.wire import check_inputs, described
from workloads.requests import Requests

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True)
class _Model:
    """A model of the user's: its folder, the text of its config.pbtxt and what the text says."""

    name: str
    directory: Path
    text: str
    config: model_config.ModelConfig


class TritonTarget:
    """NVIDIA Triton Inference Server, started here, with explicit model control.

    Raises:
        TargetError: the repository, the model or a variant cannot be used.
    """

    Options: ClassVar = TritonOptions
    side_by_side: ClassVar = True

    def __init__(self, options: TritonOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._repository = context.resolve(options.repository)
        self._log = ServerLog(context.log_path)
        self._server: TritonServer | None = None
        self._memories = Memories(options)
        self._deployed: dict[str, TritonDeployment] = {}
        self._loads = 0
        self._models: dict[str, _Model] = {}
        self._user = self._model(options.model)
        for name, overlay in options.variants.items():
            model_config.check_variant(name, overlay)
            self._base(name)

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of Triton's that can be tuned."""
        return model_config.KNOBS

    @staticmethod
    def availability() -> str:
        """Say which tritonserver would be taken."""
        with tempfile.TemporaryDirectory() as workdir:
            found = find_installation(None, Path(workdir))
        return f"{found.executable} (from {found.source})"

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return named_choices(model_config.KNOBS, "precision", self._options.variants)

    def metrics(self) -> Sequence[ServerMetric]:
        """Return those of the response cache; the other statistics are those that all targets have a place for."""
        return self._options.metrics()

    def user_config(self) -> Config:
        """Return what the user's config.pbtxt gives the knobs; `precision` where a variant changes nothing in it."""
        values: dict[str, Value] = dict(model_config.knob_values(self._user.config))
        for name in self._options.variants:
            model, base = self._base(name)
            if model is self._user and base == self._user.config:
                values["precision"] = name
                break
        return values

    def check_requests(self, requests: Requests) -> None:
        """Check that a dataset has every input of the user's model, in its type and shape."""
        wire_stream.check_labels(requests, self._user.config)
        check_inputs(a_dataset(requests, described(self._user.config, "").inputs), self._user.config)

    def start(self) -> None:
        """Start tritonserver; an old one is stopped first."""
        self.stop()
        options, context = self._options, self._context
        self._server = TritonServer(
            executable=context.resolve(options.server) if options.server else None,
            protocol=options.protocol,
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            cache_size=options.cache_size,
            timeout_s=options.apply_timeout,
            log=self._log,
            cpus=context.cpus,
        )

    def deploy(self, config: Config, alias: str) -> "TritonDeployment":
        """Load a configuration as `MODEL__ALIAS` and read back that it is the one loaded."""
        model, wanted = self._wanted(config)
        name = self._name(model.name, alias)
        server = self._running()
        stage(model.directory, server.repository, name)
        server.load(name, model_config.to_json(wanted, name))
        self._read_back(name, wanted, config)
        if alias in self._deployed:
            self._deployed[alias].replaced(name)
        deployment = self._deployed[alias] = self._deployment(config, name, wanted)
        return deployment

    def _name(self, model: str, alias: str) -> str:
        """Return the name to load a model by.

        Where answers are cached it is a new one each time: the cache keeps the answers of a model that was unloaded,
        and would give them for the next one of that name.
        """
        if self._options.cache_size is None:
            return f"{model}__{alias}"
        self._loads += 1
        return f"{model}__{alias}_{self._loads}"

    def alive(self) -> bool:
        """Whether the server runs and answers."""
        return self._server is not None and self._server.alive()

    def export(self, config: Config) -> Export:
        """Return the user's config.pbtxt with the tuned fields changed."""
        model, wanted = self._wanted(config)
        path = Path(model.name) / CONFIG_NAME
        return Export({path: pbtxt.rewrite(model.text, model.config, wanted)}, {path: model.text})

    def verify(self, export: Export, requests: Requests) -> None:
        """Load the exported files as they are, compare what is loaded with what they say, and ask once."""
        server = self._running()
        for path, text in export.files.items():
            name = path.parent.name
            stage(self._model(name).directory, server.repository, name, text)
            server.load(name)
            wanted = model_config.parse(text, path)
            self._read_back(name, wanted, model_config.knob_values(wanted))
            deployment = self._deployment({}, name, wanted)
            deployment.ask_once(requests)
            deployment.retire()

    def environment(self) -> Mapping[str, str]:
        """Return the server's version and where it was found."""
        server = self._running()
        version = server.ask(lambda client: client.get_server_metadata())["version"]
        return {
            "server": f"tritonserver {version}",
            "server_found_in": server.installation.source,
            "server_executable": str(server.installation.executable),
            "requests": ", ".join(shown(self._options)),
        }

    def stop(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.stop()
            self._server = None
            self._deployed.clear()

    def _running(self) -> TritonServer:
        if self._server is None:
            raise TargetError("the server was not started")
        return self._server

    def _model(self, name: str) -> _Model:
        if name not in self._models:
            text, parsed = read_model(self._repository, name)
            check_model(self._options, parsed, name)
            self._models[name] = _Model(name, self._repository / name, text, parsed)
        return self._models[name]

    def _base(self, variant: str | None) -> tuple[_Model, model_config.ModelConfig]:
        """Return the model that a variant is made from and its configuration with the overlay."""
        if variant is None:
            return self._user, self._user.config
        overlay = self._options.variants[variant]
        model = self._model(str(overlay["model"])) if "model" in overlay else self._user
        return model, model_config.overlaid(model.config, overlay)

    def _wanted(self, config: Config) -> tuple[_Model, model_config.ModelConfig]:
        variant = config.get("precision")
        model, base = self._base(None if variant is None else str(variant))
        return model, model_config.applied(base, config)

    def _deployment(self, config: Config, name: str, wanted: model_config.ModelConfig) -> "TritonDeployment":
        server = self._running()
        transport = Transport(self._options, self._memories, server, wanted, name)
        return TritonDeployment(config, server, name, transport)

    def _read_back(self, name: str, wanted: model_config.ModelConfig, config: Config) -> None:
        """Check that what is loaded is what was asked for: a refused load leaves the old one in place."""
        loaded = model_config.from_loaded(self._running().ask(lambda client: client.get_model_config(name)))
        values = model_config.knob_values(loaded)
        wrong = [
            f"{knob}: asked {value}, loaded {values.get(knob)}"
            for knob, value in config.items()
            if knob != "precision" and values.get(knob) != value
        ]
        wrong += model_config.mismatches(wanted, loaded)
        if wrong:
            raise ConfigRefused(f"{name}: the server loaded another configuration: {'; '.join(wrong)}")


@dataclass
class TritonDeployment:
    """A model loaded under an alias."""

    config: Config
    _server: TritonServer
    _name: str
    _transport: Transport
    _retired: bool = False

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode tensors for this deployment, once."""
        return self._transport.endpoint(requests)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one complete HTTP answer, or the message of a gRPC answer."""
        return self._transport.outputs(answer)

    def processes(self) -> Sequence[int]:
        """Return the server's processes; Triton's instances are its children and serve every alias."""
        return self._server.processes()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read Triton's statistics of this alias."""
        taken_ns, answer = time.monotonic_ns(), self._server.get(f"/v2/models/{self._name}/stats")
        return lambda: _counters(taken_ns, answer)

    def ask_once(self, requests: Requests) -> None:
        """Send the first item and check that it is answered. Raises TargetError with what came instead."""
        if failure := failure_of(self.endpoint(requests), CONTROL_TIMEOUT_S):
            raise TargetError(f"{self._name}: a request to the loaded model failed: {failure}")

    def retire(self) -> None:
        """Unload the alias, and give back its shared memory."""
        self._retired = True
        self._transport.close()
        self._server.ask(lambda client: client.unload_model(self._name))

    def replaced(self, name: str) -> None:
        """Make way for what is loaded under the alias now, by this name: its own model is gone if it has the same."""
        if not self._retired and name != self._name:
            self.retire()
        self._retired = True
        self._transport.close()


def _counters(taken_ns: int, answer: bytes) -> ServerCounters:
    (stats,) = json.loads(answer)["model_stats"]
    inference, cache = stats["inference_stats"], cache_of(stats)
    return ServerCounters(
        taken_ns=taken_ns,
        requests=int(inference["success"]["count"]),
        failures=int(inference["fail"]["count"]),
        executions=int(stats["execution_count"]),
        total_ns={stage: int(inference[stage]["ns"]) for stage in STAGES},
        batches={
            int(batch["batch_size"]): (
                int(batch["compute_infer"]["count"]),
                int(batch["compute_infer"]["ns"]),
            )
            for batch in stats.get("batch_stats", ())
        },
        counters=readings(cache),
        cache=cache,
    )
