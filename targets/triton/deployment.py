"""A model loaded under an alias: how it is asked, what Triton counts of it, and its end."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Endpoint, Exposed, HttpAddress, ServerCounters, ServerDied
from targets.kserve.statistics import counters
from targets.ports import HOST
from targets.triton.cache import readings
from targets.triton.config import ModelConfig, only_instances
from targets.triton.server import CONTROL_TIMEOUT_S, TritonServer
from targets.triton.transport import Transport
from workloads.requests import Requests


@dataclass
class TritonDeployment:
    """A model loaded under an alias, with those that it is composed of."""

    config: Config
    _server: TritonServer
    _name: str
    _transport: Transport
    _forget: Callable[[], None]
    _retired: bool = False
    _composing: Mapping[str, str] = field(default_factory=dict)
    """Composing model -> name that it is loaded by."""
    _called: Sequence[str] = ()
    """Models that it calls by itself, by their own names: others may call them, too, so they stay when it goes."""
    keeps_answers: bool = False
    """Whether its configuration has a response cache; each deployment begins with an empty one."""
    _wanted: ModelConfig | None = None
    """What it was loaded with, and how; None of what is not loaded by itself."""
    _load: Callable[[], None] | None = None

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode tensors for this deployment, once."""
        return self._transport.endpoint(requests)

    def http_address(self) -> HttpAddress:
        """Return where the server is, and that it has the model under an alias."""
        return HttpAddress(HOST, self._server.port, own_path=f"/v2/models/{self._own}", path=f"/v2/models/{self._name}")

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one complete HTTP answer, or the message of a gRPC answer."""
        return self._transport.outputs(answer)

    def processes(self) -> Sequence[int]:
        """Return the server's processes; Triton's instances are its children and serve every alias."""
        return self._server.processes()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read Triton's statistics of this alias; those of models that it is composed of, or calls, in one reading."""
        path = "/v2/models/stats" if self._others else f"/v2/models/{self._name}/stats"
        taken_ns, answer = time.monotonic_ns(), self._server.get(path)
        return lambda: _counters(taken_ns, answer, self._name, self._others)

    def exposed(self, models: Mapping[str, str] | None = None) -> Exposed:
        """Return how the server's metrics are read, by the user's names of models.

        Args:
            models: whose metrics are meant, as `models`; None: its own.
        """
        return self._server.exposed(models or self.models)

    @property
    def models(self) -> Mapping[str, str]:
        """Name that a model is loaded by -> the user's name, of all that belong to it."""
        return {self._name: self._own} | {alias: model for model, alias in self._others.items()}

    @property
    def _others(self) -> Mapping[str, str]:
        """Other model that has a part in its answers -> name that it is loaded by."""
        return {**{name: name for name in self._called}, **self._composing}

    @property
    def _own(self) -> str:
        """The user's name of the model."""
        return self._name.rpartition("__")[0] or self._name

    def ask_once(self, requests: Requests) -> None:
        """Send the first item and check that it is answered. Raises TargetError with what came instead."""
        self._transport.ask_once(requests, CONTROL_TIMEOUT_S)

    def retire(self) -> None:
        """Unload the alias, and give back its shared memory."""
        self._retired = True
        self._transport.close()
        self._forget()
        for name in self._names:
            self._server.unload(name)

    def leaves(self, server: TritonServer, name: str, wanted: ModelConfig) -> bool:
        """Unload it for what is to be loaded on a server, and say so.

        Not where the server would do nothing, or change the number of instances in place.
        """
        if self._retired or server is not self._server or self._wanted is None:
            return False
        if name == self._name and only_instances(self._wanted, wanted):
            return False
        for own in self._names:
            server.unload(own)
        return True

    def names_on(self, server: TritonServer) -> Sequence[str]:
        """Return the names by which it is loaded on a server: an ensemble before the models that it needs."""
        return () if self._retired or server is not self._server else self._names

    def load_again(self) -> None:
        """Load it as it was: what was to take its place was refused. Raises ConfigRefused."""
        assert self._load is not None, "it has left"
        self._load()

    def replaced(self, server: TritonServer, names: Collection[str]) -> None:
        """Make way for what is loaded under the alias now: on that server, by those names."""
        if not self._retired and server is self._server:
            for name in self._names:
                if name not in names:
                    server.unload(name)
            self._transport.close()  # with another server its memory goes
        self._retired = True

    @property
    def _names(self) -> Sequence[str]:
        """What is loaded: an ensemble before the models that it needs."""
        return (self._name, *reversed(list(self._composing.values())))


def _counters(taken_ns: int, answer: bytes, name: str, composing: Mapping[str, str]) -> ServerCounters:
    """Return the counters of a model, with those of its composing models; of each its versions together."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for stats in json.loads(answer)["model_stats"]:
        found[stats["name"]].append(stats)
    if missing := [one for one in (name, *composing.values()) if one not in found]:
        raise ServerDied(f"tritonserver has no statistics of {', '.join(missing)}: it is not loaded any more")
    parts = {model: _counted(taken_ns, found[alias]) for model, alias in composing.items()}
    return replace(_counted(taken_ns, found[name]), parts=parts)


def _counted(taken_ns: int, versions: Sequence[Mapping[str, Any]]) -> ServerCounters:
    found = counters(taken_ns, versions)
    return replace(found, counters=readings(found.cache))
