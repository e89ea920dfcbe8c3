"""A run of the simulated server: its process, its control API, its end."""

import json
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from targets.base import ConfigRefused, ServerDied, ServerHung, TargetError
from targets.process import GuardedProcess
from targets.simulated.server import HOST

CONTROL_TIMEOUT_S = 10.0


class SimulatedServer:
    """A server that was started and serves.

    Args:
        port: to serve on; None: a free one.
        timeout_s: how long the start may take.
        log_path: where what it writes goes.
        cpus: CPUs it may use, None: any.
        env: its environment.

    Raises:
        TargetError: it did not start, with its own reason.
    """

    def __init__(
        self, *, port: int | None, timeout_s: float, log_path: Path, cpus: frozenset[int] | None, env: Mapping[str, str]
    ) -> None:
        self._log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = log_path.stat().st_size if log_path.exists() else 0
        workdir = Path(tempfile.mkdtemp(prefix="paretune-"))
        announced = workdir / "port"
        command = [sys.executable, "-P", "-m", "targets.simulated.server", "--announce", str(announced)]
        try:
            self._process = GuardedProcess(
                [*command, "--port", str(port or 0)],
                env=env,
                log_path=log_path,
                cleanup=workdir,
                shm_prefix=f"paretune_{uuid.uuid4().hex}_",
                cpus=cpus,
            )
        except BaseException:
            shutil.rmtree(workdir, ignore_errors=True)
            raise
        try:
            self.port = self._announced_port(announced, timeout_s)
        except BaseException:
            self._process.stop()
            raise

    def _announced_port(self, announced: Path, timeout_s: float) -> int:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.running():
            if announced.exists():
                return int(announced.read_text())
            time.sleep(0.01)
        ended = self._process.exit_code()
        reason = self._last_words() or (f"no answer within {timeout_s:g} s" if ended is None else f"exit code {ended}")
        raise TargetError(f"the simulated server did not start: {reason}; its log: {self._log_path}")

    def _last_words(self) -> str:
        """Return the last line that this run wrote into its log, "" if there is none."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def ask(self, method: str, path: str, body: str | None = None) -> bytes:
        """Return the body of an answer, not parsed: statistics are read beside a running load.

        Raises:
            ConfigRefused: the server answered with an error; with its reason.
            ServerDied: it did not answer.
        """
        connection = HTTPConnection(HOST, self.port, timeout=CONTROL_TIMEOUT_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, HTTPException) as error:
            raise self._lost(error) from None
        finally:
            connection.close()
        if answer.status != 200:
            raise ConfigRefused(f"the simulated server refused {method} {path}: {json.loads(data)['error']}")
        return data

    def _lost(self, error: Exception) -> ServerDied:
        if self._process.wait_for_exit(0.5):
            return ServerDied(f"the simulated server ended with exit code {self._process.exit_code()}")
        return ServerHung(f"the simulated server does not answer ({error})")

    def alive(self) -> bool:
        """Whether the process runs and answers."""
        if not self._process.running():
            return False
        try:
            self.ask("GET", "/ready")
        except TargetError:
            return False
        return True

    def processes(self) -> list[int]:
        """Process ids of the server: one."""
        return self._process.tree()

    def stop(self) -> None:
        """End it; safe to call twice."""
        self._process.stop()
