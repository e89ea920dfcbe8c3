"""Optuna's Gaussian process: what it is told, and, with the real one, what it proposes."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from result_builders import GOALS, point, trial

from targets.base import Config, Knob, Value
from tuner.candidates import candidates
from tuner.gaussian import FIT_EVERY, MOST_TOLD, for_gaussian, on_one_thread
from tuner.objective import Objective, pessimistic
from tuner.relations import Relation, Term
from tuner.search import STARTUP_TRIALS, Search
from tuner.space import Parameter, Space
from tuner.storage import open_storage

HALF = MOST_TOLD // 2
UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
REAL = pytest.mark.long
"""Needs PyTorch: `pip install -e '.[gp]'`."""


def told(value: float, violation: float = 0.0) -> FrozenTrial:
    return optuna.create_trial(
        params={"batch": 0},
        distributions={"batch": IntDistribution(0, 9)},
        values=[value, 1.0],
        constraints={"steady.p99": violation},
    )


def values(kept: list[FrozenTrial]) -> list[float]:
    return [one.values[0] for one in kept]


def test_few_trials_are_all_told_in_their_order() -> None:
    assert values(for_gaussian([told(one) for one in (3.0, 1.0, 2.0)], [UP, DOWN])) == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(("direction", "best"), [(UP, range(501 - HALF, 501)), (DOWN, range(1, 1 + HALF))])
def test_of_many_the_best_and_the_newest_of_the_others_are_told(direction: StudyDirection, best: range) -> None:
    found = [*best, *(one for one in range(1, 501) if one not in best)]
    kept = values(for_gaussian([told(float(one)) for one in found], [direction, DOWN]))
    assert kept == [*map(float, best), *map(float, found[-HALF:])]


def test_what_violates_a_bound_is_not_among_the_best() -> None:
    over = [told(1000.0 + one, violation=1.0) for one in range(300)]
    fine = [told(float(one)) for one in range(HALF)]
    kept = values(for_gaussian([*fine, *over], [UP, DOWN]))
    assert kept[: len(fine)] == values(fine)
    assert kept[len(fine) :] == values(over[-HALF:])


def test_it_may_be_told_of_the_first_objective_alone() -> None:
    (only,) = for_gaussian([told(3.0, violation=0.5)], [UP])
    assert only.values == [3.0]
    assert only.constraints == {"steady.p99": 0.5}


# With the real one.


def parameter(name: str, *values: Value, ordered: bool = True, when: Relation | None = None) -> Parameter:
    return Parameter(Knob(name, "int", None, None, 1, "", "reload", ""), values, ordered, when)


SPACE = Space(
    (
        parameter("batch", 1, 2, 4, 8, 16, 32),
        parameter("preferred", 1, 2, 4, 8, 16, 32),
        parameter("delay", 0.0, 0.001, 0.002, 0.004, when=Relation("batch > 2", (Term("batch", ">", 2),))),
        parameter("precision", "fp32", "int8", ordered=False),
    ),
    (Relation("preferred <= batch", (Term("preferred", "<=", right="batch"),)),),
    {"delay": 0.0},
)


def worth(config: Config) -> Objective | None:
    """A smooth objective under a bound; a third of all configurations is refused."""
    batch, delay = float(config["batch"]), float(config.get("delay", 0.0))
    if list(SPACE.configs()).index(config) % 3 == 0:
        return None
    fast = 2.0 if config["precision"] == "int8" else 1.0
    p99 = 0.001 * batch + delay
    return Objective((fast * batch * 100 / (1 + delay * 200), p99), {"steady.p99": (p99 - 0.012) / 0.012})


def explored(folder: Path, count: int, seed: int = 7, *, anew: bool = True) -> Iterator[Config]:
    """Propose so many, each from a search that was opened anew, as after a run that was cut off; or all from one."""
    one = Search(open_storage("sqlite", folder), SPACE, GOALS, "gp", seed)
    for _ in range(count):
        if anew:
            one = Search(open_storage("sqlite", folder), SPACE, GOALS, "gp", seed)
        proposal = one.ask()
        assert proposal is not None
        found = worth(proposal.config)
        state = "complete" if found else "refused"
        made = trial(proposal.number, *([point()] if found else []), config=proposal.config, state=state)
        one.tell(made, found or pessimistic(GOALS, ["steady.p99"]))
        yield proposal.config


def rank_of(config: Config) -> int:
    """Return how many configurations are better."""
    feasible = [(config, one) for config in SPACE.configs() if (one := worth(config)) is not None and one.feasible]
    own = worth(config)
    assert own is not None
    return sum(one.values[0] > own.values[0] for _, one in feasible)


@REAL
def test_it_finds_the_best_though_a_third_is_refused_and_keeps_to_conditions_and_constraints(tmp_path: Path) -> None:
    allowed = list(SPACE.configs())
    asked = list(explored(tmp_path, 24))
    assert all(config in allowed for config in asked)
    assert len({str(config) for config in asked}) == len(asked), "nothing is proposed twice"
    measured = [config for config in asked if (one := worth(config)) is not None and one.feasible]
    assert min(map(rank_of, measured)) <= 1, "24 of 150 configurations lead to one of the two best"


@REAL
def test_it_computes_on_one_thread_and_gives_the_others_back() -> None:
    def pools() -> list[int]:
        return [torch.get_num_threads(), *(one["num_threads"] for one in threadpool_info())]

    torch, threadpool_info = import_module("torch"), import_module("threadpoolctl").threadpool_info
    torch.set_num_threads(2)
    before = pools()
    with on_one_thread():
        assert set(pools()) == {1}
    assert pools() == before


@REAL
def test_the_same_seed_gives_the_same_proposals_and_another_one_others(tmp_path: Path) -> None:
    count = STARTUP_TRIALS + 3
    runs = []
    for name, seed in (("first", 7), ("second", 7), ("third", 8)):
        (tmp_path / name).mkdir()
        runs.append(list(explored(tmp_path / name, count, seed)))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@REAL
def test_a_search_that_goes_on_proposes_what_one_that_is_resumed_each_time_does(tmp_path: Path) -> None:
    count = 2 * FIT_EVERY + 3
    for name in ("on", "resumed"):
        (tmp_path / name).mkdir()
    going_on = list(explored(tmp_path / "on", count, anew=False))
    assert going_on == list(explored(tmp_path / "resumed", count))


@REAL
def test_it_keeps_what_is_to_be_kept_while_there_is_something_untried(tmp_path: Path) -> None:
    list(explored(tmp_path, FIT_EVERY + 1))
    one = Search(open_storage("sqlite", tmp_path), SPACE, GOALS, "gp", 7)
    for kept in ({"precision": "int8"}, {"batch": 4, "precision": "fp32"}):
        proposal = one.ask(kept=kept)
        assert proposal is not None
        assert proposal.config.items() >= kept.items()


@REAL
def test_in_a_large_space_it_comes_nearer_to_the_best_than_the_sample_that_it_looks_at(tmp_path: Path) -> None:
    space = Space(tuple(parameter(name, *range(200)) for name in ("left", "middle", "right")))
    peak = {"left": 150, "middle": 60, "right": 100}
    made = Search(open_storage("sqlite", tmp_path), space, GOALS, "gp", 3)
    lost = {}
    for _ in range(40):
        proposal = made.ask()
        assert proposal is not None
        config = {name: int(value) for name, value in proposal.config.items()}
        off = sum(((config[name] - at) / 200) ** 2 for name, at in peak.items())
        lost[str(config)] = off
        made.tell(trial(proposal.number, point(), config=config), Objective((1000.0 * (1 - off), 0.001), {}))
    nearest = min(sum(((int(one[name]) - at) / 200) ** 2 for name, at in peak.items()) for one in candidates(space, 3))
    assert min(lost.values()) < nearest
    assert len(lost) == 40
