"""A local tritonserver: its command line, its readiness, its log, its end."""

import json
import math
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import psutil
import tritonclient.http
from tritonclient.utils import InferenceServerException

from targets.base import ConfigRefused, Exposed, ServerDied, ServerHung, TargetError
from targets.kserve.control import HttpControl
from targets.kserve.wire import Site
from targets.ports import HOST, choose_ports
from targets.process import GuardedProcess, pid_said, tree_of
from targets.prometheus import told
from targets.triton.launch import Launcher, Place, own_flags

START_ATTEMPTS = 3
CONTROL_TIMEOUT_S = 10.0
UNLOAD_S = 2.0
"""How long a server that is to end may take to unload its models."""
LEAVE_S = 10.0
"""How long each instance that was unloaded or replaced is waited for."""
_LOG_ERROR = re.compile(r'^E\d{4} [\d:.]+ \d+ [\w.]+:\d+\] "?(?P<message>.*?)"?$', re.MULTILINE)
_RECORD = re.compile(r"[IWEF]\d{4} [\d:.]+ |[+|]")
_USAGE = re.compile(r"^Usage:", re.MULTILINE)
_STUB = "triton_python_backend_stub"
"""The Python backend's process for an instance."""
_MODEL_FILE, _INSTANCE = re.compile(r"/([^/]+)/\d+/[^/]+$"), re.compile(r"([^/]+)_\d+_\d+")
"""Which model, in its command line: by the model's file, or the instance's name where a backend has the file."""
_LAST_LINES = 3
_SHOWN = 300
_Answer = TypeVar("_Answer")


class TritonServer:
    """One run of tritonserver with explicit model control on a repository of its own, or on one that is there.

    It is controlled over HTTP, whatever protocol the requests have. Its own repository holds nothing at the start;
    `targets.triton.repository` puts models there. Everything temporary stands in `workdir`, which goes with the
    server.

    Raises:
        TargetError: no server is installed, the port is taken, or it did not get ready; with its own reason.
    """

    def __init__(
        self,
        *,
        launcher: Launcher,
        protocol: Literal["http", "grpc"],
        http_port: int | None,
        grpc_port: int | None,
        timeout_s: float,
        log: "ServerLog",
        cpus: frozenset[int] | None,
        flags: Sequence[str] = (),
        metrics_period_s: float | None = None,
        repository: Path | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.log = log
        self._inside: int | None = None
        self._instances: dict[str, int] = {}
        self._leaving: set[int] = set()
        self._kept_open: set[int] = set()
        self.flags = tuple(flags)
        wanted = {"http": http_port, "grpc": grpc_port} if protocol == "grpc" else {"http": http_port}
        wanted |= {} if metrics_period_s is None else {"metrics": None}
        for _ in range(START_ATTEMPTS if None in wanted.values() else 1):
            ports = choose_ports(wanted)
            self.port, self._grpc_port, self._metrics_port = ports["http"], ports.get("grpc"), ports.get("metrics")
            name, (workdir, own) = f"paretune_{uuid.uuid4().hex[:12]}", _folders()
            if self._start(launcher, Place(name, workdir, repository or own, ports, cpus, metrics_period_s), flags):
                return
        raise TargetError(f"tritonserver did not start: {self._reason}; its log: {log.path}")

    def _start(self, launcher: Launcher, place: Place, flags: Sequence[str]) -> bool:
        """Start the server once; False, with the reason kept, when it ended before it was ready."""
        self.workdir, self.repository = place.workdir, place.repository
        self.shm_prefix = f"{place.name}_"
        self.started_at = self.log.mark()
        try:
            self._launch = launcher.launch(place, [*own_flags(place, launcher.address), *flags])
            self._process = GuardedProcess(
                self._launch.command,
                env=self._launch.env,
                log_path=self.log.path,
                cleanup=place.workdir,
                shm_prefix=self.shm_prefix,
                cpus=place.cpus,
                farewell=self._launch.farewell,
            )
        except BaseException:
            shutil.rmtree(self.workdir, ignore_errors=True)
            raise
        try:
            ready = self._wait_until_ready()
        except BaseException:
            self._process.stop()
            raise
        if not ready:
            ended = not self._process.running()
            self._process.stop()
            self._reason = self._why_not_ready(ended=ended)
            return False
        self.client = tritonclient.http.InferenceServerClient(
            f"{HOST}:{self.port}", connection_timeout=CONTROL_TIMEOUT_S, network_timeout=self.timeout_s
        )
        return True

    def _why_not_ready(self, *, ended: bool) -> str:
        if not ended:
            return self.log.reason_since(self.started_at) or f"no answer within {self.timeout_s:g} s"
        return self.log.end_since(self.started_at) or f"exit code {self._process.exit_code()}"

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + self.timeout_s
        while time.monotonic() < deadline and self._process.running():
            if _answers_ready(self.port):
                return True
            time.sleep(0.05)
        return False

    @property
    def found(self) -> Mapping[str, str]:
        """What is known of where the server comes from, for the record."""
        return self._launch.found

    @property
    def request_port(self) -> int:
        """Port that requests are sent to."""
        return self.port if self._grpc_port is None else self._grpc_port

    @property
    def site(self) -> Site:
        """Where requests are sent to."""
        return Site(HOST, self.request_port)

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

    def unload(self, name: str) -> None:
        """Unload a model; that it was not loaded is no error."""
        self._leaving |= {pid for pid, served in self._stubs() if served == name}
        self._instances[name] = 0
        self.ask(lambda client: client.unload_model(name))

    def keeps(self, name: str, instances: int) -> None:
        """Take note of how many instances a loaded model has now, for `settle`."""
        self._instances[name] = instances

    def settle(self) -> None:
        """Wait until the instances that were unloaded or replaced have ended, if they are processes.

        Triton answers that a model is loaded, or unloaded, before the Python backend has ended the instances that it
        had: about a second for each, one after the other. Their end takes CPU time, and what is measured meanwhile is
        slower by it. When none has ended for LEAVE_S seconds those that are left are not waited for any more: an open
        sequence keeps its instance, which does nothing, for as long as the model's `max_sequence_idle`.
        """
        before, deadline = math.inf, 0.0
        while left := self._still_to_end():
            if len(left) < before:
                before, deadline = len(left), time.monotonic() + LEAVE_S
            elif time.monotonic() > deadline:
                self._kept_open |= left
            time.sleep(0.01)

    def _still_to_end(self) -> set[int]:
        """Return the processes of instances that were unloaded or replaced; of models loaded elsewhere none is."""
        stubs = self._stubs()
        running = {pid for pid, _ in stubs}
        self._leaving &= running
        self._kept_open &= running
        found = self._leaving - self._kept_open
        for model, instances in self._instances.items():
            others = sorted(
                pid for pid, served in stubs if served == model and pid not in self._leaving | self._kept_open
            )
            found |= set(others[: max(0, len(others) - instances)])
        return found

    def _stubs(self) -> list[tuple[int, str]]:
        """Return the processes of the Python backend, each with the model that it is an instance of."""
        return list(_stubs_among(self.processes()))

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

    def exposed(self, models: Mapping[str, str]) -> Exposed:
        """Return how its metrics are read.

        Args:
            models: name that a model of the deployment is loaded by -> the user's.

        Raises:
            TargetError: it was started without them.
        """
        if self._metrics_port is None:
            raise TargetError("the server was started without metrics")
        page = HttpControl(Site(HOST, self._metrics_port))
        return Exposed(partial(page.get, "/metrics"), partial(told, models=models))

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
        if not self._launch.asks_pid:
            return self._process.tree()
        if self._inside is None:
            self._inside = pid_said(self._launch.asks_pid)
        return tree_of(self._inside)

    def stop(self) -> None:
        """End it with everything it started.

        Its models are unloaded first: a server that ends looks for that once a second only.
        """
        if hasattr(self, "client"):
            self.client.close()
            if self._process.running():  # what has its port otherwise is another server
                with suppress(OSError, HTTPException, ValueError, AttributeError, LookupError):  # it hangs or ends
                    self._unload_all()
        self._process.stop()

    def _unload_all(self) -> None:
        deadline = time.monotonic() + UNLOAD_S
        for one in self._loaded():
            self._post(f"/v2/repository/models/{quote(one, safe='')}/unload")
        while self._loaded() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _loaded(self) -> list[str]:
        """Return the models that are loaded or on their way."""
        models = json.loads(self._post("/v2/repository/index"))
        return [one["name"] for one in models if one.get("state", "UNAVAILABLE") != "UNAVAILABLE"]

    def _post(self, path: str) -> bytes:
        """Return the body of the answer to an empty POST on a connection of its own."""
        with closing(HTTPConnection(HOST, self.port, timeout=UNLOAD_S / 2)) as connection:
            connection.request("POST", path, b"{}", {"Connection": "close"})
            return connection.getresponse().read()


def _stubs_among(pids: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield each process of the Python backend with its model; one that an instance started itself is none."""
    found = {}
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            executable, file, *further = [*process.cmdline(), "", ""]
            if executable.endswith(_STUB):
                names = [_MODEL_FILE.search(file), *map(_INSTANCE.fullmatch, further)]
                found[pid] = process.ppid(), next((one[1] for one in names if one is not None), "")
    yield from ((pid, model) for pid, (parent, model) in found.items() if parent not in found)


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

    def end_since(self, mark: int) -> str:
        """Return why a server ended that logged since a mark: its errors, and its last words that are no record."""
        return "; ".join(dict.fromkeys([*self._errors_since(mark), *_last_words(self.text_since(mark))]))

    def take_as_harmless(self, mark: int) -> None:
        """Remember the errors logged since a mark as no reason for anything: the action succeeded."""
        self._harmless.update(self._errors_since(mark))

    def text_since(self, mark: int) -> str:
        """Return what was logged since a mark."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def _errors_since(self, mark: int) -> list[str]:
        text = self.text_since(mark)
        messages = (match["message"].strip() for match in _LOG_ERROR.finditer(text))
        return list(dict.fromkeys(message for message in messages if message))


def _last_words(text: str) -> list[str]:
    """Return the last lines that are neither records nor tables: what a server says whose options are wrong.

    It says so before its usage, or after it.
    """
    for part in (_USAGE.split(text, maxsplit=1)[0], text):
        *_, last = part.rstrip().rpartition("\n\n")
        if lines := [line.strip()[:_SHOWN] for line in last.splitlines() if line.strip() and not _RECORD.match(line)]:
            return lines[-_LAST_LINES:]
    return []


def _folders() -> tuple[Path, Path]:
    """Make the folder of a run and its model repository."""
    workdir = Path(tempfile.mkdtemp(prefix="paretune-"))
    repository = workdir / "models"
    repository.mkdir()
    return workdir, repository


def _answers_ready(port: int, timeout_s: float = 1.0) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=timeout_s) as connection:
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
