"""One MLServer: its folder, its process, its readiness, its log, its end."""

import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from targets.base import ConfigRefused, ServerCounters, ServerDied, ServerHung, TargetError
from targets.kserve.control import HttpControl
from targets.kserve.wire import Site
from targets.mlserver import metrics
from targets.mlserver.config import Settings, metrics_path, with_places
from targets.mlserver.repository import ModelFolder, read_again, stage
from targets.ports import choose_ports
from targets.process import GuardedProcess

HOST = "127.0.0.1"
CONTROL_TIMEOUT_S = 10.0
START_ATTEMPTS = 3
_IN_DIRECTORY = 'cd "$0" && exec "$@"'
_WORKER = "multiprocessing.spawn"
_PORT_TAKEN = re.compile("address already in use|failed to bind", re.IGNORECASE)
_TRACEBACK = re.compile(
    r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+"
    r"(?P<reason>.+(?:\n(?!\d{4}-|INFO:|Process |Traceback|$).+)*)",
    re.MULTILINE,
)
_ERROR = re.compile(r"^ERROR:\s+(?P<reason>.+)$", re.MULTILINE)
_SHOWN = 600


class MLServer:
    """An MLServer process that serves one model.

    Args:
        executable: the `mlserver` command.
        model: the user's model and its settings.
        settings: what the server is to be started with.
        ports: for `http` and `grpc`; None: a free one.
        timeout_s: how long the start may take.
        log_path: where what it writes goes.
        cpus: CPUs it may use, None: any.
        inherited: the environment, but for what would change MLServer's settings behind its files.

    Raises:
        ConfigRefused: it does not serve the model; with its own reason.
        TargetError: a port is in use.
    """

    def __init__(
        self,
        executable: Path,
        model: ModelFolder,
        settings: Settings,
        *,
        name: str,
        ports: dict[str, int | None],
        timeout_s: float,
        log_path: Path,
        cpus: frozenset[int] | None,
        inherited: Mapping[str, str],
    ) -> None:
        self._inherited = inherited
        self._executable, self._name, self._timeout_s, self._log_path = executable, name, timeout_s, log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(START_ATTEMPTS):
            self._launch(model, settings, ports, cpus)
            try:
                self._wait_until_ready()
            except BaseException as error:
                self.stop()
                if attempt + 1 < START_ATTEMPTS and None in ports.values() and _PORT_TAKEN.search(str(error)):
                    continue  # another program was faster
                raise
            return

    def _launch(
        self, model: ModelFolder, settings: Settings, ports: dict[str, int | None], cpus: frozenset[int] | None
    ) -> None:
        chosen = choose_ports({**ports, "metrics": None})
        self.port, self.grpc_port, self._metrics_port = chosen["http"], chosen["grpc"], chosen["metrics"]
        self.control = HttpControl(Site(HOST, self.port))
        workdir = Path(tempfile.mkdtemp(prefix="paretune-"))
        self._log_start = self._log_path.stat().st_size if self._log_path.exists() else 0
        try:
            places = self._places(workdir)
            self._staged = stage(
                model, settings, with_places(settings, places), workdir / "served" / _folder_name(model)
            )
            self._metrics_path = metrics_path(self._staged)
            folder = str(self._staged.server_path.parent)
            self._process = GuardedProcess(
                ["/bin/sh", "-c", _IN_DIRECTORY, folder, str(self._executable), "start", "."],
                env=_environment(self._inherited),
                log_path=self._log_path,
                cleanup=workdir,
                shm_prefix=f"paretune_{uuid.uuid4().hex}_",
                cpus=cpus,
            )
        except BaseException:
            shutil.rmtree(workdir, ignore_errors=True)
            raise

    def _places(self, workdir: Path) -> dict[str, object]:
        return {
            "host": HOST,
            "http_port": self.port,
            "grpc_port": self.grpc_port,
            "metrics_port": self._metrics_port,
            "metrics_dir": str(workdir / "metrics"),
            "environments_dir": str(workdir / "environments"),
            "load_models_at_startup": True,
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline and self._process.running():
            with suppress(ServerHung):
                # All models that MLServer knows are loaded: ours is one of them, or it never will be.
                if self.control.ready():
                    if self.control.model_ready(self._name, ""):
                        return
                    self._process.wait_for_exit(1.0)
                    raise ConfigRefused(self._not_started("it does not serve the model"))
            time.sleep(0.05)
        ended = self._process.exit_code()
        what = f"no answer within {self._timeout_s:g} s" if ended is None else f"exit code {ended}"
        raise ConfigRefused(self._not_started(what))

    def _not_started(self, what: str) -> str:
        reason = self._reason() or what
        return f"MLServer did not start with model {self._name!r}: {reason}; its log: {self._log_path}"

    def _reason(self) -> str:
        """Return the first error that this run has logged, "" without one: those that follow come of it."""
        if not self._log_path.exists():
            return ""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        found = _TRACEBACK.search(text) or _ERROR.search(text)
        return " ".join(found["reason"].split())[:_SHOWN] if found else ""

    def settings(self) -> Settings:
        """Read the files that the server was started with."""
        return read_again(self._staged)

    def workers(self) -> int:
        """Return how many processes run the model for the server."""
        return sum(_is_worker(pid) for pid in self._process.tree()[1:])

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the metrics, or where they are off only that the server answers. Raises ServerDied when it does not."""
        taken_ns = time.monotonic_ns()
        if self._metrics_path is None:
            self.require_alive()
            return lambda: ServerCounters(taken_ns)
        connection = HTTPConnection(HOST, self._metrics_port, timeout=CONTROL_TIMEOUT_S)
        try:
            connection.request("GET", self._metrics_path)
            answer = connection.getresponse()
            exposition = answer.read()
        except (OSError, HTTPException) as error:
            raise self._lost(error) from None
        finally:
            connection.close()
        if answer.status != 200:
            raise ServerDied(f"MLServer's metrics: HTTP {answer.status}: {exposition[:200]!r}")
        return lambda: metrics.counters(taken_ns, exposition, self._name)

    def require_alive(self) -> None:
        """Raise ServerDied when it has ended or does not answer."""
        try:
            self.control.live()
        except ServerHung as error:
            raise self._lost(error) from None

    def _lost(self, error: object) -> ServerDied:
        if self._process.wait_for_exit(0.5):
            reason = self._reason()
            ended = f"MLServer ended with exit code {self._process.exit_code()}"
            return ServerDied(f"{ended}: {reason}" if reason else ended)
        return ServerHung(f"MLServer does not answer ({error})")

    def alive(self) -> bool:
        """Whether the process runs and answers."""
        if not self._process.running():
            return False
        try:
            self.require_alive()
        except TargetError:
            return False
        return True

    def processes(self) -> list[int]:
        """Process ids of the server and its workers."""
        return self._process.tree()

    def stop(self) -> None:
        """End it with everything it started; safe to call twice.

        It has nothing to save, and takes seconds when it is asked to end: its workers pass over SIGTERM.
        """
        self._process.stop(at_once=True)


def _folder_name(model: ModelFolder) -> str:
    """Return the name that the folder has with the user: a model without a name is called as its folder."""
    return model.repository.name or "repository"


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what would change MLServer's settings behind its files."""
    hidden = ("MLSERVER_", "PROMETHEUS_MULTIPROC_DIR")
    return {name: value for name, value in inherited.items() if not name.startswith(hidden)}


def _is_worker(pid: int) -> bool:
    try:
        return any(_WORKER in argument for argument in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
