"""The llama.cpp target: a server of its own for each deployment, configured by an environment file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from targets.base import Config, Context, Knob, Value
from targets.exports import Start
from targets.llamacpp import config as env_file
from targets.llamacpp import help as helped
from targets.llamacpp import installation, knobs, log, metrics, readback
from targets.llamacpp.options import LlamaCppOptions
from targets.llamacpp.own import OwnConfig
from targets.openai.local import LocalTarget
from targets.openai.process import HOST, ModelServer

_CLOSED_BY_SERVER = {"Connection": "close"}
"""llama-server closes a connection after each stream and announces it only when it was asked to: without this, the next
request on it would be lost."""
_WITH_FILE = 'set -a && . "$0" && set +a && exec "$@"'


class LlamaCppTarget(LocalTarget):
    """llama-server, started here.

    Raises:
        TargetError: the user's environment file or the study's arguments cannot be used.
    """

    Options: ClassVar = LlamaCppOptions
    name = "llama-server"
    file_name = env_file.NEW_NAME
    usage = "final"
    find = staticmethod(installation.find)
    reason = staticmethod(log.reason)
    counters = staticmethod(metrics.counters)

    def __init__(self, options: LlamaCppOptions, context: Context) -> None:
        self._options, self._own = options, OwnConfig(options, context)
        self._build = ""
        super().__init__(options, context, self._own)

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of llama.cpp's that can be tuned; a version may not know all of them."""
        return knobs.KNOBS

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return knobs.knobs(self._own.values)

    def version(self) -> str:
        """Return llama.cpp's version."""
        return self._abilities().version

    def check_file(self) -> None:
        """Check that this version knows the variables of the user's file."""
        able = self._abilities()
        env_file.check_variables(self._own.file, able.variables, able.version)

    def misfit(self, name: str, value: Value) -> str:
        """Say why this version cannot be told a value."""
        variables = self._abilities().variables
        if name not in knobs.BY_NAME:
            return f"has no knob `{name}`; known: {', '.join(knobs.BY_NAME)}"
        variable = knobs.BY_NAME[name].variable
        if variable not in variables:
            return f"has no {variable}, so `{name}` cannot be tuned"
        if value is False and not helped.can_be_false(variable, variables):
            return f"cannot be told that {variable} is false, so neither can `{name}`"
        return ""

    def command(self, file: Path, port: int) -> Sequence[str]:
        """Return `llama-server ...`, with an environment file as a shell reads it, of nothing but assignments."""
        env_file.parse(file.read_text(encoding="utf-8"), self._own.exported)
        served = [str(self.found().executable), *self._own.arguments]
        return ["/bin/sh", "-c", _WITH_FILE, str(file), *served, "--metrics", "--host", HOST, "--port", str(port)]

    def starting(self, text: str, home: Path) -> Start:
        """Return `llama-server ...`, with what the file says in its environment."""
        return Start(
            program=("llama-server",),
            files=(),
            home=home,
            image="ghcr.io/ggml-org/llama.cpp:server",
            folder="/config",
            ports=(8080,),
            env={**self._options.env, **env_file.parse(text, self._own.exported).said},
        )

    def mismatches(self, config: Config, running: ModelServer) -> list[str]:
        """Ask llama-server what it took."""
        took = readback.taken(running.get("/props"), running.get("/v1/models"), running.said())
        self._build = took.build
        return readback.mismatches(config, took)

    def request_headers(self) -> Mapping[str, str]:
        """Return the headers of every request."""
        return {**super().request_headers(), **_CLOSED_BY_SERVER}

    def traits(self) -> Mapping[str, str]:
        """Return the commit that it was built from."""
        return {"server_build": self._build}

    def _abilities(self) -> installation.Abilities:
        return installation.abilities(self.found(), self._own.environment())
