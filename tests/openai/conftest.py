"""A server with OpenAI's API whose answers come as they are asked for."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@contextmanager
def token_server(*arguments: str) -> Iterator[str]:
    """Run a server; yield its URL. It ends by itself when its standard input closes."""
    command = [sys.executable, "-m", "tests.support.token_server", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The URL of a server that takes everybody."""
    with token_server() as running:
        yield running


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Run a server of one's own with these arguments."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(token_server(*arguments))
