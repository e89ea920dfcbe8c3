"""The twin against servers that it does not know: it predicts, proposes, and says how sure it is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from batching_server import BOUND_S, KNOBS, ROLES, SPACE, Truth, a_server, baseline, best_of, every, measured
from result_builders import GOALS
from workload_builders import workload

from targets.base import Config, Knob
from tuner.objective import Goal
from tuner.results import Trial, TrialState
from tuner.space import Parameter, Space
from tuner.twin.forecast import roles_of, server_of
from tuner.twin.forecasts import Forecasts
from tuner.twin.planner import Twin
from workloads.arrivals import Poisson


def a_twin(goals: Sequence[Goal] = GOALS) -> Twin:
    return Twin(SPACE, [workload("steady")], goals, {"steady": {"p99": BOUND_S}}, ROLES, cores=1, seed=0)


def search(truth: Truth, seed: int, trials: int, goal: Goal = GOALS[0]) -> tuple[float, list[Trial]]:
    """Return the true throughput of the best measured over the best there is, after so many proposals."""
    rng, twin = np.random.default_rng(seed), a_twin([goal])
    made, tried = baseline(truth, rng), set[int]()
    reached, best_there_is = 0.0, best_of(truth)
    for number in range(1, trials + 1):
        forecasts = twin.forecasts(made, twin.candidates)
        assert forecasts is not None
        fine = [one for one in made if one.points[0].violations["p99"] <= 0]
        best = max((one.points[0].metrics["throughput_rps"].value for one in fine), default=None)
        gains = forecasts.gains(goal, best)
        gains[list(tried)] = -1
        index = int(np.argmax(gains))
        tried.add(index)
        config = {**SPACE.own, **twin.candidates[index]}
        made.append(measured(number, config, truth, rng))
        throughput, p99, _ = truth([config])[:, 0]
        reached = max(reached, throughput / best_there_is if p99 <= BOUND_S else 0.0)
    return reached, made


@pytest.mark.parametrize("metric", ["throughput", "goodput"])
@pytest.mark.parametrize("seed", range(3))
def test_on_a_server_that_works_as_simulated_it_finds_the_best_in_five_proposals(seed: int, metric: str) -> None:
    reached, _ = search(a_server(), seed, 5, Goal(True, "steady", metric))
    assert reached >= 0.95


def test_a_goodput_of_nothing_says_that_the_slo_is_missed_and_not_that_the_server_is_slow() -> None:
    """What is forecast of goodput is what is forecast of throughput: a missed bound is the latency's forecast."""
    goals = [Goal(True, "steady", "goodput"), Goal(True, "steady", "throughput")]
    made = baseline(a_server(lambda _: 3.0), np.random.default_rng(0))
    assert 0.0 in {trial.points[0].metrics["goodput_rps"].value for trial in made}
    twin = a_twin(goals)
    forecasts = twin.forecasts(made, twin.candidates)
    assert forecasts is not None
    median = forecasts.median["steady"]
    assert median["goodput"].tolist() == pytest.approx(median["throughput"].tolist())


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_what_the_simulation_does_not_know(seed: int) -> None:
    """Batches of 32 are three times slower than they should be, and int8 is no faster under load."""

    def slow(config: Config) -> float:
        return (3.0 if config["max_batch_size"] == 32 else 1.0) * (1.5 if config["precision"] == "int8" else 1.0)

    reached, _ = search(a_server(slow), seed, 12)
    assert reached >= 0.95


def predictions(truth: Truth, seed: int) -> tuple[Forecasts, np.ndarray]:
    rng, twin = np.random.default_rng(seed), a_twin()
    chosen = [twin.candidates[index] for index in rng.choice(len(twin.candidates), 12, replace=False)]
    trials = baseline(truth, rng)
    trials += [measured(n, {**SPACE.own, **one}, truth, rng) for n, one in enumerate(chosen, 1)]
    forecasts = twin.forecasts(trials, twin.candidates)
    assert forecasts is not None
    return forecasts, truth(every(twin.candidates))[0]


def test_its_intervals_hold_what_is_true_as_often_as_they_say() -> None:
    inside = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        knows = dict(zip(SPACE.parameters[0].values, np.exp(rng.normal(0, 0.3, 6)), strict=True))
        forecasts, true = predictions(a_server(lambda config, knows=knows: knows[config["max_batch_size"]]), seed)
        error = np.log(true / forecasts.median["steady"]["throughput"])
        inside.append(np.mean(np.abs(error) < 1.96 * forecasts.spread["steady"]["throughput"]))
    assert np.mean(inside) > 0.8, "a little too sure where little was measured"


def test_a_bound_that_is_far_off_is_kept_surely_and_one_that_is_missed_is_not() -> None:
    forecasts, _ = predictions(a_server(), 1)
    p99 = a_server()(every(forecasts.configs))[1]
    assert forecasts.feasible[p99 < BOUND_S / 3].min() > 0.9
    assert forecasts.feasible[p99 > 1.7 * BOUND_S].max() < 0.1


def test_a_throughput_far_above_its_bound_is_kept_surely_and_one_far_below_is_not() -> None:
    throughputs = a_server()(every(a_twin().candidates))[0]
    least = float(np.median(throughputs))
    for goals in (GOALS, GOALS[1:]):  # whether or not it is an objective too
        bounds = {"steady": {"throughput_at_least": least}}
        twin = Twin(SPACE, [workload("steady")], goals, bounds, ROLES, cores=1, seed=0)
        forecasts = twin.forecasts(baseline(a_server(), np.random.default_rng(1)), twin.candidates)
        assert forecasts is not None
        assert forecasts.feasible[throughputs > 2 * least].min() > 0.9
        assert forecasts.feasible[throughputs < least / 2].max() < 0.1


@pytest.mark.parametrize("state", ["refused", "crashed", "hung"])
def test_what_the_server_does_not_take_is_not_proposed_again_nor_what_is_near(state: TrialState) -> None:
    rng, twin, truth = np.random.default_rng(0), a_twin(), a_server()
    refused = [
        Trial(number=1, config={**SPACE.own, "precision": "int8", "instances": count}, state=state, points=[],
              apply_s=0, wall_s=0)
        for count in (1, 2) for _ in range(3)
    ]  # fmt: skip
    forecasts = twin.forecasts([*baseline(truth, rng), *refused], twin.candidates)
    assert forecasts is not None
    of = {name: np.array([one["precision"] == name for one in twin.candidates]) for name in ("fp32", "int8")}
    small = np.array([one["max_batch_size"] == 4 and one["max_queue_delay"] == 0 for one in twin.candidates])
    assert forecasts.feasible[of["int8"] & small].max() < 0.5
    assert np.median(forecasts.feasible[of["fp32"] & small]) > 0.4


def test_without_the_servers_own_account_there_is_nothing_to_predict() -> None:
    rng, twin = np.random.default_rng(0), a_twin()
    silent = [
        one.model_copy(update={"points": [one.points[0].model_copy(update={"server": None})]})
        for one in baseline(a_server(), rng)
    ]
    assert twin.forecasts(silent, twin.candidates) is None


def test_the_same_measurements_give_the_same_forecasts() -> None:
    one, _ = predictions(a_server(), 3)
    other, _ = predictions(a_server(), 3)
    assert (one.median["steady"]["throughput"] == other.median["steady"]["throughput"]).all()


def test_of_a_large_space_some_configurations_are_looked_at() -> None:
    wide = Parameter(Knob("wide", "int", 1, None, 1, "", "reload", ""), tuple(range(1, 101)), ordered=True)
    space = Space((*SPACE.parameters, wide), own=SPACE.own)
    twin = Twin(space, [workload("steady")], GOALS, {"steady": {"p99": BOUND_S}}, ROLES, cores=1, seed=0)
    assert 1900 < len(twin.candidates) <= 2000
    assert len({tuple(one.items()) for one in twin.candidates}) == len(twin.candidates)


def test_roles_are_those_that_the_knobs_name() -> None:
    assert roles_of(KNOBS, [knob.name for knob in KNOBS[:4]]) == ROLES
    assert roles_of(KNOBS[1:], []) is None


def missing(trial: Trial, name: str) -> Trial:
    """Return a trial whose point misses another bound as well."""
    point = trial.points[0].model_copy(update={"violations": {**trial.points[0].violations, name: 1.0}})
    return trial.model_copy(update={"points": [point]})


TIGHT_S = 0.0025


def of_two(climbs: bool) -> Forecasts:
    """Return what is expected of a server with two workloads; the bound of the second one is met at few in flight."""
    truth, rng = a_server(), np.random.default_rng(0)
    bounds = {"steady": {"p99": BOUND_S}, "tight": {"p99": TIGHT_S}}
    twin = Twin(SPACE, [workload("steady"), workload("tight")], GOALS, bounds, ROLES, cores=1, seed=0, climbs=climbs)
    trials = [
        one.model_copy(
            update={"points": [*one.points, *(p.model_copy(update={"workload": "tight"}) for p in one.points)]}
        )
        for one in baseline(truth, rng)
    ]
    forecasts = twin.forecasts(trials, twin.candidates)
    assert forecasts is not None
    return forecasts


def test_where_each_workload_climbs_by_itself_its_bound_is_kept_at_a_level_of_its_own() -> None:
    apart, together = of_two(climbs=True), of_two(climbs=False)
    truth = a_server()(every(apart.configs))
    alone = [{**SPACE.own, **config, "concurrency": 1} for config in apart.configs]
    bearable = (truth[1] < 0.8 * BOUND_S) & (a_server()(alone)[1] < 0.8 * TIGHT_S)
    busy = np.array([config["concurrency"] == 32 for config in apart.configs])
    assert (bearable & busy).any()
    assert apart.feasible[bearable & busy].min() > 0.9
    assert together.feasible[busy].max() < 0.1
    first, second = GOALS[0], apart.gains(GOALS[0], None)
    assert apart.configs[int(np.argmax(second))]["concurrency"] == 32
    assert together.configs[int(np.argmax(together.gains(first, None)))]["concurrency"] != 32


def test_what_is_expected_of_another_workload_is_at_its_own_best_level() -> None:
    apart = of_two(climbs=True)
    likely = apart.feasible > 0.9
    assert (apart.median["tight"]["p99"][likely] < TIGHT_S).all()
    same = [
        index
        for index, config in enumerate(apart.configs)
        if {**config, "concurrency": 0} == {**apart.configs[0], "concurrency": 0}
    ]
    assert len({apart.median["tight"]["p99"][index] for index in same}) == 1, "whatever the first workload's level is"


def test_the_candidates_of_a_climb_have_the_levels_of_the_first_objectives_workload_only() -> None:
    rate = Parameter(Knob("rate", "float", 0, None, 100.0, "/s", "live", ""), (100.0, 400.0), ordered=True)
    space = Space((*SPACE.parameters, rate), own=SPACE.own)
    both = [workload("steady"), workload("web", Poisson(100.0))]
    twin = Twin(space, both, GOALS, {"web": {"p99": BOUND_S}}, ROLES, cores=1, seed=0, climbs=True)
    assert all(set(config) == {one.name for one in SPACE} for config in twin.candidates)
    forecasts = twin.forecasts(baseline(a_server(), np.random.default_rng(0)), twin.candidates)
    assert forecasts is not None
    assert forecasts.feasible.max() > 0.5


def test_errors_under_the_highest_load_do_not_make_a_configuration_useless() -> None:
    rng, twin, truth = np.random.default_rng(0), a_twin(), a_server()
    climbs = []
    for number in range(1, 13):
        low, high = (measured(number, {**SPACE.own, "concurrency": level}, truth, rng) for level in (2, 32))
        points = [*low.points, *missing(high, "error_rate").points]
        config = {name: value for name, value in low.config.items() if name != "concurrency"}
        climbs.append(low.model_copy(update={"config": config, "points": points}))
    forecasts = twin.forecasts([*baseline(truth, rng), *climbs], twin.candidates)
    assert forecasts is not None
    assert forecasts.feasible.max() > 0.9


def test_a_configuration_that_misses_another_bound_at_every_load_is_useless() -> None:
    rng, twin, truth = np.random.default_rng(0), a_twin(), a_server()
    trials = [
        missing(measured(number, {**SPACE.own, "precision": "int8", "concurrency": 4}, truth, rng), "accuracy_drop")
        for number in range(1, 6)
    ]
    forecasts = twin.forecasts([*baseline(truth, rng), *trials], twin.candidates)
    assert forecasts is not None
    of_int8 = np.array([one["precision"] == "int8" for one in twin.candidates])
    assert forecasts.feasible[of_int8].max() < 0.2
    assert forecasts.feasible[~of_int8].max() > 0.8


def test_the_throughput_of_a_class_is_its_share_of_all() -> None:
    mixed = workload("steady", mix={"rare": 1.0, "usual": 9.0})
    goals = [type(GOALS[0])(True, "steady.rare", "throughput")]
    twin = Twin(SPACE, [mixed], goals, {"steady.rare": {"p99": BOUND_S}}, ROLES, cores=1, seed=0)
    rng = np.random.default_rng(0)
    trials = baseline(a_server(), rng)
    whole = a_twin().forecasts(trials, twin.candidates)
    forecasts = twin.forecasts(trials, twin.candidates)
    assert whole is not None
    assert forecasts is not None
    ratio = forecasts.median["steady.rare"]["throughput"] / whole.median["steady"]["throughput"]
    assert np.median(ratio) == pytest.approx(0.1, rel=0.1)


def test_a_loop_with_a_concurrency_of_its_own_is_simulated_with_that() -> None:
    fixed = replace(workload("fixed"), concurrency=8)
    twin = Twin(
        SPACE, [workload("steady"), fixed], GOALS, {name: {"p99": BOUND_S} for name in ("steady", "fixed")}, ROLES,
        cores=1, seed=0,
    )  # fmt: skip
    forecasts = twin.forecasts(baseline(a_server(), np.random.default_rng(0)), twin.candidates)
    assert forecasts is not None
    p99_s = {name: forecasts.median[name]["p99"] for name in ("steady", "fixed")}
    levels = np.array([one["concurrency"] for one in twin.candidates])
    assert p99_s["fixed"][levels == 32] == pytest.approx(p99_s["fixed"][levels == 1])
    assert p99_s["fixed"][levels == 8] == pytest.approx(p99_s["steady"][levels == 8], rel=0.2)


def test_a_model_without_dynamic_batching_is_simulated_without() -> None:
    assert server_of({"max_batch_size": 8, "instances": 1, "precision": "fp32"}, ROLES).max_batch == 1
    assert server_of({"max_batch_size": 8, "max_queue_delay": 0.0, "precision": "fp32"}, ROLES).max_batch == 8
