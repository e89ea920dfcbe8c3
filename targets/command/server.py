"""The server of a deployment: a process of its own that is started here, or one that runs already."""

import shlex
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from targets.base import ConfigRefused, Context, ServerDied, ServerHung
from targets.command.address import Address, NoAnswer, ask
from targets.command.blueprint import Launch
from targets.log import DeploymentLog
from targets.process import GuardedProcess

HOST = "127.0.0.1"
CONTROL_TIMEOUT_S = 10.0
_PROBE_S = 2.0
_PAUSE_S = 0.01
_IN_FOLDER = 'cd -- "$0" && exec "$@"'


class Server(Protocol):
    """What a deployment asks of its server."""

    @property
    def address(self) -> Address:
        """Where it is."""
        ...

    def processes(self) -> list[int]:
        """Process ids, none where it runs elsewhere."""
        ...

    def require_running(self) -> None:
        """Check what can be told at once. Raises ServerDied when it has ended."""
        ...

    def lost(self, error: object) -> ServerDied:
        """Say why a question to it was not answered."""
        ...

    def alive(self) -> bool:
        """Whether it runs and answers."""
        ...

    def stop(self) -> None:
        """End it if it was started here; safe to call twice."""
        ...


@dataclass(frozen=True)
class Readiness:
    """How it is told that a server serves.

    Attributes:
        address: where it is.
        url: that answers with a status from 200 to 299, None where the port or the log tells.
        log: text that it writes, None where the port tells.
    """

    address: Address
    url: str | None
    log: str | None

    def holds(self, written: Callable[[], str]) -> bool:
        """Whether the server is ready; whatever tells it, its port has to accept connections too."""
        if self.log is not None and self.log not in written():
            return False
        if self.url is not None and not self._url_answers(_PROBE_S):
            return False
        return self.address.accepts(_PROBE_S)

    def answers(self, timeout_s: float) -> bool:
        """Whether a server that was ready answers: its URL, or with anything that is HTTP."""
        if self.url is not None:
            return self._url_answers(timeout_s)
        try:
            ask(self.address.url("/"), self.address.tls, timeout_s, "HEAD")
        except NoAnswer:
            return False
        return True

    def _url_answers(self, timeout_s: float) -> bool:
        assert self.url is not None, "only asked with a URL"
        try:
            status, _ = ask(self.url, self.address.tls, timeout_s)
        except NoAnswer:
            return False
        return 200 <= status < 300


class StartedServer:
    """A server that was started and is ready.

    Args:
        command: its argument list, or that of a script that starts it.
        launch: what its arguments and environment have to be; None: they are not read back.
        readiness: how it is told that it serves.
        log: what it writes.
        workdir: folder of its own, removed with it.
        timeout_s: how long the start may take.

    Raises:
        ConfigRefused: it ended before it was ready, with its last words; or it is not what was asked for.
        ServerHung: it was not ready in time.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        launch: Launch | None,
        readiness: Readiness,
        context: Context,
        log: DeploymentLog,
        workdir: Path,
        timeout_s: float,
    ) -> None:
        self.address, self.stopped = readiness.address, False
        self._readiness, self._log, self._workdir = readiness, log, workdir
        try:
            self._process = GuardedProcess(
                # A process is started where Paretune runs; this one changes into the study's folder first.
                ["/bin/sh", "-c", _IN_FOLDER, str(context.folder), *command],
                env={**context.inherited(), **env},
                log_path=log.path,
                cleanup=workdir,
                shm_prefix=f"paretune_{uuid.uuid4().hex}_",
                cpus=context.cpus,
            )
        except BaseException:
            shutil.rmtree(workdir, ignore_errors=True)
            raise
        try:
            self._wait_until_ready(timeout_s)
            if launch is not None:
                self._read_back(launch)
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._process.running():
            if self._readiness.holds(self._log.text) and self._process.running():
                return
            if time.monotonic() > deadline:
                raise ServerHung(f"the server was not ready within {timeout_s:g} s{self._last_words()}")
            time.sleep(_PAUSE_S)
        code = self._process.exit_code()
        raise ConfigRefused(f"the server ended with exit code {code} before it was ready{self._last_words()}")

    def _read_back(self, launch: Launch) -> None:
        """Check that a process of the server has the arguments, the environment and the port that were asked for."""
        found = [process for pid in self._process.tree() if (process := _seen(pid)) is not None]
        if not any(one.has_arguments(launch.arguments) for one in found):
            asked, running = shlex.join(launch.arguments), "; ".join(shlex.join(one.arguments) for one in found)
            raise ConfigRefused(
                self._log.hide(f"no process of the server has the arguments that were asked for, {asked}; there is: ")
                + self._log.hide(f"{running or 'none'}. If it starts in another way, set `target.read_back: false`")
            )
        if not any(launch.env.items() <= one.env.items() for one in found):
            raise ConfigRefused(
                f"no process of the server has the environment that was asked for ({', '.join(launch.env)}). "
                "If it starts in another way, set `target.read_back: false`"
            )
        port = self.address.port
        if not _listen(self._process.tree(), port):
            raise ConfigRefused(
                f"no process of the server listens on port {port}, though something does{self._last_words()}. "
                "If it serves from elsewhere, set `target.read_back: false`"
            )

    def _last_words(self) -> str:
        said = self._log.last_words()
        return f": {said}" if said else f"; it wrote nothing; the log: {self._log.collected}"

    def processes(self) -> list[int]:
        """Process ids of the server and what it started."""
        return self._process.tree()

    def require_running(self) -> None:
        """Raise ServerDied when it has ended."""
        if not self._process.running():
            raise self._died()

    def lost(self, error: object) -> ServerDied:
        """Say whether it ended or does not answer."""
        if self._process.wait_for_exit(0.5):
            return self._died()
        return ServerHung(f"the server does not answer ({error})")

    def _died(self) -> ServerDied:
        return ServerDied(f"the server ended with exit code {self._process.exit_code()}{self._last_words()}")

    def alive(self) -> bool:
        """Whether the process runs and answers."""
        return self._process.running() and self._readiness.answers(CONTROL_TIMEOUT_S)

    def stop(self) -> None:
        """End it with everything it started; its log is kept."""
        if not self.stopped:
            self.stopped = True
            self._process.stop()
            shutil.rmtree(self._workdir, ignore_errors=True)
            self._log.collect()


@dataclass(frozen=True)
class FoundServer:
    """A server that runs already."""

    readiness: Readiness

    @property
    def address(self) -> Address:
        """Where it is."""
        return self.readiness.address

    def processes(self) -> list[int]:
        """None: it runs elsewhere."""
        return []

    def require_running(self) -> None:
        """Raise ServerHung when its port does not accept a connection."""
        if not self.address.accepts(CONTROL_TIMEOUT_S):
            raise self.lost("no connection")

    def lost(self, error: object) -> ServerDied:
        """Say that it does not answer."""
        return ServerHung(f"the server at {self.address.url('/')} does not answer ({error})")

    def alive(self) -> bool:
        """Whether it answers."""
        return self.readiness.answers(CONTROL_TIMEOUT_S)

    def stop(self) -> None:
        """Leave it as it is."""


@dataclass(frozen=True)
class _Process:
    arguments: Sequence[str]
    env: Mapping[str, str]

    def has_arguments(self, asked: Sequence[str]) -> bool:
        """Whether this is the program asked for, or what became of it: a script's interpreter, what `nice` runs."""
        ours = list(self.arguments)
        rest = list(asked[1:])
        as_script = bool(ours) and ours[len(ours) - len(rest) :] == rest
        return as_script or (bool(ours) and list(asked[-len(ours) :]) == ours)


def _seen(pid: int) -> _Process | None:
    try:
        process = psutil.Process(pid)
        return _Process(process.cmdline(), process.environ())
    except psutil.Error:
        return None


def _listen(processes: Sequence[int], port: int) -> bool:
    return any(
        one.pid in processes and one.status == psutil.CONN_LISTEN and tuple(one.laddr)[1:] == (port,)
        for one in psutil.net_connections("tcp")
    )
