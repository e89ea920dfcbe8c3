"""Asking every item once: it takes as long as it takes, unless the server hangs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from targets.base import Deployment, ServerHung
from targets.evidence import halt
from targets.simulated.target import SimulatedTarget
from tests.support.targets import simulated_target
from tuner.accuracy.asking import outputs_of
from tuner.load.generator import Generator
from tuner.request_class import RequestClass
from workloads.requests import Dataset

ITEMS, EACH_MS = 100, 20
"""They take 2 s: one at a time."""
LABELLED = Dataset({"INPUT": np.zeros((ITEMS, 4))}, labels=np.zeros(ITEMS, np.int64))
ONE = RequestClass(LABELLED, timeout_s=30.0)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[SimulatedTarget]:
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": EACH_MS, "each_ms": 0}
    (tmp_path / "models" / "queue").mkdir(parents=True)
    (tmp_path / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
    made = simulated_target(tmp_path / "log.txt", model="queue", repository=tmp_path / "models")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def deployment(target: SimulatedTarget) -> Deployment:
    return target.deploy(target.user_config(), "x")


@pytest.mark.parametrize("processes", [1, 2])
def test_labelled_items_take_as_long_as_they_need(deployment: Deployment, processes: int, tmp_path: Path) -> None:
    with Generator(processes=processes) as generator:
        found = outputs_of(generator, tmp_path, deployment, ONE, ITEMS, "steady", patience_s=0.5)
    assert len(found) == ITEMS
    assert all(one is not None for one in found)


def test_items_without_labels_are_not_waited_for(deployment: Deployment, tmp_path: Path) -> None:
    bare = replace(ONE, dataset=replace(LABELLED, labels=None))
    with (
        Generator() as generator,
        pytest.raises(ServerHung, match=r"steady: \d+ of 100 items were not answered within 0\.5 s"),
    ):
        outputs_of(generator, tmp_path, deployment, bare, ITEMS, "steady", patience_s=0.5)


def test_a_server_that_answers_nothing_hangs(deployment: Deployment, tmp_path: Path) -> None:
    """Requests that run into their timeouts are no answers."""
    halt([psutil.Process(deployment.processes()[0])])
    with (
        Generator() as generator,
        pytest.raises(ServerHung, match=r"of 100 items were not answered, and none of them was within 0\.5 s"),
    ):
        outputs_of(generator, tmp_path, deployment, replace(ONE, timeout_s=0.2), ITEMS, "steady", patience_s=0.5)
