"""What is tried next, and when the twin is believed."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from batching_server import BOUND_S, ROLES, SPACE, Truth, a_server, baseline, best_of, measured
from result_builders import GOALS
from workload_builders import workload

from targets.base import Config, ConfigRefused
from tuner.findings import Findings
from tuner.objective import Goal, pessimistic
from tuner.planning import CERTAIN_AFTER, FEWEST, Planner
from tuner.rank import worth
from tuner.results import Trial
from tuner.rules import Rules
from tuner.search import Search
from tuner.space import Parameter, Space, server_part
from tuner.storage import open_storage
from tuner.twin.planner import Twin

STEADY = workload("steady")


class Run:
    """A search without a server: proposals are answered by arithmetic."""

    def __init__(
        self,
        folder: Path,
        truth: Truth,
        sampler: str = "twin",
        space: Space = SPACE,
        seed: int = 0,
        refuses: Callable[[Config], bool] = lambda _: False,
        goals: tuple[Goal, ...] = GOALS,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.seconds = seconds
        self.truth, self.rng, self.refuses, self.goals = truth, np.random.default_rng(seed), refuses, goals
        study = SimpleNamespace(spec=SimpleNamespace(bounds=lambda: {"steady": {"p99": BOUND_S}}))
        self.found = Findings(study, space, [STEADY], self.goals)  # type: ignore[arg-type]
        self.search = Search(open_storage("sqlite", folder), space, self.goals, sampler, seed)
        twin = Twin(space, [STEADY], self.goals, study.spec.bounds(), ROLES, 1, seed) if sampler == "twin" else None
        self.planner = Planner(self.search, self.found, space, self.goals[0], twin, 0.05)
        points = [one.points[0] for one in baseline(truth, self.rng)]
        own = measured(0, {**space.own, "concurrency": 1}, truth, self.rng)
        self.found.trials = [own.model_copy(update={"points": points})]
        self.search.skip(space.at_every_load(space.own))

    def step(self) -> Trial | None:
        made = self.planner.next()
        if made is None:
            return None
        proposal, predicted = made
        trial = measured(proposal.number, {**SPACE.own, **proposal.config}, self.truth, self.rng)
        trial = trial.model_copy(update={"predicted": predicted})
        if self.seconds is not None:
            trial = trial.model_copy(update=self.times(trial.config, self.seconds))
        objective = worth(trial, ["steady"], self.goals)
        if self.refuses(proposal.config):
            trial = trial.model_copy(update={"state": "refused", "points": [], "reason": "no"})
            objective = pessimistic(self.goals, ["steady.p99"])
        self.search.tell(trial, objective)
        self.found.trials.append(trial)
        return trial

    def times(self, config: Config, seconds: Mapping[str, float]) -> dict[str, float]:
        """Return what a trial takes whose changes take so long by knob, and its measuring a second."""
        before = self.found.trials[-1].config
        apply_s = max((taken for name, taken in seconds.items() if before[name] != config[name]), default=0.0)
        return {"apply_s": apply_s, "wall_s": apply_s + 1.0}

    def steps(self, count: int) -> list[Trial]:
        return [trial for _ in range(count) if (trial := self.step()) is not None]


def test_the_twin_proposes_the_best_within_a_few_trials_and_says_what_it_expects(tmp_path: Path) -> None:
    run = Run(tmp_path, a_server())
    trials = run.steps(6)
    best = max(one.points[0].metrics["throughput_rps"].value for one in trials if one.points[0].violations["p99"] <= 0)
    assert best > 0.9 * best_of(a_server())
    assert all(set(one.predicted["steady"]) == {"throughput_rps", "latency_p99_s"} for one in trials)
    assert len(run.planner.prediction_errors()) == 6
    assert not run.planner.handed_over


def test_trials_that_miss_the_slo_are_no_errors_of_what_was_expected_of_their_goodput(tmp_path: Path) -> None:
    """Batches of 8 and more are five times as slow: their p99 is far over the bound, and no goodput is left."""

    def slow(config: Config) -> float:
        return 5.0 if config["max_batch_size"] >= 8 else 1.0

    run = Run(tmp_path, a_server(slow), goals=(Goal(True, "steady", "goodput"), GOALS[1]))
    trials = run.steps(12)
    of_nothing = [one for one in trials if one.points[0].metrics["goodput_rps"].value == 0]
    assert len(of_nothing) >= 3
    assert len(run.planner.prediction_errors()) == len(trials)


def test_no_configuration_is_proposed_twice_nor_the_users_own(tmp_path: Path) -> None:
    run = Run(tmp_path, a_server())
    seen = [tuple(sorted(trial.config.items())) for trial in run.steps(15)]
    assert len(set(seen)) == 15
    own = tuple(sorted(SPACE.own.items()))
    assert all(set(own) - set(one) for one in seen)


def test_what_the_study_wants_tried_first_is(tmp_path: Path) -> None:
    start = {"max_batch_size": 1, "max_queue_delay": 0.002, "instances": 2, "precision": "int8"}
    space = Space(SPACE.parameters, own=SPACE.own, starts=(start,))
    (first,) = Run(tmp_path, a_server(), space=space).steps(1)
    assert {**first.config, **start} == first.config
    assert first.predicted, "the twin says what it expects of it all the same"


class Ruled:
    """A target whose server takes no batch above 8."""

    def expect(self, knobs: object) -> None: ...

    def check(self, config: Config) -> None:
        if config["max_batch_size"] > 8:
            raise ConfigRefused("too large", ("max_batch_size",))


@pytest.mark.parametrize("sampler", ["twin", "tpe", "grid"])
def test_a_start_that_breaks_a_rule_is_tried_once_and_nothing_else_that_does(tmp_path: Path, sampler: str) -> None:
    start = {"max_batch_size": 32, "precision": "int8"}
    space = Space(SPACE.parameters, own=SPACE.own, starts=(start,), rules=Rules(Ruled(), SPACE.own))
    run = Run(tmp_path, a_server(), sampler, space, refuses=lambda config: config["max_batch_size"] > 8)
    first, *others = run.steps(12)
    assert {**first.config, **start} == first.config
    assert first.state == "refused"
    assert len(others) == 11
    assert {trial.state for trial in others} == {"complete"}


def test_a_small_space_with_a_twin_and_rules_ends_when_all_that_they_leave_was_tried_once(tmp_path: Path) -> None:
    names = ("max_batch_size", "instances", "precision", "concurrency")
    few = {"max_batch_size": (4, 8, 16), "concurrency": (8, 32)}
    parameters = tuple(
        replace(one, values=few.get(one.name, one.values)) for one in SPACE.parameters if one.name in names
    )
    space = Space(parameters, own=SPACE.own, starts=({"max_batch_size": 16},), rules=Rules(Ruled(), SPACE.own))
    run = Run(tmp_path, a_server(), space=space, refuses=lambda config: config["max_batch_size"] > 8)
    trials = run.steps(100)
    assert run.step() is None
    # Two batches, two instances, two precisions and two loads, without yours; and the start.
    assert len(trials) == 2 * 2 * 2 * 2 - 2 + 1
    assert len({str(trial.config) for trial in trials}) == len(trials)


DELAYS = tuple(0.0002 * step for step in range(40))
FINE = replace(
    SPACE,
    parameters=tuple(
        replace(one, values={"max_batch_size": tuple(range(1, 33)), "max_queue_delay": DELAYS,
                             "concurrency": tuple(range(1, 65))}.get(one.name, one.values))
        for one in SPACE.parameters
    ),
)  # fmt: skip
"""More than 300,000 configurations."""


def narrow(config: Config) -> float:
    """Every other batch than one of 29 is slower, the more so the farther off it is, and so is any delay."""
    off = abs(float(config["max_batch_size"]) - 29) / 4 + float(config["max_queue_delay"]) / 0.001
    return 1.0 + min(off, 3.0)


def true_of(config: Config) -> tuple[float, float]:
    """Return throughput and p99 of a configuration."""
    throughput, p99, _ = a_server(narrow)([{**SPACE.own, **config}])[:, 0]
    return throughput, p99


@pytest.mark.parametrize("seed", [0, 1])
def test_in_a_large_space_the_twin_finds_what_was_not_among_those_that_it_looked_at_first(
    tmp_path: Path, seed: int
) -> None:
    run = Run(tmp_path, a_server(narrow), space=FINE, seed=seed)
    assert FINE.size > 100_000
    assert run.planner.twin is not None
    first = [throughput for throughput, p99 in map(true_of, run.planner.twin.candidates) if p99 <= BOUND_S]
    run.steps(25)
    found = run.found.ranked()[0].trial
    reached, _ = true_of(found.config)
    best, p99 = true_of({"max_batch_size": 29, "instances": 2, "precision": "int8", "concurrency": 49})
    assert p99 <= BOUND_S
    assert reached > 0.95 * best > 1.1 * max(first)
    assert found.config not in [{**SPACE.own, **one} for one in run.planner.twin.candidates]


def test_what_is_near_the_best_is_the_same_after_a_resume(tmp_path: Path) -> None:
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    whole = Run(tmp_path / "whole", a_server(narrow), space=FINE)
    expected = [trial.config for trial in whole.steps(10)]
    begun = Run(tmp_path / "again", a_server(narrow), space=FINE)
    begun.steps(6)
    resumed = Run(tmp_path / "again", a_server(narrow), space=FINE)
    resumed.found.trials += resumed.search.trials()
    resumed.rng = begun.rng
    assert [trial.config for trial in resumed.steps(4)] == expected[6:]


def test_a_variant_that_was_never_measured_comes_first(tmp_path: Path) -> None:
    run = Run(tmp_path, a_server())
    first, second = run.steps(2)
    assert first.config["precision"] == "int8"
    assert {name: first.config[name] for name in ("max_batch_size", "max_queue_delay", "instances")} == {
        name: SPACE.own[name] for name in ("max_batch_size", "max_queue_delay", "instances")
    }
    assert any(second.config[name] != SPACE.own[name] for name in ("max_batch_size", "max_queue_delay", "instances"))


@pytest.mark.parametrize("sampler", ["twin", "tpe"])
def test_a_server_that_refuses_a_third_of_all_configurations_still_ends_with_the_right_best(
    tmp_path: Path, sampler: str
) -> None:
    """It takes no batches of 32, and no int8 with two instances."""

    def refuses(config: Config) -> bool:
        return config["max_batch_size"] == 32 or (config["precision"] == "int8" and config["instances"] == 2)

    taken = [{**SPACE.own, **one} for one in SPACE.configs() if not refuses(one)]
    assert 0.5 < len(taken) / SPACE.size < 0.67
    throughput, p99, _ = a_server()(taken)
    run = Run(tmp_path, a_server(), sampler, refuses=refuses)
    trials = run.steps(20 if sampler == "twin" else 60)
    refused = [trial for trial in trials if trial.state == "refused"]
    servers = [tuple(server_part(trial.config).values()) for trial in refused]
    assert len(set(servers)) == len(servers), "what was refused is not tried again under another load"
    best = run.found.ranked()[0].objective.values[0]
    assert best > 0.93 * throughput[p99 <= BOUND_S].max()


@pytest.mark.parametrize("sampler", ["nsga2", "qmc", "random", "grid"])
def test_no_sampler_tries_under_another_load_what_was_refused(tmp_path: Path, sampler: str) -> None:
    run = Run(tmp_path, a_server(), sampler, refuses=lambda config: config["precision"] == "int8")
    refused = [trial for trial in run.steps(40) if trial.state == "refused"]
    servers = [tuple(server_part(trial.config).values()) for trial in refused]
    assert servers
    assert len(set(servers)) == len(servers)


def a_riddle(seed: int) -> Truth:
    """Return a server that is fast or slow by a coin thrown for each configuration: nothing can be predicted of it."""

    def slow(config: Config) -> float:
        key = [round(1e4 * float(value)) for value in config.values() if not isinstance(value, str)]
        return float(np.exp(np.random.default_rng([seed, *key]).choice([-1.5, 1.5])))

    return a_server(slow)


def test_a_twin_that_is_far_off_hands_over_and_predicts_on(tmp_path: Path) -> None:
    run = Run(tmp_path, a_riddle(0))
    run.steps(FEWEST + 8)
    assert run.planner.handed_over
    further = run.step()
    assert further is not None
    assert further.predicted


def test_the_same_measurements_lead_to_the_same_proposals_across_a_resume(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    whole = [trial.config for trial in Run(tmp_path / "one", a_server()).steps(8)]
    first = Run(tmp_path / "two", a_server())
    part = first.steps(4)
    again = Run(tmp_path / "two", a_server())
    again.found.trials, again.rng = first.found.trials, first.rng
    assert [trial.config for trial in [*part, *again.steps(4)]] == whole


def test_the_chance_that_is_left_falls_when_the_best_was_found(tmp_path: Path) -> None:
    run = Run(tmp_path, a_server())
    run.steps(1)
    before = run.planner.chance_left
    run.steps(25)
    after = run.planner.chance_left
    assert before is not None
    assert after is not None
    assert after < before
    assert after < 0.3


def test_the_twin_is_certain_only_after_it_was_right_a_few_times(tmp_path: Path) -> None:
    run = Run(tmp_path, a_server())
    run.steps(CERTAIN_AFTER - 1)
    run.planner.chance_left = 0.0
    assert not run.planner.certain(0.95)
    run.steps(1)
    run.planner.chance_left = 0.04
    assert run.planner.certain(0.95)
    assert not run.planner.certain(1.0)
    run.planner.chance_left = 0.06
    assert not run.planner.certain(0.95)


def test_a_twin_that_handed_over_is_certain_of_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, a_riddle(0))
    run.steps(CERTAIN_AFTER + 2)
    run.planner.chance_left = 0.0
    assert run.planner.handed_over
    assert not run.planner.certain(0.95)


def test_without_batches_to_learn_from_the_probes_come_first(tmp_path: Path) -> None:
    run = Run(tmp_path, a_server())
    silent = [point.model_copy(update={"server": None}) for point in run.found.trials[0].points]
    run.found.trials[0] = run.found.trials[0].model_copy(update={"points": silent})
    first = run.step()
    assert first is not None
    assert first.predicted == {}
    changed = [name for name, value in SPACE.own.items() if first.config[name] != value]
    assert len(changed) == 1


def test_where_loads_are_climbed_the_twin_proposes_servers_and_expects_them_at_their_best_load(tmp_path: Path) -> None:
    run = Run(tmp_path, a_server())
    run.steps(1)
    (tmp_path / "servers").mkdir()
    servers = SPACE.without_load()
    search = Search(open_storage("sqlite", tmp_path / "servers"), servers, GOALS, "twin", 0)
    made = Planner(search, run.found, servers, GOALS[0], run.planner.twin, 0.05).next()
    assert made is not None
    proposal, predicted = made
    assert set(proposal.config) == {one.name for one in servers}
    assert predicted["steady"]["throughput_rps"].value > 0.8 * best_of(a_server())


def test_every_configuration_can_be_tried(tmp_path: Path) -> None:
    small = Space(tuple(Parameter(one.knob, one.values[:2], one.ordered) for one in SPACE), own=SPACE.own)
    run = Run(tmp_path, a_server(), space=small)
    assert len(run.steps(40)) == small.size
    assert run.planner.chance_left == 0.0


SECONDS = {"precision": 20.0, "max_batch_size": 0.3, "max_queue_delay": 0.3, "instances": 0.3}
"""What a change of each knob takes."""


def of_kinds(**applied: str) -> Space:
    """Return the space with knobs whose change takes up more or less of the server."""
    parameters = (replace(one, knob=replace(one.knob, applied=applied.get(one.name, "reload"))) for one in SPACE)
    return replace(SPACE, parameters=tuple(parameters))


@pytest.mark.parametrize("kind", ["restart", "reload"])
@pytest.mark.parametrize(("seconds", "most"), [(8.0, 4), (0.1, 20)])
def test_what_is_dear_is_left_alone_while_the_cheap_is_tried(
    tmp_path: Path, kind: str, seconds: float, most: int
) -> None:
    """Where a change takes 8 s, whatever kind it is, 8 trials of a second each go between two of them."""
    run = Run(tmp_path, a_server(), "random", of_kinds(precision=kind), seconds={**SECONDS, "precision": seconds})
    of = [trial.config["precision"] for trial in run.steps(30)[10:]]
    changes = sum(one != other for one, other in itertools.pairwise(of))
    assert changes <= most
    assert changes >= 1 or seconds > 1


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "qmc"])
def test_with_a_dear_reload_the_changes_take_less_and_the_best_is_as_good(
    tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, best = {}, {}
    for name in ("kept", "free"):
        if name == "free":
            monkeypatch.setattr("tuner.planning.kept", lambda *_: {})
        (tmp_path / name).mkdir()
        run = Run(tmp_path / name, a_server(), sampler, seconds=SECONDS)
        taken[name] = sum(trial.apply_s for trial in run.steps(40))
        best[name] = true_throughput(run)
    assert taken["kept"] < 0.6 * taken["free"]
    assert best["kept"] > 0.97 * best["free"]


def true_throughput(run: Run) -> float:
    """Return what the best so far truly does."""
    return float(a_server()([{**SPACE.own, **run.found.ranked()[0].trial.config}])[0, 0])


def test_where_every_knob_restarts_the_load_alone_is_varied_after_each(tmp_path: Path) -> None:
    space = of_kinds(**dict.fromkeys(SECONDS, "restart"), concurrency="live")
    run = Run(tmp_path, a_server(), "random", space, seconds=dict.fromkeys(SECONDS, 20.0))
    servers = [server_part(trial.config) for trial in run.steps(40)[10:]]
    changes = sum(one != other for one, other in itertools.pairwise(servers))
    assert 30 / 8 < changes < 30 / 4


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_what_is_left_alone_is_the_same_after_a_resume(tmp_path: Path, sampler: str) -> None:
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    whole = Run(tmp_path / "whole", a_server(), sampler, seconds=SECONDS)
    expected = [trial.config for trial in whole.steps(24)]
    begun = Run(tmp_path / "again", a_server(), sampler, seconds=SECONDS)
    begun.steps(14)
    resumed = Run(tmp_path / "again", a_server(), sampler, seconds=SECONDS)
    resumed.found.trials += resumed.search.trials()
    resumed.rng = begun.rng
    assert [trial.config for trial in resumed.steps(10)] == expected[14:]


def test_what_changes_take_is_learnt(tmp_path: Path) -> None:
    run = Run(tmp_path, a_server(), "random", of_kinds(precision="restart"), seconds=SECONDS)
    run.steps(12)
    costs = run.planner.costs()
    assert costs.knobs["precision"] == pytest.approx(20.0)
    assert costs.of({"instances": 1}, {"instances": 2}) < 20.0
