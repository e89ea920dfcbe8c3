"""The vLLM target: a server of its own for each deployment, configured by the YAML that `vllm serve --config` takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from targets.base import Config, Context, Knob, Value
from targets.common import prompts
from targets.exports import FOLDER, Start
from targets.openai.local import LocalTarget
from targets.openai.named import check_ids
from targets.openai.process import HOST, ModelServer
from targets.vllm import config as serve_config
from targets.vllm import installation, knobs, log, metrics, readback
from targets.vllm.options import VLLMOptions
from targets.vllm.own import OwnConfig
from workloads.requests import Requests


class VLLMTarget(LocalTarget):
    """vLLM, started here.

    Raises:
        TargetError: the user's YAML or the study's arguments cannot be used.
    """

    Options: ClassVar = VLLMOptions
    name = "vLLM"
    file_name = serve_config.NEW_NAME
    usage = "continuous"
    find = staticmethod(installation.find)
    reason = staticmethod(log.reason)
    counters = staticmethod(metrics.counters)

    def __init__(self, options: VLLMOptions, context: Context) -> None:
        self._options, self._own = options, OwnConfig(options, context)
        self._device = ""
        super().__init__(options, context, self._own)

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Every knob of vLLM's that can be tuned; a version may not know all of them."""
        return knobs.KNOBS

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        return knobs.knobs(self._options.speculative, self._own.values)

    def version(self) -> str:
        """Return vLLM's version."""
        return self._abilities().version

    def check_requests(self, requests: Requests) -> None:
        """Check that requests are prompts that the endpoint and the model take."""
        super().check_requests(requests)
        check_ids(prompts(requests), self._own.model, self._context)

    def check_file(self) -> None:
        """Check that this version knows the user's YAML."""
        able = self._abilities()
        serve_config.check_options(self._own.config, able.options, able.version)
        self._device = able.device

    def misfit(self, name: str, value: Value) -> str:
        """Say why this version cannot be told a value."""
        return knobs.misfit(name, value, self._abilities().options)

    def command(self, file: Path, port: int) -> Sequence[str]:
        """Return `vllm serve ...`."""
        model = [self._own.positional] if self._own.positional else []
        address = [f"--host={HOST}", f"--port={port}"]
        return [str(self.found().executable), "serve", *model, "--config", str(file), *self._own.arguments, *address]

    def starting(self, text: str, home: Path) -> Start:  # noqa: ARG002 - the file is named as it is
        """Return `vllm serve ...`."""
        model = (self._own.positional,) if self._own.positional else ()
        return Start(
            program=("vllm", "serve"),
            files=(*model, f"--config={FOLDER}/{self._own.exported}"),
            home=home,
            image="vllm/vllm-openai:latest",
            folder="/config",
            ports=(8000,),
            docker=("--gpus=all", "--ipc=host"),
            gpus=1,
            shared_memory=True,
            env=self._options.env,
        )

    def mismatches(self, config: Config, running: ModelServer) -> list[str]:
        """Read back from the log what vLLM took."""
        said = running.said()
        self._device = log.device(said) or self._device
        return readback.mismatches(config, said, self._abilities().options)

    def traits(self) -> Mapping[str, str]:
        """Return the device that it serves on."""
        return {"device": self._device}

    def _abilities(self) -> installation.Abilities:
        return installation.abilities(self.found(), self._own.environment())
