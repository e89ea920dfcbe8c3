"""A scripted server for each file of tests, and both ways to wait."""

from collections.abc import Iterator

import pytest

from tests.support.load_runs import Server, scripted_server
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


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Poller:
    """Each way to wait."""
    made: Poller = request.param()
    return made
