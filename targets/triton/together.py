"""Several configurations loaded at once: Triton loads models beside one another, and mostly waits while it does."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection

from targets.base import Config, ConfigRefused
from targets.ports import HOST
from targets.triton import config as model_config
from targets.triton import loading
from targets.triton.repository import UserModel, stage
from targets.triton.server import TritonServer


@dataclass(frozen=True)
class Planned:
    """What is to be loaded under an alias.

    Attributes:
        alias: the alias.
        config: the knobs.
        server: that loads it.
        model: the user's files.
        wanted: its configuration.
        name: that it is loaded by.
    """

    alias: str
    config: Config
    server: TritonServer
    model: UserModel
    wanted: model_config.ModelConfig
    name: str

    def load(self) -> None:
        """Load it by itself, see `loading.load`."""
        loading.load(self.server, self.model, self.wanted, self.name, self.config)


def load(planned: Sequence[Planned]) -> None:
    """Load all of them and read each back.

    Raises:
        ConfigRefused: they cannot be loaded at once, or the server refuses one or has another one; none is left loaded.
        ServerDied: it did not answer.
    """
    server = planned[0].server
    if any(one.server is not server for one in planned):
        raise ConfigRefused("they need servers of different flags; load them one after the other")
    if any(one.model.unknown for one in planned):
        raise ConfigRefused("the load API does not take their config.pbtxt as JSON; load them one after the other")
    for one in planned:
        stage(one.model.directory, server.repository, one.name, one.wanted)
    configs = {one.name: model_config.to_json(one.model.written(one.wanted), one.name) for one in planned}
    try:
        server.ask(lambda _: _load_each(server, configs))
        for one in planned:
            loading.read_back(server, one.name, one.wanted, one.config)
    except ConfigRefused:
        for one in planned:
            with suppress(ConfigRefused):
                server.unload(one.name)
        raise


def _load_each(server: TritonServer, configs: Mapping[str, str]) -> None:
    """Load models, each in a thread: the official client is of the thread that made it, and asks one at a time."""
    with ThreadPoolExecutor(len(configs)) as pool:
        answers = list(pool.map(partial(_load_one, server.port, server.timeout_s), *zip(*configs.items(), strict=True)))
    if refused := next(filter(None, answers), None):
        raise ConfigRefused(refused)


def _load_one(port: int, timeout_s: float, name: str, config: str) -> str:
    """Load a model, and return why the server refuses it, "" where it does not. Raises OSError, HTTPException."""
    with closing(HTTPConnection(HOST, port, timeout=timeout_s)) as connection:
        body = json.dumps({"parameters": {"config": config}})
        connection.request("POST", f"/v2/repository/models/{name}/load", body)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    return "" if answer.status == 200 else said or f"HTTP {answer.status}"
