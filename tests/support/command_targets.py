"""What the tests of the command target share: a server that says what it was started with, and questions to it."""

import json
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from targets.base import Deployment
from targets.command.target import CommandTarget
from workloads.requests import Dataset

ECHO = Path(__file__).with_name("echo_server.py")
COMMAND = [sys.executable, str(ECHO), "--port", "{{ port }}"]
ROWS = Dataset({"X": np.arange(6.0).reshape(3, 2)})
MakeCommand = Callable[..., CommandTarget]


def started(target: CommandTarget) -> CommandTarget:
    target.start()
    return target


def said(deployment: Deployment) -> dict[str, Any]:
    """Return what the server says it was started with and asked for."""
    endpoint = deployment.endpoint(ROWS)
    connection = HTTPConnection(endpoint.host, endpoint.port, timeout=10)
    connection.request("GET", "/anything")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert isinstance(answer, dict)
    return answer


def log(folder: Path) -> str:
    """Return the log of the run of a target that was made in a folder."""
    path = folder / "run" / "log.txt"
    return path.read_text() if path.exists() else ""


def knob(kind: str, default: object, **more: object) -> dict[str, object]:
    return {"type": kind, "default": default, **more}
