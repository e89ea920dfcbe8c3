"""The response cache of the real server, and what is told of it."""

import re
from pathlib import Path

import numpy as np
import pytest

from targets.base import (
    Config,
    ConfigRefused,
    Context,
    Deployment,
    ServerStats,
    TargetError,
    difference,
    metric_values,
)
from targets.triton.command_line import alias_name
from targets.triton.flags import FILE, from_text
from targets.triton.options import TritonOptions
from targets.triton.rules import CACHE_BYTES
from targets.triton.target import TritonTarget
from tests.conftest import MakeTriton
from tests.support.foreign_triton import foreign_triton
from tests.support.triton_models import SUM, drive, write_model
from tests.triton.test_triton_target import settled
from tuner.load.generator import Generator
from tuner.measure import Meter
from tuner.request_class import RequestClass
from tuner.runs import stored_server
from tuner.slo import Slo
from tuner.stopping import Decision, Pace
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.workload import Workload
from workloads.order import Order
from workloads.requests import Dataset

pytestmark = pytest.mark.long

ITEMS, SENT, REPEATS = 4000, 1500, 0.3
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


def measured(
    deployment: Deployment, dataset: Dataset, order: np.ndarray, folder: Path, at_once: int = 4
) -> ServerStats:
    before = deployment.statistics()()
    drive(deployment.endpoint(dataset), folder, order, at_once)
    return difference(before, settled(deployment, before.requests + len(order)))


def test_the_hit_rate_is_the_share_of_repeats_in_each_deployment(
    target: TritonTarget, dataset: Dataset, tmp_path: Path
) -> None:
    """One request after the other, so that the order alone says which are hits, whatever the machine does."""
    order = repeated(4)  # twice: a cache that outlived the deployment before would answer everything
    repeats = SENT - len(set(order.tolist()))
    assert repeats == 450, "30% to the request, as the documentation says"
    for config in ({"max_batch_size": 8}, {"max_batch_size": 4}):
        stats = measured(target.deploy(config, "same"), dataset, order, tmp_path, at_once=1)
        assert abs(metric_values(stats, target.metrics())["cache_hit_rate"] - REPEATS) < 0.02
        assert (stats.cache.hits, stats.cache.misses) == (repeats, SENT - repeats)


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


def test_a_study_of_a_remote_server_that_keeps_answers_is_refused(tmp_path: Path) -> None:
    """Its cache would answer the next configuration, of the same name, with the answers of this one."""
    write_model(tmp_path / "models", "sum", SUM, CACHE)
    with foreign_triton(tmp_path, "explicit", ("--cache-config=local,size=16777216",), model="sum") as server:
        options = {"model": "sum", "launch": "remote", "url": server.url, "repository": server.repository}
        target = TritonTarget(TritonOptions.model_validate(options), Context(tmp_path, tmp_path / "log.txt"))
        target.expect(["concurrency"])  # there is one configuration, and the answers are its own
        target.start()
        target.deploy({}, "x")
        with pytest.raises(TargetError, match=r"^target\.model: model 'sum' has response_cache on"):
            target.expect(["concurrency", "max_batch_size"])
        target.stop()


def test_a_candidate_of_a_remote_server_keeps_no_answers(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "sum", SUM)
    with foreign_triton(tmp_path, "explicit", ("--cache-config=local,size=16777216",), model="sum") as server:
        options = {"model": "sum", "launch": "remote", "url": server.url, "repository": server.repository}
        target = TritonTarget(TritonOptions.model_validate(options), Context(tmp_path, tmp_path / "log.txt"))
        target.expect(["response_cache"])
        target.start()
        target.check({"response_cache": False})
        for refuse in (target.check, lambda config: target.deploy(config, "x")):
            with pytest.raises(ConfigRefused, match="would give the answers of the configurations before") as refused:
                refuse({"response_cache": True})
            assert refused.value.knobs == ("response_cache",)
        target.stop()


@pytest.mark.parametrize(
    ("flags", "name", "next_name"),
    [
        ([], "m__a", "m__a"),
        (["--response-cache-byte-size=0"], "m__a", "m__a"),
        (["--cache-config=local,size=5"], "m__a_1", "m__a_2"),
        (["--response-cache-byte-size=5"], "m__a_1", "m__a_2"),
        (["--cache-config=redis,host=h", "--cache-config=redis,port=6379"], "m__a_run_1", "m__a_run_2"),
    ],
)
def test_with_a_cache_of_any_kind_a_model_has_a_new_name_each_time(flags: list[str], name: str, next_name: str) -> None:
    assert [alias_name("m", "a", flags, "run", load) for load in (1, 2)] == [name, next_name]


@pytest.mark.parametrize("flags", [{"cache-config": "redis,host=h"}, {"response-cache-byte-size": 65536}])
def test_a_cache_of_any_kind_tells_its_hit_rate(flags: dict[str, object], make_triton: MakeTriton) -> None:
    assert [one.name for one in make_triton(flags=flags).metrics()] == ["cache_hit_rate"]


def test_a_server_with_the_older_flag_of_a_cache_gets_no_second_one(
    make_triton: MakeTriton, dataset: Dataset, tmp_path: Path
) -> None:
    repository = write_model(tmp_path / "models", "sum", SUM, CACHE)
    target = make_triton(model="sum", repository=repository, variants={}, flags={"response-cache-byte-size": 65536})
    target.start()
    for _ in range(2):
        stats = measured(target.deploy({}, "x"), dataset, np.arange(20, dtype=np.int32), tmp_path)
        assert (stats.cache.hits, stats.cache.misses) == (0, 20), "nothing is left of the deployment before"


def test_the_cache_that_a_configuration_was_measured_with_is_in_its_export(
    make_triton: MakeTriton, dataset: Dataset, tmp_path: Path
) -> None:
    target = make_triton(model="sum", repository=write_model(tmp_path / "models", "sum", SUM), variants={})
    target.expect(["response_cache", "rate_limiter_priority"])
    kept, plain = (target.export({"response_cache": on}) for on in (True, False))
    assert FILE not in plain.files
    assert kept.files[FILE] == f"--cache-config=local,size={CACHE_BYTES}\n"
    assert kept.flags[-1:] == (f"--cache-config=local,size={CACHE_BYTES}",)
    assert plain.flags[-1:] == ("--load-model=sum",)
    limited = target.export({"rate_limiter_priority": 2})
    assert limited.files[FILE] == "--rate-limit=execution_count\n"
    target.start()
    for export in (kept, plain, limited):
        target.verify(export, dataset)
        assert list(target._fleet.any().flags) == from_text(export.files.get(FILE, ""))  # type: ignore[union-attr]


def test_the_users_own_cache_is_in_the_export_as_theirs(make_triton: MakeTriton, tmp_path: Path) -> None:
    repository = write_model(tmp_path / "models", "sum", SUM, CACHE)
    export = make_triton(model="sum", repository=repository, variants={}).export({})
    assert export.files[FILE] == export.originals[FILE] == f"--cache-config=local,size={CACHE_BYTES}\n"


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"response_cache": True, "cache_size": 0}, "response_cache needs a server .* --cache-config"),
        ({"response_cache": True, "cache_size": 65536}, ""),
        ({"response_cache": False, "cache_size": 0}, ""),
        ({"rate_limiter_priority": 2, "rate_limit": "off"}, "rate_limiter needs a server .* --rate-limit"),
        ({"rate_limiter_priority": 2, "rate_limit": "execution_count"}, ""),
        ({"rate_limit": "off"}, ""),
    ],
)
def test_a_flag_that_takes_away_what_another_knob_needs_is_refused(
    config: Config, refused: str, make_triton: MakeTriton, tmp_path: Path
) -> None:
    target = make_triton(model="sum", repository=write_model(tmp_path / "models", "sum", SUM), variants={})
    target.expect(["response_cache", "cache_size", "rate_limit", "rate_limiter_priority"])
    try:
        target.check(config)
        said, knobs = "", config.keys()
    except ConfigRefused as error:
        said, knobs = str(error), set(error.knobs)
    assert re.fullmatch(refused, said)
    assert knobs >= config.keys()


def test_what_the_users_own_files_have_is_never_refused_for_their_own_flags(
    make_triton: MakeTriton, tmp_path: Path
) -> None:
    limited = (SUM[0].replace("kind: KIND_CPU", "kind: KIND_CPU rate_limiter { priority: 3 }"), SUM[1])
    repository = write_model(tmp_path / "models", "sum", limited, CACHE)
    target = make_triton(model="sum", repository=repository, variants={}, flags={"rate-limit": "off"})
    target.expect(["cache_size", "rate_limiter_priority"])
    target.check(target.user_config())
    target.check({**target.user_config(), "cache_size": 0})  # a file may ask for a cache that there is none of
    with pytest.raises(ConfigRefused, match="--rate-limit"):
        target.check({**target.user_config(), "rate_limiter_priority": 2})


@pytest.mark.parametrize(("cache_size", "told"), [(1 << 24, True), (1 << 11, False)])
def test_latencies_of_hits_and_misses_are_told_apart_where_the_cache_keeps_every_answer(
    cache_size: int, told: bool, make_triton: MakeTriton, dataset: Dataset, tmp_path: Path
) -> None:
    """Computing takes 10 ms, which are in the latency of every miss."""
    slow = (
        SUM[1].replace("import", "import time\nimport", 1).replace("return [", "time.sleep(0.01)\n        return [", 1)
    )
    repository = write_model(tmp_path / "models", "sum", (SUM[0], slow), CACHE)
    target = make_triton(model="sum", repository=repository, variants={}, cache_size=cache_size)
    target.start()
    one = RequestClass(dataset, 5.0, repeats=REPEATS)
    workload = Workload("steady", (one,), None, 64, keep_alive=True, seed=3)
    load = workload.at(4.0)
    deployment = target.deploy({}, "x")
    with Generator() as generator:
        meter = Meter(generator, Sampler(Gpus()), {"steady": Slo({})}, tmp_path)
        meter.asking(deployment)(workload, one, 20)  # as for the accuracy
        run = meter.run(deployment, workload, load, Pace.fixed(0.3, 1.5))
        point = meter.point(run, workload, workload.parts[0], load, {}, Decision("cap", {}), None)
    assert point.server is not None
    cache = point.server.cache
    assert cache is not None
    assert bool(cache.hit_latency) == bool(cache.miss_latency) == told, cache.latency_note
    if told:
        assert cache.latency_note is None
        assert cache.hit_latency["p50"].value < cache.miss_latency["p50"].value
        assert cache.miss_latency["p50"].value >= 0.01
        apart = cache.hit_latency["p99"].n + cache.miss_latency["p99"].n
        assert apart + cache.either == sum(point.outcomes.values())
    else:
        assert "the server counted" in str(cache.latency_note)
