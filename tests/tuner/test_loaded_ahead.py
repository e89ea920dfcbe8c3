"""What is tried first is loaded while the tuner starts: once, and what that takes is its trial's, not the tuner's."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import psutil
import pytest

from targets.base import Config, ConfigRefused, Deployment, Target
from tests.support.simulated_study import write_simulated_study
from tuner.instruments import started
from tuner.load_plans import InTurn
from tuner.results import Trial
from tuner.study.load import load_study
from tuner.trials import Trier
from tuner.wiring import Prepared, prepare


class Counting:
    """A target that says how often it was told to load something, and refuses what it is told to."""

    def __init__(self, target: Target, *, keeps_server: bool = True, refuses: bool = False) -> None:
        self._target, self.keeps_server, self._refuses = target, keeps_server, refuses
        self.deployed: list[Config] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def deploy(self, config: Config, alias: str) -> Deployment:
        self.deployed.append(config)
        if self._refuses:
            raise ConfigRefused("out of memory")
        return self._target.deploy(config, alias)


@pytest.fixture
def simulated(tmp_path: Path) -> Prepared:
    return prepare(load_study(write_simulated_study(tmp_path)), tmp_path / "log.txt")


def first_trial(trier: Trier, config: Config) -> Trial:
    (trier.run_path / "records").mkdir(exist_ok=True)
    return trier.trial(0, config, InTurn([((one, one.at(4)),) for one in trier.workloads]))


def on(prepared: Prepared, target: Counting) -> Prepared:
    return replace(prepared, target=cast("Target", target))


def test_what_is_loaded_ahead_is_not_loaded_again_by_its_trial(simulated: Prepared, tmp_path: Path) -> None:
    target = Counting(simulated.target)
    config = simulated.target.user_config()
    with started(on(simulated, target), tmp_path, ahead=True) as bench:
        assert target.deployed == [config]
        applied_s = bench.trier.applied_s
        made = first_trial(bench.trier, config)
        assert target.deployed == [config]
        assert bench.trier.applied_s == applied_s
        assert 0 < made.apply_s < applied_s, "its own part, without the server's start"
        assert made.wall_s > made.apply_s + sum(one.window_s for one in made.points)
        again = first_trial(bench.trier, config)
        assert target.deployed == [config, config], "another trial has it loaded for itself"
        assert bench.trier.applied_s == pytest.approx(applied_s + again.apply_s)


def test_what_was_loaded_ahead_for_nothing_is_no_other_trials(simulated: Prepared, tmp_path: Path) -> None:
    target = Counting(simulated.target)
    other = {**simulated.target.user_config(), "max_batch_size": 2}
    with started(on(simulated, target), tmp_path, ahead=True) as bench:
        applied_s = bench.trier.applied_s
        made = first_trial(bench.trier, other)
        assert target.deployed == [simulated.target.user_config(), other]
        assert bench.trier.applied_s == pytest.approx(applied_s + made.apply_s)


@pytest.mark.parametrize(("ahead", "keeps_server"), [(False, True), (True, False)])
def test_nothing_is_loaded_ahead_unasked_or_where_each_deployment_is_a_server_of_its_own(
    ahead: bool, keeps_server: bool, simulated: Prepared, tmp_path: Path
) -> None:
    target = Counting(simulated.target, keeps_server=keeps_server)
    with started(on(simulated, target), tmp_path, ahead=ahead):
        assert target.deployed == []


def test_what_is_refused_ahead_is_refused_as_its_trial(simulated: Prepared, tmp_path: Path) -> None:
    target = Counting(simulated.target, refuses=True)
    with started(on(simulated, target), tmp_path, ahead=True) as bench:
        made = first_trial(bench.trier, simulated.target.user_config())
    assert (made.state, made.reason, made.points) == ("refused", "out of memory", [])
    assert len(target.deployed) == 2


def test_a_server_that_dies_after_it_loaded_ahead_fails_its_trial_and_is_started_again(
    simulated: Prepared, tmp_path: Path
) -> None:
    config = simulated.target.user_config()
    with started(simulated, tmp_path, ahead=True) as bench:
        (server,) = map(psutil.Process, simulated.target.deploy(config, "other").processes())
        server.kill()
        server.wait(10)
        assert first_trial(bench.trier, config).state == "crashed"
        assert first_trial(bench.trier, config).state == "complete"


def test_triton_loads_the_users_configuration_before_the_search_is_open_and_once(
    small_study: Callable[..., Path], tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    prepared = prepare(load_study(small_study()), log)
    with started(prepared, tmp_path, ahead=True) as bench:
        assert len(loaded(log)) == 1
        made = first_trial(bench.trier, prepared.target.user_config())
        assert made.state == "complete"
        assert len(loaded(log)) == 1
        assert made.apply_s < bench.trier.applied_s


def loaded(log: Path) -> list[str]:
    return re.findall(r"successfully loaded '(digits__candidate)'", log.read_text())
