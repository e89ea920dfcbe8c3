"""The SGLang target: a server of its own for each deployment, configured by the YAML of its `--config`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from targets.base import Config, Context, Knob, ServerDied, Value
from targets.common import prompts
from targets.exports import FOLDER, Start
from targets.openai.local import LocalTarget
from targets.openai.named import check_ids
from targets.openai.process import HOST, ModelServer
from targets.sglang import config as serve_config
from targets.sglang import installation, knobs, log, metrics, readback
from targets.sglang.options import SGLangOptions
from targets.sglang.own import OwnConfig
from workloads.requests import Requests


class SGLangTarget(LocalTarget):
    """SGLang, started here.

    Raises:
        TargetError: the user's YAML or the study's arguments cannot be used.
    """

    Options: ClassVar = SGLangOptions
    name = "SGLang"
    file_name = serve_config.NEW_NAME
    usage = "continuous"
    find = staticmethod(installation.find)
    reason = staticmethod(log.reason)
    counters = staticmethod(metrics.counters)

    def __init__(self, options: SGLangOptions, context: Context) -> None:
        self._options, self._own = options, OwnConfig(options, context)
        self._device = ""
        super().__init__(options, context, self._own)

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of SGLang's that can be tuned; a version may not know all of them."""
        return knobs.KNOBS

    @classmethod
    def availability(cls) -> str:
        """Say which SGLang would be taken."""
        found = installation.find(None)
        return f"{found.executable} -m {installation.MODULE} (from {found.source})"

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return knobs.knobs(self._own.values)

    def version(self) -> str:
        """Return SGLang's version."""
        return self._abilities().version

    def check_requests(self, requests: Requests) -> None:
        """Check that requests are prompts that the endpoint and the model take."""
        super().check_requests(requests)
        check_ids(prompts(requests), self._own.model, self._context)

    def check_file(self) -> None:
        """Check that this version knows the user's YAML."""
        able = self._abilities()
        serve_config.check_options(self._own.config, able.options, able.version)

    def misfit(self, name: str, value: Value) -> str:
        """Say why this version cannot be told a value."""
        return knobs.misfit(name, value, self._abilities().options)

    def command(self, file: Path, port: int) -> Sequence[str]:
        """Return `python -m sglang.launch_server ...`."""
        served = [str(self.found().executable), "-m", installation.MODULE, "--config", str(file), *self._own.arguments]
        return [*served, "--enable-metrics", "--host", HOST, "--port", str(port)]

    def starting(self, text: str, home: Path) -> Start:  # noqa: ARG002 - the file is named as it is
        """Return `python3 -m sglang.launch_server ...`."""
        program = ("python3", "-m", "sglang.launch_server")
        return Start(
            program=program,
            files=(f"--config={FOLDER}/{self._own.exported}",),
            home=home,
            image="lmsysorg/sglang:latest",
            in_image=program,
            folder="/config",
            ports=(30000,),
            in_container=("--host=0.0.0.0",),
            docker=("--gpus=all", "--ipc=host"),
            gpus=1,
            shared_memory=True,
            env=self._options.env,
        )

    def mismatches(self, config: Config, running: ModelServer) -> list[str]:
        """Ask SGLang what it took."""
        said = _server_info(running)
        self._device = str(said.get("device") or "")
        return readback.mismatches(config, said)

    def traits(self) -> Mapping[str, str]:
        """Return the device that it serves on."""
        return {"device": self._device}

    def _abilities(self) -> installation.Abilities:
        return installation.abilities(self.found(), self._own.environment())


def _server_info(running: ModelServer) -> Mapping[str, object]:
    try:
        return readback.server_info(running.get("/server_info"))
    except ServerDied:  # older versions have it under the other name
        return readback.server_info(running.get("/get_server_info"))
