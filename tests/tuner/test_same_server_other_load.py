"""Trials that differ in their load alone, on servers that start a process for each configuration."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import workload_builders

from targets.base import Config, Context, Target
from targets.command.options import CommandOptions
from targets.command.target import CommandTarget
from tests.conftest import STUDIES
from tests.mlserver.conftest import mlserver_target
from tests.support.command_targets import COMMAND, ROWS
from tuner.load.generator import Generator
from tuner.measure import Meter
from tuner.objective import Goal
from tuner.results import Trial
from tuner.slo import Slo
from tuner.stopping import Pace
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.trials import ALIAS, Accuracies, Trier
from tuner.workload import Workload
from workloads.datasets import load_npz
from workloads.requests import Dataset

pytestmark = pytest.mark.long

PACE = Pace(0.05, 0.05, 0.1, 0.2)


def command(folder: Path) -> tuple[Target, Dataset, Config]:
    options = CommandOptions.model_validate(
        {
            "command": [*COMMAND, "--number", "{{ n }}"],
            "request": {"body": "{{ X | tojson }}"},
            "knobs": {"n": {"type": "int", "default": 1}},
        }
    )
    return CommandTarget(options, Context(folder, folder / "log.txt")), ROWS, {"n": 2}


def mlserver(folder: Path) -> tuple[Target, Dataset, Config]:
    return mlserver_target(folder), load_npz(STUDIES / "mlserver" / "test.npz"), {"max_batch_size": 4}


KINDS: Mapping[str, Callable[[Path], tuple[Target, Dataset, Config]]] = {"command": command, "mlserver": mlserver}


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trier, Config]]:
    """A trier on a target that is started, and what its knobs can be changed to."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "records").mkdir()
    target, dataset, other = KINDS[request.param](folder)
    plain = workload_builders.workload(timeout_s=20.0)
    workload = replace(plain, classes=tuple(replace(one, dataset=dataset) for one in plain.classes))
    with Generator() as generator:
        target.start()
        try:
            yield trier_of(target, workload, generator, folder), other
        finally:
            target.stop()


def trier_of(target: Target, workload: Workload, generator: Generator, folder: Path) -> Trier:
    return Trier(
        target=target,
        meter=Meter(generator, Sampler(Gpus()), {workload.name: Slo({"p50": 20.0})}, folder),
        workloads=[workload],
        accuracies=Accuracies(),
        pace=PACE,
        goals=(Goal(True, workload.name, "throughput"),),
        tolerance=0.5,
        confidence=0.99,
        run_path=folder,
    )


def tried(trier: Trier, number: int, concurrency: int, other: Config | None = None) -> tuple[Trial, frozenset[int]]:
    """Try the user's configuration, or one with other values, at a load; return the trial and who served it."""
    config = {**trier.target.user_config(), **(other or {}), "concurrency": concurrency}
    trial = trier.attempt(number, config, ())
    assert trial.points, trial.reason
    assert trial.points[0].load.level == concurrency
    assert trier._deployed is not None
    return trial, frozenset(trier._deployed.processes())


def test_another_load_finds_the_server_as_it_is(served: tuple[Trier, Config]) -> None:
    trier, _ = served
    _, before = tried(trier, 1, 1)
    applied_s = trier.applied_s
    for number, concurrency in ((2, 2), (3, 3)):
        trial, after = tried(trier, number, concurrency)
        assert before
        assert after == before, "nothing was started"
        assert trial.apply_s == 0
    assert trier.applied_s == applied_s


def test_another_configuration_gets_a_server_of_its_own_and_so_does_the_one_before(
    served: tuple[Trier, Config],
) -> None:
    trier, other = served
    _, first = tried(trier, 1, 1)
    changed, second = tried(trier, 2, 1, other)
    again, third = tried(trier, 3, 1)
    assert changed.apply_s > 0
    assert again.apply_s > 0
    assert not first & second
    assert not second & third


def test_a_server_that_ended_between_two_trials_is_started_again(served: tuple[Trier, Config]) -> None:
    trier, _ = served
    _, before = tried(trier, 1, 1)
    processes = [psutil.Process(pid) for pid in before]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=20)
    trial, after = tried(trier, 2, 2)
    assert trial.apply_s > 0
    assert not after & before


def test_what_was_unloaded_or_replaced_is_loaded_again(served: tuple[Trier, Config]) -> None:
    trier, other = served
    _, first = tried(trier, 1, 1)
    trier.release()
    _, second = tried(trier, 2, 1)
    trier.deploy({**trier.target.user_config(), **other}, ALIAS)
    trial, third = tried(trier, 3, 1)
    assert trial.apply_s > 0
    assert not first & second
    assert not second & third
