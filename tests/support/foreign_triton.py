"""A tritonserver that is somebody else's: started by the test, with its own repository and command line."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tritonclient.http

from targets.ports import choose_ports
from targets.process import GuardedProcess
from targets.triton.installation import find_installation
from tests.conftest import DIGITS


@dataclass(frozen=True)
class ForeignTriton:
    """A server and its addresses."""

    process: GuardedProcess
    repository: Path
    url: str
    grpc_url: str
    metrics_url: str
    model: str = "digits"

    @property
    def client(self) -> tritonclient.http.InferenceServerClient:
        """A client of its own control plane."""
        return tritonclient.http.InferenceServerClient(self.url.removeprefix("http://"), network_timeout=60.0)

    def config(self, model: str = "") -> Mapping[str, Any]:
        """Return the configuration that the model has, or another one."""
        found: Mapping[str, Any] = self.client.get_model_config(model or self.model)
        return found

    def urls(self, protocol: str) -> dict[str, str]:
        """Return the keys of a study that sends its requests over a protocol."""
        return {"url": self.url} if protocol == "http" else {"grpc_url": self.grpc_url}


@contextmanager
def foreign_triton(
    folder: Path, mode: str, flags: Sequence[str] = (), model: str = "digits"
) -> Iterator[ForeignTriton]:
    """Start a server in a control mode on the models of a folder, or a copy of the digits model; stop it at the end."""
    if not (folder / "models").exists():
        shutil.copytree(DIGITS / "models", folder / "models")
    work = folder / "work"
    work.mkdir()
    found = find_installation(None, work)
    ports = choose_ports({"http": None, "grpc": None, "metrics": None})
    command = [
        str(found.executable),
        *found.flags,
        f"--model-repository={folder / 'models'}",
        f"--model-control-mode={mode}",
        *([f"--load-model={model}"] if mode == "explicit" else []),
        *(f"--{name}-port={port}" for name, port in ports.items()),
        *(f"--{name}-address=127.0.0.1" for name in ports),
        f"--backend-config=python,shm-region-prefix-name={folder.name}_{os.getpid()}_",
        *flags,
    ]
    process = GuardedProcess(
        command,
        env={**os.environ, **found.env},
        log_path=folder / "server.log",
        cleanup=work,
        shm_prefix=f"{folder.name}_{os.getpid()}_",
    )
    http, grpc, metrics = (f"127.0.0.1:{ports[name]}" for name in ("http", "grpc", "metrics"))
    server = ForeignTriton(
        process, folder / "models", f"http://{http}", f"grpc://{grpc}", f"http://{metrics}/metrics", model
    )
    try:
        _wait_until_ready(server, folder / "server.log")
        yield server
    finally:
        process.stop()


def _wait_until_ready(server: ForeignTriton, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.process.running():
        try:
            if server.client.is_model_ready(server.model):
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())
