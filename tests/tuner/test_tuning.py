"""Whole runs of a study whose server or load generator fails in one part of them."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from reports import text
from targets.base import Config, ConfigRefused, Deployment, Target, TargetError
from tests.support.simulated_study import write_simulated_study
from tuner.cli.writing import write_reports
from tuner.instruments import started
from tuner.load.generator import Generator, GeneratorError, LoadRun
from tuner.opening import open_search
from tuner.recommendation import NOTHING_KEPT
from tuner.results import NEWER, Closest, Result, Trial, Value, read_result
from tuner.rundir import RunDirectory, StudyMark, open_run
from tuner.study.load import load_study
from tuner.tuning import Tuning
from tuner.wiring import prepare

pytestmark = pytest.mark.long


class Heard:
    """A listener that keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def phase(self, name: str, detail: str) -> None:
        self.notes.append(f"{name}: {detail}")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def resumed(self, trials: Sequence[Trial], best: Trial | None) -> None: ...

    def attempt(self, number: int, config: "dict[str, Value]") -> None: ...

    def trial(self, trial: Trial, best: Trial | None) -> None: ...

    def progress(self, spent_s: float, budget_s: float) -> None: ...


class Ended(NamedTuple):
    result: Result
    notes: list[str]


def tuned(folder: Path, target_of: Callable[[Target], object], *overrides: str, fresh: bool = True) -> Ended:
    """Run the study of the simulated server on a target that is made of its own, or go on with it."""
    study = load_study(write_simulated_study(folder) if fresh else folder / "study.yaml", overrides)
    directory = open_run(folder / "runs", study.spec.study, StudyMark(""), None, fresh=fresh)
    prepared = prepare(study, directory.log)
    prepared = replace(prepared, target=target_of(prepared.target))  # type: ignore[arg-type]
    heard = Heard()
    with started(prepared, directory.path) as bench:
        opened = open_search(prepared, directory)
        result = Tuning(prepared, directory, opened, bench, heard, lambda: None).run()  # type: ignore[arg-type]
    return Ended(result, heard.notes)


class Refusing:
    """The simulated server, as if it refused to load a contender of the confirmation when a test says so."""

    side_by_side = True

    def __init__(self, target: Target, refuses: Callable[[str], bool]) -> None:
        self._target, self._refuses = target, refuses

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def deploy(self, config: Config, alias: str) -> Deployment:
        if self._refuses(alias):
            raise ConfigRefused(f"out of memory for {alias}")
        return self._target.deploy(config, alias)


def test_where_only_one_deployment_fits_a_gain_is_found_all_the_same(tmp_path: Path) -> None:
    ended = tuned(tmp_path, lambda target: Refusing(target, lambda alias: alias in ("contender1", "contender2")))
    made = ended.result.confirmation
    assert made is not None
    assert made.redeployments == 2
    assert made.gains["throughput_rps"].n == 2
    assert any("could not be loaded beside" in one for one in ended.notes)


def test_where_no_confirmation_can_be_made_the_run_says_why_and_is_not_decided(tmp_path: Path) -> None:
    ended = tuned(tmp_path, lambda target: Refusing(target, lambda alias: alias.startswith("contender")))
    assert ended.result.confirmation is None
    assert ended.result.message is not None
    assert ended.result.message.startswith("no confirmation could be made: out of memory for contender")
    assert ended.result.exit_code == 5
    assert ended.result.best is not None
    assert ended.result.best.trial == 0


def test_a_baseline_that_misses_its_slo_and_uses_up_the_time_leaves_the_run_undecided(tmp_path: Path) -> None:
    result = tuned(tmp_path, lambda target: target, "slo.p90=1 ms", "search.budget.time=1 s").result
    assert [trial.number for trial in result.trials] == [0]
    assert result.exit_code == 5
    assert result.best is None
    assert result.closest is not None
    assert result.message is not None
    assert result.message.endswith("there was no time to try another one; raise `search.budget.time`")


class Slow:
    """The simulated server, as if it took two seconds to load a configuration."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def deploy(self, config: Config, alias: str) -> Deployment:
        time.sleep(2.0)
        return self._target.deploy(config, alias)


def test_a_grid_that_takes_longer_than_there_is_time_by_what_the_baseline_took_is_not_begun(tmp_path: Path) -> None:
    overrides = ("search.sampler=auto", "search.choose=robust", "search.budget.trials=12", "search.budget.time=20 s")
    result, notes = tuned(tmp_path, Slow, *overrides)
    assert result.search is not None
    assert result.search.sampler == "tpe"
    assert result.search.reason.startswith("all 12 configurations take about ")
    assert f"sampler tpe: {result.search.reason}" in notes


class Killed(BaseException):
    """What nothing cleans up after."""


class Killing(Heard):
    """A listener that ends the run as a killed one ends, when a trial begins."""

    def attempt(self, number: int, config: "dict[str, Value]") -> None:  # noqa: ARG002 - as a listener has it
        if number == 3:
            raise Killed


def test_a_killed_run_has_every_trial_that_ended_though_its_result_was_not_written_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.tuning.PUBLISH_EVERY_S", 1e9)
    study = load_study(write_simulated_study(tmp_path, trials=4))
    directory = open_run(tmp_path / "runs", study.spec.study, StudyMark(""), None, fresh=True)
    prepared = prepare(study, directory.log)
    with started(prepared, directory.path) as bench:
        run = Tuning(prepared, directory, open_search(prepared, directory), bench, Killing(), lambda: None)
        with pytest.raises(Killed):
            run.run()
    assert len(json.loads(directory.result.read_text())["trials"]) == 1
    with (directory.path / NEWER).open("a") as file:
        file.write('{"number": 3, "con')  # a line that was not finished
    killed = read_result(directory.path)
    assert killed.state == "running"
    assert [trial.number for trial in killed.trials] == [0, 1, 2]
    again = open_search(prepared, directory).search
    assert again.trials() == killed.trials[1:]
    loaded_s = sum(point.window_s + point.warmup_s for trial in killed.trials for point in trial.points)
    assert again.remembered("spent")["measured_s"] == pytest.approx(loaded_s)

    ended = tuned(tmp_path, lambda target: target, fresh=False)
    assert ended.result.trials[:3] == killed.trials
    assert [trial.number for trial in read_result(directory.path).trials] == [0, 1, 2, 3, 4]
    assert not (directory.path / NEWER).exists()


class Spoiling(Generator):
    """A load generator that fails in its first measurements."""

    left = 0

    def finish(self) -> LoadRun:
        run = super().finish()
        if Spoiling.left:
            Spoiling.left -= 1
            raise GeneratorError("a process of it ended")
        return run


def test_a_baseline_without_a_point_ends_the_run_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.instruments.Generator", Spoiling)
    monkeypatch.setattr(Spoiling, "left", 1)
    with pytest.raises(GeneratorError, match=r"not measured on steady, .*: a process of it ended; the same command"):
        tuned(tmp_path, lambda target: target)
    (run,) = {path.resolve() for path in (tmp_path / "runs" / "queue").iterdir()}
    result = read_result(run)
    assert (result.state, result.exit_code, result.trials) == ("failed", 5, [])
    assert result.message is not None
    assert "a process of it ended" in result.message
    again = tuned(tmp_path, lambda target: target, fresh=False).result
    assert again.state == "done"
    assert [trial.number for trial in again.trials] == [0, 1, 2]


@pytest.mark.parametrize(("levels", "made"), [("[2, 8]", True), ("[4]", False)])
def test_a_shortlist_of_one_is_made_where_yours_met_the_slo_at_two_levels(
    tmp_path: Path, levels: str, made: bool
) -> None:
    """Which of the two it is compared at is not known without."""
    ended = tuned(tmp_path, lambda target: target, f"space.concurrency={levels}", "search.budget.trials=1")
    shortlists = [one for one in ended.notes if one.startswith("shortlist: ")]
    assert shortlists == (["shortlist: the 1 best and yours again, side by side"] if made else [])
    assert any(one.startswith("confirm: ") for one in ended.notes)


CLIMBING = ("load.search=max_under_slo", "space.concurrency=[2, 4, 8]", "search.budget.trials=1")


def test_a_climb_of_yours_without_a_verdict_is_told_of(tmp_path: Path) -> None:
    """A p99 takes hundreds of requests, and 0.3 s have less than a hundred."""
    ended = tuned(tmp_path, lambda target: target, *CLIMBING, "slo={p99: 900 ms}")
    (said,) = [one for one in ended.notes if "too few requests" in one]
    assert said.startswith("3 of 3 points had too few requests for a verdict on their latency")
    assert [one.load.level for one in ended.result.trials[0].points] == [4, 2, 8]


class Unplugged:
    """The simulated server, as if it could not be reached any more once another configuration than yours is tried."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def deploy(self, config: Config, alias: str) -> Deployment:
        if config != self._target.user_config():
            raise TargetError("unplugged")
        return self._target.deploy(config, alias)


def test_a_resumed_climb_begins_where_the_last_one_ended(tmp_path: Path) -> None:
    overrides = (*CLIMBING, "slo={p50: 900 ms}")
    with pytest.raises(TargetError, match="unplugged"):
        tuned(tmp_path, Unplugged, *overrides)
    result = tuned(tmp_path, lambda target: target, *overrides, fresh=False).result
    yours, first = ([one.load.level for one in trial.points] for trial in result.trials)
    assert (yours, first) == ([4, 8], [8])


def test_a_run_whose_workloads_climbed_together_measures_yours_anew(tmp_path: Path) -> None:
    """A run that was begun before each workload climbed by itself: candidates would meet yours at a lower level."""
    path = write_simulated_study(tmp_path)
    steady = path.read_text().partition("workloads:\n")[2].partition("space:")[0]
    path.write_text(path.read_text().replace("space:", f"{steady.replace('steady', 'other')}space:"))
    overrides = (*CLIMBING, "slo={p50: 900 ms}")
    with pytest.raises(TargetError, match="unplugged"):
        tuned(tmp_path, Unplugged, *overrides, fresh=False)
    study = load_study(path, overrides)
    directory = open_run(tmp_path / "runs", study.spec.study, StudyMark(""), None, fresh=False)
    search = open_search(prepare(study, directory.log), directory).search
    search.remember("baseline", {**search.remembered("baseline"), "own_loads": False})
    ended = tuned(tmp_path, lambda target: target, *overrides, fresh=False)
    assert "your configuration was climbed with all workloads at one level: it is measured anew" in ended.notes
    assert [(one.number, one.own_loads) for one in ended.result.trials] == [(0, True), (1, True)]


def test_a_run_that_confirmed_nothing_and_has_no_best_has_a_report(tmp_path: Path) -> None:
    result = tuned(tmp_path, lambda target: target).result
    assert result.confirmation is not None
    closest = Closest(trial=1, point=0, missed={"steady.p99": 0.25})
    nothing = result.model_copy(update={"best": None, "closest": closest, "message": NOTHING_KEPT, "exit_code": 4})
    directory = RunDirectory(tmp_path / "runs" / "queue" / "latest")
    write_reports(nothing, directory, None)
    page = (directory.path / "report.html").read_text()
    assert NOTHING_KEPT in page
    assert "steady.p99 is 25.0% over its bound" in page
    assert text.headline(nothing) == f"{NOTHING_KEPT}\nClosest: trial 1 missed steady.p99 by 25%"
