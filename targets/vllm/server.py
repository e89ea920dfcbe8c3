"""A run of `vllm serve`: its command line, its readiness, its end."""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from targets.base import ConfigRefused, Context, ServerDied, ServerHung
from targets.log import DeploymentLog
from targets.ports import free_port, is_free
from targets.process import GuardedProcess
from targets.vllm import log as words

HOST = "127.0.0.1"
CONTROL_TIMEOUT_S = 10.0
START_ATTEMPTS = 3
STAGED_NAME = "serve.yaml"
_PROBE_S = 1.0
_PAUSE_S = 0.05
_IN_FOLDER = 'cd -- "$0" && exec "$@"'


@dataclass(frozen=True)
class Launch:
    """How vLLM is started.

    Attributes:
        executable: the command `vllm`.
        model: folder or name, None where the YAML has it.
        text: of the YAML for `--config`.
        arguments: further ones; they win over the YAML.
        env: environment variables besides those of Paretune.
        port: to serve on, None: a free one.
        timeout_s: how long the start may take.
    """

    executable: Path
    model: str | None
    text: str
    arguments: Sequence[str]
    env: Mapping[str, str]
    port: int | None
    timeout_s: float


def start(launch: Launch, alias: str, context: Context) -> "VLLMServer":
    """Start a server and wait until it serves; a free port that another program took meanwhile is tried again.

    Raises:
        TargetError: the port that is wanted is in use.
        ConfigRefused: vLLM ended before it was ready, with its own reason.
        ServerHung: it was not ready in time.
    """
    for _ in range(START_ATTEMPTS - 1 if launch.port is None else 0):
        port = free_port(None)
        try:
            return VLLMServer(launch, port, alias, context)
        except ConfigRefused:
            if is_free(port):
                raise
    return VLLMServer(launch, free_port(launch.port), alias, context)


class VLLMServer:
    """A vLLM that was started and serves.

    Raises:
        ConfigRefused: it ended before it was ready, with its own reason.
        ServerHung: it was not ready in time.
    """

    def __init__(self, launch: Launch, port: int, alias: str, context: Context) -> None:
        self.port, self.stopped = port, False
        self._workdir = Path(tempfile.mkdtemp(prefix="paretune-"))
        self._log = DeploymentLog(context.log_path, alias, f"vllm serve on port {port}\n{launch.text}", str)
        try:
            self._process = self._launched(launch, context)
        except BaseException:
            shutil.rmtree(self._workdir, ignore_errors=True)
            raise
        try:
            self._wait_until_ready(launch.timeout_s)
        except BaseException:
            self.stop()
            raise

    def _launched(self, launch: Launch, context: Context) -> GuardedProcess:
        staged = self._workdir / STAGED_NAME
        staged.write_text(launch.text, encoding="utf-8")
        command = [
            str(launch.executable),
            "serve",
            *([launch.model] if launch.model else []),
            "--config",
            str(staged),
            *launch.arguments,
            f"--host={HOST}",
            f"--port={self.port}",
        ]
        return GuardedProcess(
            # A process is started where Paretune runs; this one changes into the study's folder first.
            ["/bin/sh", "-c", _IN_FOLDER, str(context.folder), *command],
            env={**_own_environment(self._workdir), **launch.env},
            log_path=self._log.path,
            cleanup=self._workdir,
            shm_prefix=f"paretune_{uuid.uuid4().hex}_",
            cpus=context.cpus,
        )

    def _wait_until_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._process.running():
            if self._answers(_PROBE_S) and self._process.running():
                return
            if time.monotonic() > deadline:
                said = words.reason(self._log.text())
                raise ServerHung(f"vLLM was not ready within {timeout_s:g} s{f': {said}' if said else ''}")
            time.sleep(_PAUSE_S)
        raise ConfigRefused(self._why("vLLM ended before it was ready"))

    def _why(self, what: str) -> str:
        """Say what happened with vLLM's own reason, or with the end of its log."""
        text = self._log.text()
        reason = words.reason(text) or self._log.last_words() or "it wrote nothing"
        return f"{what} (exit code {self._process.exit_code()}): {reason}"

    def said(self) -> str:
        """Return what it has written so far."""
        return self._log.text()

    def get(self, path: str) -> bytes:
        """Return the body of an answer, not parsed: this is done beside a running load.

        Raises:
            ServerDied: no answer, or none with status 200.
        """
        try:
            status, body = self._get(path, CONTROL_TIMEOUT_S)
        except (OSError, HTTPException) as error:
            raise self._lost(error) from None
        if status != 200:
            raise ServerDied(f"GET {path}: HTTP {status}: {body[:200]!r}")
        return body

    def _get(self, path: str, timeout_s: float) -> tuple[int, bytes]:
        connection = HTTPConnection(HOST, self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _answers(self, timeout_s: float) -> bool:
        try:
            return self._get("/health", timeout_s)[0] == 200
        except (OSError, HTTPException):
            return False

    def _lost(self, error: Exception) -> ServerDied:
        if self._process.wait_for_exit(0.5):
            return ServerDied(self._why("vLLM ended"))
        return ServerHung(f"vLLM does not answer ({error or type(error).__name__})")

    def alive(self) -> bool:
        """Whether the process runs and answers."""
        return self._process.running() and self._answers(CONTROL_TIMEOUT_S)

    def processes(self) -> list[int]:
        """Process ids of the server, its engine and its workers."""
        return self._process.tree()

    def stop(self) -> None:
        """End it with everything it started; its log is kept. Safe to call twice."""
        if self.stopped:
            return
        self.stopped = True
        self._process.stop()
        shutil.rmtree(self._workdir, ignore_errors=True)
        self._log.collect()


def _own_environment(workdir: Path) -> dict[str, str]:
    """Return our environment, with the server's temporary files in a folder that goes with it.

    What is compiled is kept for the next start. A search is no use of vLLM that its
    makers should count.
    """
    kept = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
    return {
        "VLLM_NO_USAGE_STATS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(kept),
        **os.environ,
        "TMPDIR": str(workdir),
    }
