"""A local tritonserver: its command line, its readiness, its log, its end."""

import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Literal, TypeVar

import tritonclient.http
from tritonclient.utils import InferenceServerException

from targets.base import ConfigRefused, ServerDied, ServerHung, TargetError
from targets.process import GuardedProcess
from targets.triton.installation import Installation, find_installation

HOST = "127.0.0.1"
START_ATTEMPTS = 3
CONTROL_TIMEOUT_S = 10.0
_LOG_ERROR = re.compile(r'^E\d{4} [\d:.]+ \d+ [\w.]+:\d+\] "?(?P<message>.*?)"?$', re.MULTILINE)
_Answer = TypeVar("_Answer")


class TritonServer:
    """One run of tritonserver with explicit model control on a repository of its own.

    It is controlled over HTTP, whatever protocol the requests have. The repository holds nothing at the start;
    `targets.triton.repository` puts models there. Everything temporary stands in `workdir`, which goes with the
    server.

    Raises:
        TargetError: no server is installed, the port is taken, or it did not get ready; with its own reason.
    """

    def __init__(
        self,
        *,
        executable: Path | None,
        protocol: Literal["http", "grpc"],
        http_port: int | None,
        grpc_port: int | None,
        timeout_s: float,
        log: "ServerLog",
        cpus: frozenset[int] | None,
        flags: Sequence[str] = (),
    ) -> None:
        self.timeout_s = timeout_s
        self._flags = tuple(flags)
        self.log = log
        wanted = {"http": http_port, "grpc": grpc_port} if protocol == "grpc" else {"http": http_port}
        for _ in range(START_ATTEMPTS if None in wanted.values() else 1):
            ports = choose_ports(wanted)
            self.port, self._grpc_port = ports["http"], ports.get("grpc")
            if self._start(executable, cpus):
                return
        raise TargetError(f"tritonserver did not start: {self._reason}; its log: {log.path}")

    def _start(self, executable: Path | None, cpus: frozenset[int] | None) -> bool:
        """Start the server once; False, with the reason kept, when it ended before it was ready."""
        self.workdir = Path(tempfile.mkdtemp(prefix="paretune-"))
        self.repository = self.workdir / "models"
        self.repository.mkdir()
        mark = self.log.mark()
        try:
            self.installation = find_installation(executable, self.workdir)
            self._process = self._launch(self.installation, cpus)
        except BaseException:
            shutil.rmtree(self.workdir, ignore_errors=True)
            raise
        try:
            ready = self._wait_until_ready()
        except BaseException:
            self._process.stop()
            raise
        if not ready:
            self._process.stop()
            self._reason = self.log.reason_since(mark) or (
                f"no answer within {self.timeout_s:g} s"
                if self._process.exit_code() is None
                else f"exit code {self._process.exit_code()}"
            )
            return False
        self.client = tritonclient.http.InferenceServerClient(
            f"{HOST}:{self.port}", connection_timeout=CONTROL_TIMEOUT_S, network_timeout=self.timeout_s
        )
        return True

    def _launch(self, installation: Installation, cpus: frozenset[int] | None) -> GuardedProcess:
        shm_prefix = f"paretune_{uuid.uuid4().hex[:12]}_"
        command = [
            str(installation.executable),
            *installation.flags,
            f"--model-repository={self.repository}",
            "--model-control-mode=explicit",
            f"--http-address={HOST}",
            f"--http-port={self.port}",
            *self._grpc_flags(),
            "--allow-metrics=false",
            "--exit-timeout-secs=2",
            *self._flags,
            f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        ]
        return GuardedProcess(
            command,
            env={**os.environ, **installation.env},
            log_path=self.log.path,
            cleanup=self.workdir,
            shm_prefix=shm_prefix,
            cpus=cpus,
        )

    def _grpc_flags(self) -> list[str]:
        if self._grpc_port is None:
            return ["--allow-grpc=false"]
        return [f"--grpc-address={HOST}", f"--grpc-port={self._grpc_port}"]

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + self.timeout_s
        while time.monotonic() < deadline and self._process.running():
            if _answers_ready(self.port):
                return True
            time.sleep(0.05)
        return False

    @property
    def request_port(self) -> int:
        """Port that requests are sent to."""
        return self.port if self._grpc_port is None else self._grpc_port

    def ask(self, call: Callable[[tritonclient.http.InferenceServerClient], _Answer]) -> _Answer:
        """Make a control-plane call.

        Raises:
            ConfigRefused: the server answered with an error; with the reason from its log where it gives one.
            ServerDied: it did not answer.
        """
        mark = self.log.mark()
        try:
            answer = call(self.client)
        except InferenceServerException as error:
            raise ConfigRefused(self.log.reason_since(mark) or str(error)) from None
        except Exception as error:  # the client passes on whatever its transport raises; none of it is an answer
            raise self._lost(mark, error) from None
        self.log.take_as_harmless(mark)
        return answer

    def load(self, name: str, config: str | None = None) -> None:
        """Load a model of the repository, with a configuration in JSON instead of its own where one is given."""
        self.ask(lambda client: client.load_model(name, config=config))

    def get(self, path: str) -> bytes:
        """Return the body of a GET, read without parsing it: this is done beside a running load.

        Raises:
            ServerDied: no answer, or none with status 200.
        """
        mark = self.log.mark()
        connection = HTTPConnection(HOST, self.port, timeout=CONTROL_TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise self._lost(mark, error) from None
        finally:
            connection.close()
        if answer.status != 200:
            raise ServerDied(f"GET {path}: HTTP {answer.status}: {body[:200]!r}")
        return body

    def _lost(self, mark: int, error: object) -> ServerDied:
        """Say what is known of why the server does not answer: its exit code and its last errors."""
        ended = self._process.wait_for_exit(0.5)
        what = (
            f"tritonserver ended with exit code {self._process.exit_code()}"
            if ended
            else f"tritonserver does not answer ({error})"
        )
        reason = self.log.reason_since(mark)
        return (ServerDied if ended else ServerHung)(f"{what}: {reason}" if reason else what)

    def alive(self) -> bool:
        """Whether the process runs and answers."""
        return self._process.running() and _answers_ready(self.port, timeout_s=CONTROL_TIMEOUT_S)

    def processes(self) -> list[int]:
        """Process ids of the server and its model instances."""
        return self._process.tree()

    def stop(self) -> None:
        """End it with everything it started."""
        if hasattr(self, "client"):
            self.client.close()
        self._process.stop()


class ServerLog:
    """The server's log file, read for what it says about one action."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._harmless: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)

    def mark(self) -> int:
        """Return the present end of the log."""
        return self.path.stat().st_size if self.path.exists() else 0

    def reason_since(self, mark: int) -> str:
        """Return the errors logged since a mark, each once, joined by `; `; "" when there is none.

        Errors that were logged as well when all went well (Triton does that) are passed over, unless alone.
        """
        messages = self._errors_since(mark)
        telling = [message for message in messages if message not in self._harmless]
        return "; ".join(telling or messages)

    def take_as_harmless(self, mark: int) -> None:
        """Remember the errors logged since a mark as no reason for anything: the action succeeded."""
        self._harmless.update(self._errors_since(mark))

    def _errors_since(self, mark: int) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as log:
            log.seek(mark)
            text = log.read().decode(errors="replace")
        messages = (match["message"].strip() for match in _LOG_ERROR.finditer(text))
        return list(dict.fromkeys(message for message in messages if message))


def _answers_ready(port: int, timeout_s: float = 1.0) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=timeout_s) as connection:
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def choose_ports(wanted: Mapping[str, int | None]) -> dict[str, int]:
    """Return a free port for each protocol, all different: the one wanted, or any for None.

    Raises:
        TargetError: a port that is wanted is in use.
    """
    with ExitStack() as stack:
        ports = {}
        for protocol in sorted(wanted, key=lambda name: wanted[name] is None):
            probe = stack.enter_context(socket.socket())
            ports[protocol] = _bind(probe, protocol, wanted[protocol])
        return ports


def _bind(probe: socket.socket, protocol: str, wanted: int | None) -> int:
    if wanted is None:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
    # What a server just ended leaves behind on its port is in nobody's way.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, wanted))
    except OSError:
        raise TargetError(
            f"target.{protocol}_port: port {wanted} on {HOST} is in use; free it, or leave `{protocol}_port` out "
            "and a free port is taken"
        ) from None
    return wanted
