"""Start what a study describes: ports chosen, templates filled, the process run until it is ready."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from targets.base import Config, ConfigRefused, Context, TargetError
from targets.command.address import Address
from targets.command.blueprint import Blueprint, Launch, Setting, marks, shown
from targets.command.export import DEFAULT_METRICS_PORT, DEFAULT_PORT, HERE
from targets.command.options import START_SCRIPT, CommandOptions
from targets.command.server import HOST, Readiness, StartedServer
from targets.command.templates import BadTemplate, compiled
from targets.hiding import is_secret, secrets_below, without
from targets.log import DeploymentLog
from targets.ports import free_port, is_free

START_ATTEMPTS = 3
_SHORTEST_SECRET = 4


@dataclass(frozen=True)
class Running:
    """A server that was started.

    Attributes:
        server: the server.
        metrics_url: where its metrics are, None where the study names none.
    """

    server: StartedServer
    metrics_url: str | None


class Launcher:
    """Starts the servers of a study.

    Args:
        options: of the study.
        context: where it runs.
        secrets: environment variables that the requests refer to.

    Raises:
        TargetError: a template of a file cannot be used.
    """

    def __init__(self, options: CommandOptions, context: Context, secrets: frozenset[str]) -> None:
        self._options, self._context = options, context
        self.blueprint = Blueprint(options, context)
        self._secrets = secrets | self.blueprint.secrets
        written = {"command": list(options.command or ()), "env": dict(options.env)}
        self._literal = [value for _, value in secrets_below(written) if is_secret(value)]

    def rehearse(self, values: Config) -> Launch:
        """Return what the export writes: numbers in the files, marks for what stays variable elsewhere.

        Raises:
            TargetError: a template cannot be filled with these values.
        """
        ports = self.export_ports()
        variable = marks({name: name.upper() for name in ports})
        secrets = marks({name: f"{name}:?" for name in self.blueprint.secrets})
        (here,) = marks({HERE: HERE}).values()
        return self.blueprint.render(values, Setting(variable, ports, here, secrets))

    def export_ports(self) -> dict[str, int]:
        """Return the ports that an export has where nothing else is said."""
        ports = {"port": self._options.port or DEFAULT_PORT}
        return {**ports, "metrics_port": DEFAULT_METRICS_PORT} if self.blueprint.needs_metrics_port else ports

    def check(self, values: Config) -> None:
        """Check what a start needs, without starting anything.

        Raises:
            TargetError: a variable is not set, the program is not there, or the port is in use.
        """
        require_set(self._secrets)
        launch = self._rendered(values, self.export_ports(), self._context.folder)
        program(launch, self._context.folder)
        if self._options.port is not None:
            free_port(self._options.port)

    def start(self, values: Config, alias: str) -> Running:
        """Start a server and wait until it is ready.

        Raises:
            TargetError: the port that the study names is in use.
            ConfigRefused: it ended before it was ready, or cannot be given these values.
            ServerHung: it was not ready in time.
        """
        for attempt in range(START_ATTEMPTS):
            ports = self._free_ports()
            try:
                return self._start(values, alias, ports)
            except ConfigRefused:
                # Something else may have taken the port between its choice and the start.
                taken = any(not is_free(port) for port in ports.values())
                if self._options.port is not None or not taken or attempt == START_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _start(self, values: Config, alias: str, ports: Mapping[str, int]) -> Running:
        with _folder() as workdir:
            try:
                launch = self._rendered(values, ports, workdir)
            except TargetError as error:
                raise ConfigRefused(str(error)) from None
            _write(workdir, launch.files)
            title = self._title(values, ports, workdir)
            return self._run(list(launch.arguments), launch.env, launch, workdir, ports, alias, title)

    def start_script(self, files: Mapping[Path, str], values: Config) -> Running:
        """Start a server by the script of an export, on free ports.

        Args:
            files: of the export.
            values: that it says.

        Raises:
            TargetError: it does not start, or says the ports in a file that is not what the templates make.
        """
        if Path(START_SCRIPT) not in files:
            raise TargetError(f"the export has no {START_SCRIPT}")
        ports = self._free_ports()
        with _folder() as workdir:
            launch = self._rendered(values, ports, workdir)
            _write(workdir, {**{str(path): text for path, text in files.items()}, **self._moved(files, values, launch)})
            variables = {name.upper(): str(port) for name, port in ports.items()}
            command = ["/bin/sh", str(workdir / START_SCRIPT)]
            env = {**variables, "STUDY_FOLDER": ""}  # what is empty the script takes for not given
            return self._run(command, env, launch, workdir, ports, "export", START_SCRIPT)

    def _moved(self, files: Mapping[Path, str], values: Config, launch: Launch) -> dict[str, str]:
        """Return the files that say the ports with the ports of this start, once they are found to be genuine."""
        genuine = self.rehearse(values).files
        names = self.blueprint.files_with_ports()
        for name in names:
            if files.get(Path(name)) != genuine[name]:
                raise TargetError(f"{name}: the export does not say what its template makes of {dict(values)}")
        return {name: launch.files[name] for name in names}

    def _run(
        self,
        command: list[str],
        env: Mapping[str, str],
        launch: Launch,
        workdir: Path,
        ports: Mapping[str, int],
        alias: str,
        title: str,
    ) -> Running:
        options, address = self._options, Address(HOST, ports["port"])
        url, metrics_url = (
            _url(text, place, ports, address)
            for text, place in ((options.ready.url, "ready.url"), (options.metrics_url, "metrics_url"))
        )
        server = StartedServer(
            command,
            env,
            launch=launch if options.read_back else None,
            readiness=Readiness(address, url, options.ready.log),
            context=self._context,
            log=DeploymentLog(self._context.log_path, alias, title, self._hidden),
            workdir=workdir,
            timeout_s=options.apply_timeout,
        )
        return Running(server, metrics_url)

    def _rendered(self, values: Config, ports: Mapping[str, int], folder: Path) -> Launch:
        return self.blueprint.render(values, Setting(ports, ports, str(folder), os.environ))

    def _title(self, values: Config, ports: Mapping[str, int], folder: Path) -> str:
        """Return the command line for the log, without secrets."""
        setting = Setting(ports, ports, str(folder), marks({name: name for name in self.blueprint.secrets}))
        return " ".join(shlex.quote(shown(one)) for one in self.blueprint.render(values, setting).arguments)

    def _free_ports(self) -> dict[str, int]:
        ports = {"port": free_port(self._options.port)}
        while self.blueprint.needs_metrics_port and ports.get("metrics_port", ports["port"]) == ports["port"]:
            ports["metrics_port"] = free_port(None)
        return ports

    def _hidden(self, text: str) -> str:
        """Return a text of the server's without the values that it was given as secrets."""
        for name in self._secrets:
            value = os.environ.get(name, "")
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, f"${name}")
        return without(text, self._literal)


def program(launch: Launch, folder: Path) -> Path:
    """Return the program that a launch starts.

    Raises:
        TargetError: there is none.
    """
    if not launch.arguments or not launch.arguments[0]:
        raise TargetError("target.command.0: renders to nothing; it has to be the program that is started")
    name = launch.arguments[0]
    if "/" in name:
        found = shutil.which(folder / name)
        hint = "give the path of an executable file"
    else:
        found = shutil.which(name, path=launch.env.get("PATH", os.environ.get("PATH")))
        hint = f"install it, or write ./{name} for a program in the study's folder"
    if found is None:
        raise TargetError(f"target.command.0: there is no program {name!r}; {hint}")
    return Path(found)


def require_set(names: frozenset[str]) -> None:
    """Check that environment variables are set. Raises TargetError naming one that is not."""
    for name in sorted(names):
        if name not in os.environ:
            raise TargetError(f"the environment variable {name}, which the study uses as `env.{name}`, is not set")


def _url(text: str | None, place: str, ports: Mapping[str, int], address: Address) -> str | None:
    if text is None:
        return None
    try:
        return address.url(compiled(text, None).render(ports))
    except BadTemplate as error:
        raise TargetError(f"target.{place}: {error.message}") from None


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder for a deployment; it is the server's once that runs, and removed if it does not come to that."""
    workdir = Path(tempfile.mkdtemp(prefix="paretune-"))
    try:
        yield workdir
    except BaseException:
        shutil.rmtree(workdir, ignore_errors=True)
        raise


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
