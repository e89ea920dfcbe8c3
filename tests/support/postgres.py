"""A PostgreSQL of the tests' own, in a folder of its own, on a port of this machine."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER, PASSWORD = "tune", "s3cr/t@of:the?t$sts%41"
START_S = 60.0


@dataclass
class Postgres:
    """A running server.

    Attributes:
        port: on this machine.
        command: that starts it.
        log: its log.
        options: of its process.
        process: its first process.
    """

    port: int
    command: Sequence[Any]
    log: Path
    options: Mapping[str, Any]
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """The URL of its database, the password a variable of the environment."""
        return f"postgresql://{USER}:$TUNE_PASSWORD@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(START_S)

    def start(self) -> None:
        """Start it again, on the same port and with what it had."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, **self.options)
        _wait_for(self, self.log)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server that asks for a password, and stop it. It does not run as root, so the user `postgres` runs it."""
    folder = Path(tempfile.mkdtemp(prefix="paretune-postgres-"))
    runs_as = _runs_as()
    try:
        (folder / "password").write_text(PASSWORD)
        if runs_as:
            for path in (folder, folder / "password"):
                shutil.chown(path, runs_as["user"], runs_as["group"])
        made = ["--pgdata", folder / "data", "--username", USER, "--pwfile", folder / "password"]
        subprocess.run(
            [_command("initdb"), *made, "--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8", "--no-locale"],
            check=True,
            capture_output=True,
            cwd=folder,
            **runs_as,
        )
        port = _free_port()
        settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command: list[Any] = [_command("postgres"), "-D", folder / "data", *given]
        options = {"cwd": folder, **runs_as}
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **options)
        server = Postgres(port, command, folder / "log.txt", options, process)
        try:
            _wait_for(server, folder / "log.txt")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _runs_as() -> dict[str, Any]:
    """Return who runs it, as subprocess takes it: this user, unless that is root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _command(name: str) -> str:
    """Return a command of PostgreSQL; Debian keeps them off PATH."""
    found = shutil.which(name) or next(
        (str(path / name) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None
    )
    assert found is not None, f"{name} is missing: install the system's package `postgresql`"
    return found


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _wait_for(server: Postgres, log: Path) -> None:
    deadline = time.monotonic() + START_S
    asked = [_command("pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(server.port)]
    while subprocess.run(asked, check=False).returncode != 0:
        assert server.process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
