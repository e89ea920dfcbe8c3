"""What the tests of the simulated server share: a server of one's own, and questions to it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection


@contextmanager
def simulated_server() -> Iterator[int]:
    """Run a server; yield its port. It has to end by itself when its standard input closes."""
    command = [sys.executable, "-P", "-m", "targets.simulated.server"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    except BaseException:
        process.kill()
        raise
    finally:
        process.communicate()
    assert process.returncode == 0


def ask(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, object]]:
    """Return status and JSON of an answer; `_` in a header's name stands for `-`."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def deploy(port: int, alias: str, **spec: object) -> None:
    """Make a deployment."""
    status, found = ask(port, "PUT", f"/deployments/{alias}", spec)
    assert status == 200, found


def statistics(port: int, alias: str) -> dict[str, object]:
    """Return a deployment's statistics."""
    return ask(port, "GET", f"/deployments/{alias}/stats")[1]
