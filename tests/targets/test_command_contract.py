"""The contract, kept by a server that is started for each deployment, and by one that runs already."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from targets.base import Config, Context, Export, Target, TargetError
from targets.command import server
from targets.command.options import CommandOptions
from targets.command.target import CommandTarget
from targets.ports import free_port
from targets.testing import RemoteTargetContract, TargetContract
from tests.support import window_server
from workloads.requests import Dataset

SERVER = Path(window_server.__file__).read_text()
REQUEST = {"path": "/predict", "body": '{"x": {{ X | tojson }} }'}
NUMBERS = {
    "metrics_url": "/metrics",
    "statistics": {
        "requests": "window_requests_total",
        "executions": "window_batches_total",
        "queue": "window_wait_seconds_total",
    },
    "server_metrics": {
        "queue_depth": {"type": "gauge", "reading": "window_queue", "better": "less"},
        "batch_size": {"type": "ratio", "reading": "window_requests_total", "per": "window_batches_total"},
    },
}


class TestCommand(TargetContract):
    other: ClassVar[Config] = {"workers": 2, "window": 0.0025}
    refused: ClassVar[Config] = {"workers": 0}

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        (folder / "server.py").write_text(SERVER)
        if not (folder / "knobs.yaml").exists():
            (folder / "knobs.yaml").write_text("workers: 1  # as it was installed\n")
        values = {
            "command": [
                sys.executable, "server.py", "--port", "{{ port }}",
                "--workers", "{{ workers }}", "--window-ms", "{{ window | ms }}",
            ],
            "values": "knobs.yaml",
            "knobs": {"workers": {"type": "int", "default": 1}, "window": {"type": "duration", "default": "0 ms"}},
            "ready": {"url": "/health"},
            "request": REQUEST,
            **NUMBERS,
            **options,
        }  # fmt: skip
        return CommandTarget(CommandOptions.model_validate(values), Context(folder, folder / "log.txt"))

    @staticmethod
    def requests() -> Dataset:
        return Dataset({"X": np.arange(40, dtype=np.float32).reshape(10, 4)})

    @classmethod
    def reread(cls, export: Export, folder: Path) -> Target:
        for path, text in export.files.items():
            (folder / path).write_text(text)
        return cls.make(folder)

    def be_impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "CONTROL_TIMEOUT_S", 0.5)


class TestCommandOneAtATime(TestCommand):
    """The same without metrics, where each deployment ends the one before."""

    counts: ClassVar[bool] = False
    silent: ClassVar[bool] = True

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        bare = {"metrics_url": None, "statistics": {}, "server_metrics": {}, "side_by_side": False}
        return TestCommand.make(folder, **{**bare, **options})


@pytest.fixture(scope="module")
def found() -> Iterator[None]:
    """A server that somebody else has started."""
    TestCommandAtAUrl.port = free_port(None)
    process = subprocess.Popen([sys.executable, window_server.__file__, "--port", str(TestCommandAtAUrl.port)])
    yield
    process.kill()
    process.wait()


@pytest.mark.usefixtures("found")
class TestCommandAtAUrl(RemoteTargetContract):
    port: ClassVar[int]

    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:
        values = {"url": f"http://127.0.0.1:{cls.port}", "ready": {"url": "/health"}, "request": REQUEST}
        return CommandTarget(
            CommandOptions.model_validate({**values, **NUMBERS, **options}), Context(folder, folder / "log.txt")
        )

    @staticmethod
    def requests() -> Dataset:
        return TestCommand.requests()

    def test_a_server_that_does_not_answer_is_not_started(self, tmp_path: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            target = self.make(tmp_path, url=f"http://127.0.0.1:{probe.getsockname()[1]}", apply_timeout="100 ms")
            started = time.monotonic()
            with pytest.raises(TargetError, match=r"target\.url: http://127.* was not ready within 0.1 s; start it"):
                target.start()
        assert time.monotonic() - started < 30

    def test_it_has_no_processes_and_nothing_to_export(self, started: Target) -> None:
        deployment = started.deploy({}, "one")
        assert list(deployment.processes()) == []
        export = started.export({})
        assert (export.files, export.originals) == ({}, {})
        started.verify(export, self.requests())
