"""The Triton target: models deployed under aliases on a local server, configurations applied through its load API."""

import json
import tempfile
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
    Knob,
    ServerCounters,
    TargetError,
    Value,
)
from targets.common import Encoded, a_dataset, named_choices
from targets.options import ServerMetric
from targets.probe import failure_of
from targets.triton import config as model_config
from targets.triton import pbtxt, rules, wire_grpc, wire_http
from targets.triton.installation import find_installation
from targets.triton.knobs import ALWAYS_READ, BY_NAME, KNOBS
from targets.triton.options import TritonOptions
from targets.triton.repository import CONFIG_NAME, read_model, stage
from targets.triton.server import CONTROL_TIMEOUT_S, HOST, ServerLog, TritonServer
from targets.triton.wire import Wire, check_inputs, described
from workloads.requests import Requests

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
WIRES: Mapping[str, Wire] = {"http": wire_http, "grpc": wire_grpc}


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
        self._expected: tuple[str, ...] = ()
        self._models: dict[str, _Model] = {}
        self._user = self._model(options.model)
        for name, overlay in options.variants.items():
            model_config.check_variant(name, overlay)
        # What knobs change: the user's own configuration and those of the variants.
        self._bases = [self._user.config, *(self._base(name)[1] for name in options.variants)]
        self._gpus = rules.gpus_here()

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of Triton's that can be tuned."""
        return KNOBS

    @staticmethod
    def availability() -> str:
        """Say which tritonserver would be taken."""
        with tempfile.TemporaryDirectory() as workdir:
            found = find_installation(None, Path(workdir))
        return f"{found.executable} (from {found.source})"

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it; with the reason for those that fit no variant."""
        found = []
        for knob in named_choices(KNOBS, "precision", self._options.variants):
            reasons = [
                rules.unusable(BY_NAME[knob.name], one, self._gpus) for one in self._bases if knob.name in BY_NAME
            ]
            found.append(replace(knob, unusable=reasons[0]) if reasons and all(reasons) else knob)
        return found

    def expect(self, knobs: Sequence[str]) -> None:
        """Take note of the knobs that a study sets."""
        self._expected = tuple(knobs)

    def check(self, config: Config) -> None:
        """Check a configuration by Triton's rules, without Triton. Raises ConfigRefused naming the rule."""
        self._wanted(config)

    def metrics(self) -> Sequence[ServerMetric]:
        """Triton's statistics are those that all targets have a place for."""
        return ()

    def user_config(self) -> Config:
        """Return what the user's config.pbtxt gives the knobs; `precision` where a variant changes nothing in it.

        Beside the few knobs that every configuration has a value of, these are the ones that a study sets: of others
        the file says what a variant may say otherwise.
        """
        values: dict[str, Value] = model_config.knob_values(self._user.config, (*ALWAYS_READ, *self._expected))
        for name in self._options.variants:
            model, base = self._base(name)
            if model is self._user and base == self._user.config:
                values["precision"] = name
                break
        return values

    def check_requests(self, requests: Requests) -> None:
        """Check that a dataset has every input of the user's model, in its type and shape."""
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
            timeout_s=options.apply_timeout,
            log=self._log,
            cpus=context.cpus,
            flags=rules.flags(self._offer()),
        )

    def deploy(self, config: Config, alias: str) -> "TritonDeployment":
        """Load a configuration as `MODEL__ALIAS` and read back that it is the one loaded."""
        model, wanted = self._wanted(config)
        name = f"{model.name}__{alias}"
        server = self._running()
        stage(model.directory, server.repository, name)
        server.load(name, model_config.to_json(wanted, name))
        self._read_back(name, wanted, config)
        return self._deployment(config, name, wanted)

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
            self._read_back(name, wanted, model_config.knob_values(wanted, BY_NAME))
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
        }

    def stop(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _running(self) -> TritonServer:
        if self._server is None:
            raise TargetError("the server was not started")
        return self._server

    def _model(self, name: str) -> _Model:
        if name not in self._models:
            text, parsed = read_model(self._repository, name)
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
        wanted = model_config.applied(base, config)
        rules.check(wanted, self._offer())
        return model, wanted

    def _offer(self) -> rules.Offer:
        """Return what the server has: what the study's knobs and the user's files need."""
        return rules.offer_for(self._expected, self._bases, self._gpus)

    def _deployment(self, config: Config, name: str, wanted: model_config.ModelConfig) -> "TritonDeployment":
        return TritonDeployment(config, self._running(), name, wanted, WIRES[self._options.protocol])

    def _read_back(self, name: str, wanted: model_config.ModelConfig, config: Config) -> None:
        """Check that what is loaded is what was asked for: a refused load leaves the old one in place."""
        loaded = model_config.from_loaded(self._running().ask(lambda client: client.get_model_config(name)))
        wrong = [*model_config.knob_mismatches(config, loaded), *model_config.mismatches(wanted, loaded)]
        if wrong:
            raise ConfigRefused(f"{name}: the server loaded another configuration: {'; '.join(wrong)}")


@dataclass
class TritonDeployment:
    """A model loaded under an alias."""

    config: Config
    _server: TritonServer
    _name: str
    _wanted: model_config.ModelConfig
    _wire: Wire

    def __post_init__(self) -> None:
        self._encoded = Encoded(self._encode)

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode tensors for this deployment, once."""
        return self._encoded(requests)

    def _encode(self, requests: Requests) -> Endpoint:
        dataset = a_dataset(requests, described(self._wanted, self._name).inputs)
        check_inputs(dataset, self._wanted)
        return self._wire.endpoint(dataset, self._wanted, self._name, HOST, self._server.request_port)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one complete HTTP answer, or the message of a gRPC answer."""
        return self._wire.decode(answer, self._wanted)

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
        """Unload the alias."""
        self._server.ask(lambda client: client.unload_model(self._name))


def _counters(taken_ns: int, answer: bytes) -> ServerCounters:
    (stats,) = json.loads(answer)["model_stats"]
    inference = stats["inference_stats"]
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
    )
