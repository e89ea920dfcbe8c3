"""The response cache of the real server, and what is told of it."""

from pathlib import Path

import numpy as np
import pytest

from targets.base import Deployment, ServerStats, difference, metric_values
from targets.triton.target import TritonTarget
from tests.conftest import MakeTriton
from tests.support.triton_models import SUM, drive, write_model
from tests.triton.test_triton_target import settled
from tuner.runs import stored_server
from workloads.order import Order
from workloads.requests import Dataset

ITEMS, SENT, REPEATS = 4000, 3000, 0.3
CACHE = "response_cache { enable: true }\n"


@pytest.fixture
def dataset() -> Dataset:
    return Dataset({"X": np.random.default_rng(1).random((ITEMS, 16), np.float32)})


@pytest.fixture
def target(make_triton: MakeTriton, tmp_path: Path) -> TritonTarget:
    repository = write_model(tmp_path / "models", "sum", SUM, CACHE)
    made = make_triton(model="sum", repository=repository, variants={}, cache_size=1 << 24)
    made.start()
    return made


def repeated(seed: int) -> np.ndarray:
    """Requests of which the given share were sent before."""
    return Order(ITEMS, repeats=REPEATS).indices(SENT, np.random.default_rng(seed))


def measured(deployment: Deployment, dataset: Dataset, order: np.ndarray, folder: Path) -> ServerStats:
    before = deployment.statistics()()
    drive(deployment.endpoint(dataset), folder, order, at_once=4)
    return difference(before, settled(deployment, before.requests + len(order)))


def test_the_hit_rate_is_what_the_repeats_imply_in_each_deployment(
    target: TritonTarget, dataset: Dataset, tmp_path: Path
) -> None:
    for config in ({"max_batch_size": 8}, {"max_batch_size": 4}):
        order = repeated(1)  # the same again: a cache that outlived the deployment before would answer everything
        deployment = target.deploy(config, "same")
        stats = measured(deployment, dataset, order, tmp_path)
        implied = 1 - len(set(order.tolist())) / SENT
        values = metric_values(stats, target.metrics())
        assert abs(implied - REPEATS) < 0.02
        assert abs(values["cache_hit_rate"] - implied) < 0.02
        assert (
            0.99 * SENT <= stats.cache.lookups <= SENT
        )  # some of requests that were alike and in flight are not counted


def test_hits_and_misses_have_their_times_apart(target: TritonTarget, dataset: Dataset, tmp_path: Path) -> None:
    deployment = target.deploy({}, "x")
    stats = measured(deployment, dataset, np.arange(200, dtype=np.int32), tmp_path)
    assert (stats.cache.hits, stats.cache.misses) == (0, 200)
    cache = stored_server(stats).cache
    assert cache is not None
    assert cache.hit_mean_s is None
    assert cache.miss_mean_s is not None
    stats = measured(deployment, dataset, np.arange(200, dtype=np.int32), tmp_path)
    assert (stats.cache.hits, stats.cache.misses) == (200, 0)
    cache = stored_server(stats).cache
    assert cache is not None
    assert cache.hit_mean_s is not None
    assert 0 < cache.hit_mean_s < 0.1
    assert cache.miss_mean_s is None
    assert stats.executions == 0


def test_what_was_deployed_under_an_alias_before_is_unloaded(target: TritonTarget, dataset: Dataset) -> None:
    target.deploy({}, "same").retire()
    for _ in range(2):
        deployment = target.deploy({}, "same")
    index = target._running().ask(lambda client: client.get_model_repository_index())
    assert [one["name"] for one in index if one.get("state") == "READY"] == ["sum__same_3"]
    deployment.ask_once(dataset)
    deployment.retire()


def test_a_knob_that_gives_a_cache_gives_its_metric_which_is_nothing_where_it_is_off(
    make_triton: MakeTriton, dataset: Dataset, tmp_path: Path
) -> None:
    target = make_triton(model="sum", repository=write_model(tmp_path / "models", "sum", SUM), variants={})
    target.expect(["response_cache"])
    target.start()
    for on in (False, True):
        stats = measured(target.deploy({"response_cache": on}, "x"), dataset, np.zeros(20, np.int32), tmp_path)
        rate = metric_values(stats, target.metrics())["cache_hit_rate"]
        assert (rate > 0.5) == on
        assert rate == 0 or on


def test_without_a_cache_nothing_is_told_of_one(make_triton: MakeTriton, dataset: Dataset, tmp_path: Path) -> None:
    repository = write_model(tmp_path / "models", "sum", SUM)
    target = make_triton(model="sum", repository=repository, variants={})
    target.start()
    stats = measured(target.deploy({}, "x"), dataset, np.zeros(50, np.int32), tmp_path)
    assert target.metrics() == ()
    assert stored_server(stats).cache is None
    assert metric_values(stats, target._options.metrics()) == {}
