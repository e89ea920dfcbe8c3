"""A stand-in for the `docker` command: no engine, but the real tritonserver of the wheel, run as if in a container."""

import json
import stat
import sys
from pathlib import Path

from targets.triton.installation import find_installation

PROGRAM = """#!{python}
import json, os, sys
from pathlib import Path
state, images, command, env = Path({state!r}), {images!r}, {command!r}, {env!r}
verb, *rest = sys.argv[1:]
with (state / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if verb == "version":
    if (state / "no engine").exists():
        sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
    print("27.0.0")
elif verb == "info":
    if (state / "runtime").exists():
        print((state / "runtime").read_text())
    else:
        sys.exit("can't evaluate field DefaultRuntime")  # as podman says
elif verb == "image":
    if rest[-1] not in images:
        sys.exit(f"Error: No such image: {{rest[-1]}}")
elif verb == "inspect":
    print((state / rest[-1]).read_text())
elif verb == "rm":
    container = state / rest[-1]
    if container.exists():
        try:
            os.killpg(int(container.read_text()), 9)
        except ProcessLookupError:
            pass
        container.unlink()
elif verb == "run":
    (name,) = (one.partition("=")[2] for one in rest if one.startswith("--name="))
    flags = rest[rest.index("tritonserver") + 1 :]
    container = os.fork()
    if container == 0:
        os.setsid()  # the engine's, not ours: it outlives the command
        (state / name).write_text(str(os.getpid()))
        os.execve(command[0], [*command, *flags], {{**os.environ, **env}})
    import signal
    signal.signal(signal.SIGTERM, lambda *_: os.kill(container, signal.SIGTERM))  # as --sig-proxy does
    _, status = os.waitpid(container, 0)
    (state / name).unlink(missing_ok=True)  # as --rm does
    sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


class Docker:
    """The stand-in, in a folder of its own.

    Attributes:
        executable: to be named as `target.docker.engine`.
    """

    def __init__(self, folder: Path, images: tuple[str, ...] = ("triton:test",)) -> None:
        folder.mkdir()
        found = find_installation(None, folder)
        self._folder = folder
        self.executable = folder / "docker"
        self.executable.write_text(
            PROGRAM.format(
                python=sys.executable,
                state=str(folder),
                images=images,
                command=[str(found.executable), *found.flags],
                env=dict(found.env),
            )
        )
        self.executable.chmod(self.executable.stat().st_mode | stat.S_IXUSR)

    def run_with(self, runtime: str) -> None:
        """Let the engine have a default runtime of a name; before that it does not tell of any."""
        (self._folder / "runtime").write_text(runtime)

    def lose_engine(self) -> None:
        """Let the command find no engine from now on."""
        (self._folder / "no engine").touch()

    def calls(self) -> list[list[str]]:
        """Return the command lines so far, without the command."""
        return [json.loads(line) for line in (self._folder / "calls").read_text().splitlines()]

    def containers(self) -> list[int]:
        """Return the process ids of the containers that run."""
        return [int(path.read_text()) for path in self._folder.glob("paretune_*")]
