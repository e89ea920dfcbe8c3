"""A run of a server of language models: its command line, its readiness, its end."""

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from targets.base import ConfigRefused, Context, ServerDied, ServerHung
from targets.hiding import is_secret, secrets_below, secrets_in, without
from targets.log import DeploymentLog
from targets.ports import free_port, is_free
from targets.process import GuardedProcess

HOST = "127.0.0.1"
CONTROL_TIMEOUT_S = 10.0
START_ATTEMPTS = 3
_PROBE_S = 5.0  # SGLang takes a second to say that it is well
_PAUSE_S = 0.05
_IN_FOLDER = 'cd -- "$0" && exec "$@"'


@dataclass(frozen=True)
class Launch:
    """How a server is started.

    Attributes:
        name: as errors call it.
        file: name of its configuration file.
        text: of that file.
        command: (the file, the port) -> the command line.
        env: all of its environment.
        headers: that its control requests need.
        reason: finds in its log why it ended, "" where the log does not say.
        port: to serve on, None: a free one.
        timeout_s: how long the start may take.
    """

    name: str
    file: str
    text: str
    command: Callable[[Path, int], Sequence[str]]
    env: Mapping[str, str]
    headers: Mapping[str, str]
    reason: Callable[[str], str]
    port: int | None
    timeout_s: float

    def hidden(self, text: str) -> str:
        """Return a text without the keys that file, arguments and environment have and the requests bring along."""
        given = {"env": dict(self.env), "command": list(self.command(Path(self.file), 0))}
        keys = [value for _, value in secrets_below(given) if is_secret(value)]
        return without(text, [*keys, *secrets_in(self.text), *(one.split()[-1] for one in self.headers.values())])


def start(launch: Launch, alias: str, context: Context) -> "ModelServer":
    """Start a server and wait until it serves; a free port that another program took meanwhile is tried again.

    Raises:
        TargetError: the port that is wanted is in use.
        ConfigRefused: the server ended before it was ready, with its own reason.
        ServerHung: it was not ready in time.
    """
    for _ in range(START_ATTEMPTS - 1 if launch.port is None else 0):
        port = free_port(None)
        try:
            return ModelServer(launch, port, alias, context)
        except ConfigRefused:
            if is_free(port):
                raise
    return ModelServer(launch, free_port(launch.port), alias, context)


class ModelServer:
    """A server that was started and serves.

    Raises:
        ConfigRefused: it ended before it was ready, with its own reason.
        ServerHung: it was not ready in time.
    """

    def __init__(self, launch: Launch, port: int, alias: str, context: Context) -> None:
        self.port, self.stopped = port, False
        self._launch, self.name = launch, launch.name
        self._workdir = Path(tempfile.mkdtemp(prefix="paretune-"))
        title = f"{launch.name} on port {port}\n{launch.text}"
        self._log = DeploymentLog(context.log_path, alias, title, launch.hidden)
        try:
            self._process = self._launched(context)
        except BaseException:
            shutil.rmtree(self._workdir, ignore_errors=True)
            raise
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _launched(self, context: Context) -> GuardedProcess:
        staged = self._workdir / self._launch.file
        staged.write_text(self._launch.text, encoding="utf-8")
        return GuardedProcess(
            # A process is started where Paretune runs; this one changes into the study's folder first.
            ["/bin/sh", "-c", _IN_FOLDER, str(context.folder), *self._launch.command(staged, self.port)],
            env={**self._launch.env, "TMPDIR": str(self._workdir)},
            log_path=self._log.path,
            cleanup=self._workdir,
            shm_prefix=f"paretune_{uuid.uuid4().hex}_",
            cpus=context.cpus,
        )

    def _wait_until_ready(self) -> None:
        launch, deadline = self._launch, time.monotonic() + self._launch.timeout_s
        while self._process.running():
            left = deadline - time.monotonic()
            if left <= 0:
                said = launch.hidden(launch.reason(self._log.text()))
                raise ServerHung(
                    f"{launch.name} was not ready within {launch.timeout_s:g} s{f': {said}' if said else ''}"
                )
            if self._answers(min(_PROBE_S, left)) and self._process.running():
                self._process.note_shared()
                return
            time.sleep(_PAUSE_S)
        raise ConfigRefused(self._why(f"{launch.name} ended before it was ready"))

    def _why(self, what: str) -> str:
        """Say what happened with the server's own reason, or with the end of its log."""
        found = self._launch.hidden(self._launch.reason(self._log.text()))
        reason = found or self._log.last_words() or "it wrote nothing"
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

    def metrics(self, timeout_s: float) -> bytes:
        """Return the body of /metrics. Raises ServerHung when there is none within the time."""
        try:
            status, body = self._get("/metrics", timeout_s)
        except (OSError, HTTPException) as error:
            raise ServerHung(f"{self._launch.name} does not answer ({error or type(error).__name__})") from None
        if status != 200:
            raise ServerHung(f"GET /metrics: HTTP {status}")
        return body

    def _get(self, path: str, timeout_s: float) -> tuple[int, bytes]:
        connection = HTTPConnection(HOST, self.port, timeout=timeout_s)
        try:
            connection.request("GET", path, headers=dict(self._launch.headers))
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
            return ServerDied(self._why(f"{self._launch.name} ended"))
        return ServerHung(f"{self._launch.name} does not answer ({error or type(error).__name__})")

    def alive(self) -> bool:
        """Whether the process runs and answers."""
        return self._process.running() and self._answers(CONTROL_TIMEOUT_S)

    def processes(self) -> list[int]:
        """Process ids of the server and all that it started."""
        return self._process.tree()

    def stop(self) -> None:
        """End it with everything it started; its log is kept. Safe to call twice."""
        if self.stopped:
            return
        self.stopped = True
        self._process.stop()
        shutil.rmtree(self._workdir, ignore_errors=True)
        self._log.collect()
