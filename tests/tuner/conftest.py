"""A running simulated server for the tests that only ask of it what it takes."""

from collections.abc import Iterator

import pytest

from targets.simulated.target import SimulatedTarget
from tests.support.targets import simulated_target

QUEUE = '{"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 1.0, "each_ms": 0.0}'


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedTarget]:
    """A server that answers one request at a time, in 1 ms each; it is stopped at the end."""
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "models" / "queue").mkdir(parents=True)
    (folder / "models" / "queue" / "queue.json").write_text(QUEUE)
    made = simulated_target(folder / "log.txt", model="queue", repository=folder / "models")
    made.start()
    yield made
    made.stop()
