"""A scripted server for each file of tests, and both ways to wait."""

from collections.abc import Iterator

import pytest

from tests.support.load_runs import Server, open_files, scripted_server
from tuner.load.poller import EpollPoller, Poller, SelectorPoller


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    """A server for all tests of a file that do not look at its log."""
    with scripted_server() as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own."""
    with scripted_server() as server:
        yield server


@pytest.fixture
def port(shared_server: Server) -> int:
    """The shared server's port."""
    return shared_server.port


@pytest.fixture
def files_before() -> list[str]:
    """What this process had open before the test's poller was made."""
    return open_files()


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest, files_before: list[str]) -> Poller:  # noqa: ARG001 - it must come first
    """Each way to wait."""
    made: Poller = request.param()
    return made
