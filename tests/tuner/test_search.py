"""The search: proposals, what is told, what is remembered."""

import math
import zlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState
from result_builders import GOALS, point, trial

from targets.base import Config, Knob, Value
from tuner.gaussian import FIT_EVERY
from tuner.objective import WORST, Objective, pessimistic
from tuner.relations import Relation, Term
from tuner.results import Trial
from tuner.search import (
    FRONT_EVERY,
    STARTUP_TRIALS,
    Proposal,
    Search,
)
from tuner.space import Parameter, Space
from tuner.storage import StorageError, open_storage


def parameter(name: str, *values: Value, ordered: bool = True) -> Parameter:
    return Parameter(Knob(name, "int", None, None, 1, "", "reload", ""), values, ordered)


SPACE = Space(
    (
        parameter("batch", 1, 2, 4, 8, 16),
        parameter("delay", 0.0, 0.001, 0.005),
        parameter("precision", "fp32", "int8", ordered=False),
    )
)
SMALL = Space((parameter("batch", 1, 2, 4), parameter("precision", "fp32", "int8", ordered=False)))
SAMPLERS = pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "qmc", "random", "grid"])


class Gaussian(RandomSampler):
    """Stands for Optuna's Gaussian process, which needs a package that is large: it goes by all that it is told."""

    def __init__(
        self, choices: Sequence[Mapping[str, int | str]], seed: int, startup: int, fitted: "Gaussian | None" = None
    ) -> None:
        super().__init__(seed=seed)
        self._choices, self._own, self._startup, self._before = choices, seed, startup, fitted
        self.known = ""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002 - Optuna's names
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return dict(told[0].distributions) if len(told) >= self._startup else {}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, object]:
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        known = repr([(one.params, one.values, one.constraints) for one in told])
        self.known = known + (self._before.known if self._before else "")
        rng = np.random.default_rng([self._own, zlib.crc32(self.known.encode())])
        chosen = self._choices[rng.integers(len(self._choices))]
        return {name: chosen[name] for name in search_space}


@pytest.fixture(autouse=True)
def in_place_of_a_large_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.search.Gaussian", Gaussian)
    monkeypatch.setattr("tuner.search.on_one_thread", nullcontext)


def search(folder: Path, space: Space = SPACE, sampler: str = "tpe", seed: int = 7) -> Search:
    return Search(open_storage("sqlite", folder), space, GOALS, sampler, seed)


def worth(config: Config) -> Objective:
    """A smooth objective with a violated constraint at large batches."""
    batch, delay = float(config.get("batch", 1)), float(config.get("delay", 0.0))
    fast = 2.0 if config.get("precision") == "int8" else 1.0
    p99 = 0.001 * batch + delay
    return Objective((fast * batch * 100, p99), {"steady.p99": (p99 - 0.012) / 0.012})


def tell(to: Search, proposal: Proposal, objective: Objective | None = None) -> Trial:
    told = trial(proposal.number, point(), config=proposal.config)
    to.tell(told, objective or worth(proposal.config))
    return told


def explore(one: Search, count: int) -> list[Config]:
    """Ask and tell `count` times."""
    asked = []
    for _ in range(count):
        proposal = one.ask()
        assert proposal is not None
        tell(one, proposal)
        asked.append(proposal.config)
    return asked


def stored_trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="paretune", storage=f"sqlite:///{folder / 'study.db'}").trials


# Proposals.


@SAMPLERS
def test_every_proposal_lies_in_the_space(tmp_path: Path, sampler: str) -> None:
    for config in explore(search(tmp_path, sampler=sampler), 9):
        assert list(config) == ["batch", "delay", "precision"]
        assert all(config[one.name] in one.values for one in SPACE)
        assert [type(value) for value in config.values()] == [int, float, str]


def test_tpe_proposes_what_it_does_where_it_finds_out_the_parameters_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Space((*SPACE.parameters, parameter("only", 3)))
    told = explore(search(tmp_path, one), 14)
    (tmp_path / "other").mkdir()
    monkeypatch.delattr("tuner.asking.Tpe.infer_relative_search_space")
    assert explore(search(tmp_path / "other", one), 14) == told


def test_numbers_start_at_one_and_count_what_was_told(tmp_path: Path) -> None:
    one = search(tmp_path)
    for expected in (1, 2, 3):
        proposal = one.ask()
        assert proposal is not None
        assert proposal.number == expected
        tell(one, proposal)


def test_every_proposal_is_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler with one seed for all would repeat itself, and something else be drawn for each repetition."""
    instead = []
    monkeypatch.setattr(Search, "_untried", lambda _, number, _kept: instead.append(number))
    one = search(tmp_path, sampler="random")
    for _ in range(6):
        if (proposal := one.ask()) is not None:
            tell(one, proposal)
    assert len(instead) < 3


def test_another_seed_gives_other_proposals(tmp_path: Path) -> None:
    runs = []
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        runs.append(explore(search(tmp_path / str(seed), seed=seed), 4))
    assert runs[0] != runs[1]


@SAMPLERS
def test_the_same_seed_gives_the_same_proposals_however_often_the_study_is_reopened(
    tmp_path: Path, sampler: str
) -> None:
    counts = (1, STARTUP_TRIALS, 1, FRONT_EVERY, FIT_EVERY)
    for name in ("whole", "pieces"):
        (tmp_path / name).mkdir()
    whole = explore(search(tmp_path / "whole", sampler=sampler), sum(counts))
    pieces = [explore(search(tmp_path / "pieces", sampler=sampler), count) for count in counts]
    assert [config for piece in pieces for config in piece] == whole


@pytest.mark.parametrize("told", [0, 3, STARTUP_TRIALS + 1])
def test_a_proposal_that_was_not_told_is_made_again_after_a_restart(tmp_path: Path, told: int) -> None:
    one = search(tmp_path)
    explore(one, told)
    lost = one.ask()
    assert search(tmp_path).ask() == lost


def test_a_small_space_is_exhausted_without_repetition(tmp_path: Path) -> None:
    one = search(tmp_path, SMALL)
    asked = {tuple(config.items()) for config in explore(one, SMALL.size)}
    assert len(asked) == SMALL.size == 6
    assert one.ask() is None
    assert search(tmp_path, SMALL).ask() is None


def test_nothing_is_proposed_twice_when_the_sampler_has_a_favourite(tmp_path: Path) -> None:
    """One configuration is far better than all others; a sampler would come back to it."""
    one = search(tmp_path)
    asked = []
    for _ in range(20):
        proposal = one.ask()
        assert proposal is not None
        best = proposal.config == {"batch": 4, "delay": 0.001, "precision": "int8"}
        tell(one, proposal, Objective((1e6, 1e-6) if best else (1.0, 1.0), {"steady.p99": -1.0}))
        asked.append(tuple(proposal.config.items()))
    assert len(set(asked)) == 20


def test_a_space_of_one_configuration_is_tried_once(tmp_path: Path) -> None:
    one = search(tmp_path, Space((parameter("batch", 4), parameter("precision", "fp32", ordered=False))))
    assert explore(one, 1) == [{"batch": 4, "precision": "fp32"}]
    assert one.ask() is None


@pytest.mark.parametrize("told", [0, 4, STARTUP_TRIALS + 1])
def test_a_planned_configuration_is_proposed_as_it_is(tmp_path: Path, told: int) -> None:
    one = search(tmp_path)
    asked = explore(one, told)
    planned = next(
        config for batch in (16, 8, 4) if (config := {"batch": batch, "delay": 0.005, "precision": "int8"}) not in asked
    )
    assert one.ask(planned) == Proposal(told + 1, planned)


def test_a_planned_configuration_is_not_tried_again(tmp_path: Path) -> None:
    one = search(tmp_path, SMALL)
    planned: Config = {"batch": 2, "precision": "int8"}
    proposal = one.ask(planned)
    assert proposal is not None
    tell(one, proposal)
    assert planned not in explore(one, SMALL.size - 1)
    assert one.ask() is None


def test_a_plan_that_was_tried_already_gives_something_new(tmp_path: Path) -> None:
    one = search(tmp_path, SMALL)
    (tried,) = explore(one, 1)
    proposal = one.ask(tried)
    assert proposal is not None
    assert proposal.config != tried


def test_the_search_finds_its_way_to_the_best(tmp_path: Path) -> None:
    best: Config = {"batch": 8, "delay": 0.001, "precision": "int8"}
    assert worth(best).feasible
    assert {"batch": 8, "precision": "int8"}.items() <= max(
        (config for config in explore(search(tmp_path), 20) if worth(config).feasible),
        key=lambda config: worth(config).values[0],
    ).items()


# What is told.


def test_the_whole_trial_is_stored_with_what_is_told(tmp_path: Path) -> None:
    one = search(tmp_path)
    told = []
    for _ in range(3):
        proposal = one.ask()
        assert proposal is not None
        told.append(tell(one, proposal))
    assert one.trials() == told
    assert search(tmp_path).trials() == told


def test_a_trial_with_failed_requests_is_stored_too(tmp_path: Path) -> None:
    one = search(tmp_path)
    proposal = one.ask()
    assert proposal is not None
    failed = trial(1, point(p99=math.inf, violations={"p99": math.inf}), config=proposal.config)
    one.tell(failed, Objective((10.0, math.inf), {"steady.p99": math.inf}))
    assert search(tmp_path).trials() == [failed]


def test_constraints_are_told_by_their_names(tmp_path: Path) -> None:
    one = search(tmp_path)
    proposal = one.ask()
    assert proposal is not None
    tell(one, proposal, Objective((100.0, 0.01), {"steady.p99": 0.25, "bursty.error_rate": -1.0}))
    (stored,) = stored_trials(tmp_path)
    assert stored.constraints == {"steady.p99": 0.25, "bursty.error_rate": -1.0}


def test_infinite_values_are_told_as_the_worst(tmp_path: Path) -> None:
    one = search(tmp_path)
    proposal = one.ask()
    assert proposal is not None
    tell(one, proposal, Objective((0.0, math.inf), {"steady.p99": math.inf}))
    (stored,) = stored_trials(tmp_path)
    assert stored.values == [0.0, WORST]
    assert stored.constraints == {"steady.p99": WORST}


def test_values_are_told_in_the_direction_of_their_goals(tmp_path: Path) -> None:
    search(tmp_path)
    study = optuna.load_study(study_name="paretune", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_configurations_that_could_not_be_measured_are_told_too(tmp_path: Path) -> None:
    one = search(tmp_path)
    for _ in range(STARTUP_TRIALS + 2):
        proposal = one.ask()
        assert proposal is not None
        one.tell(trial(proposal.number, config=proposal.config, state="refused"), pessimistic(GOALS, ["steady.p99"]))
    assert [stored.state for stored in one.trials()] == ["refused"] * (STARTUP_TRIALS + 2)


def test_a_sampler_that_scales_is_told_of_the_worst_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Gaussian process needs a package that is large; what it is told is looked at in its place."""
    told: list[list[FrozenTrial]] = []

    class InItsPlace(RandomSampler):
        def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            told.append(study.get_trials(states=(TrialState.COMPLETE,)))
            return super().infer_relative_search_space(study, trial)

    monkeypatch.setattr("tuner.search.Gaussian", lambda _choices, seed, *_: InItsPlace(seed=seed))
    one = search(tmp_path, sampler="gp")
    names = ("steady.p99", "other.accuracy_drop")
    for objective in (Objective((300.0, 0.02), {"steady.p99": -0.5}), pessimistic(GOALS, names), None):
        proposal = one.ask()
        assert proposal is not None
        if objective is not None:
            tell(one, proposal, objective)
    assert [len(trials) for trials in told] == [0, 1, 2]
    first, refused = told[-1]
    assert (first.values, refused.values) == ([300.0, 0.02], [0.0, 0.02])
    assert list(first.constraints.items()) == [("other.accuracy_drop", 0.0), ("steady.p99", -0.5)]
    assert list(refused.constraints.items()) == [("other.accuracy_drop", 1.0), ("steady.p99", 1.0)]
    assert first.params == stored_trials(tmp_path)[0].params
    assert stored_trials(tmp_path)[1].values == [0.0, WORST], "what is stored stays as it was told"


# Interrupted runs.


def test_a_proposal_is_not_stored_before_it_is_told(tmp_path: Path) -> None:
    """A run that ends, or is killed, leaves nothing behind that would look as if it were still being measured."""
    one = search(tmp_path)
    proposal = one.ask()
    assert proposal is not None
    assert stored_trials(tmp_path) == []
    tell(one, proposal)
    one.ask()
    assert [stored.state.name for stored in stored_trials(tmp_path)] == ["COMPLETE"]


def test_a_forgotten_proposal_leaves_its_configuration_to_be_tried(tmp_path: Path) -> None:
    one = search(tmp_path, SMALL)
    one.ask()
    assert len(explore(search(tmp_path, SMALL), SMALL.size)) == SMALL.size


# What is remembered.


def test_values_are_remembered_across_a_restart(tmp_path: Path) -> None:
    one = search(tmp_path)
    value = {"spent_s": 12.5, "right": {"int8": {"steady": [1, 0, 1]}}, "none": None}
    one.remember("accuracies", value)
    assert one.remembered("accuracies") == value
    assert search(tmp_path).remembered("accuracies") == value


def test_the_last_value_remembered_counts(tmp_path: Path) -> None:
    one = search(tmp_path)
    one.remember("spent_s", 1.0)
    one.remember("spent_s", 2.0)
    assert search(tmp_path).remembered("spent_s") == 2.0


def test_what_was_not_remembered_is_none(tmp_path: Path) -> None:
    assert search(tmp_path).remembered("spent_s") is None


# Samplers, conditions and constraints.

RELATED = Space(
    (
        parameter("batch", 1, 2, 4, 8),
        parameter("preferred", 1, 2, 4, 8),
        replace(parameter("delay", 0.0, 0.001), when=Relation("batch > 2", (Term("batch", ">", 2),))),
    ),
    (Relation("preferred <= batch", (Term("preferred", "<=", right="batch"),)),),
    {"delay": 0.0},
)


@SAMPLERS
def test_every_configuration_that_keeps_the_constraints_is_proposed_once(tmp_path: Path, sampler: str) -> None:
    one = search(tmp_path, RELATED, sampler)
    asked = []
    while (proposal := one.ask()) is not None:
        asked.append(proposal.config)
        tell(one, proposal, Objective((float(proposal.config["batch"]), 0.01), {}))
    expected = list(RELATED.configs())
    assert len(expected) == 1 + 2 + 2 * 3 + 2 * 4 == RELATED.size
    assert sorted(map(str, asked)) == sorted(map(str, expected))


def test_a_grid_changes_what_is_dear_least_often(tmp_path: Path) -> None:
    dear = Parameter(Knob("threads", "int", 1, None, 1, "", "restart", ""), (1, 2), ordered=True)
    load = Parameter(Knob("concurrency", "int", 1, None, 1, "", "live", ""), (1, 8), ordered=True)
    asked = explore(search(tmp_path, Space((load, parameter("batch", 1, 2), dear)), "grid"), 8)
    assert [one["threads"] for one in asked] == [1] * 4 + [2] * 4
    assert [one["batch"] for one in asked] == [1, 1, 2, 2] * 2
    assert [one["concurrency"] for one in asked] == [1, 8] * 4


def knob(
    name: str, applied: Literal["live", "reload", "restart"], *values: Value, when: Relation | None = None
) -> Parameter:
    ordered = isinstance(values[0], int)
    return Parameter(Knob(name, "int", None, None, 1, "", applied, ""), values, ordered, when)


@pytest.mark.parametrize("own", ["fp32", "int8"])
def test_a_grid_keeps_its_order_where_what_is_dear_counts_for_a_value_of_what_is_cheap(
    tmp_path: Path, own: str
) -> None:
    int8 = Relation("precision == int8", (Term("precision", "==", "int8"),))
    space = Space(
        (
            knob("precision", "reload", "fp32", "int8"),
            knob("cache", "restart", 1, 2, 3, when=int8),
            knob("batch", "reload", 4, 8),
        ),
        own={"precision": own, "cache": 1, "batch": 4},
    )
    asked = explore(search(tmp_path, space, "grid"), space.size)
    assert asked == [
        {"precision": "fp32", "batch": 4},
        {"precision": "fp32", "batch": 8},
        *({"precision": "int8", "cache": cache, "batch": batch} for cache in (1, 2, 3) for batch in (4, 8)),
    ]


def test_a_yes_or_no_is_proposed_as_one(tmp_path: Path) -> None:
    caching = Parameter(Knob("caching", "bool", None, None, True, "", "restart", ""), (True, False), ordered=False)
    asked = explore(search(tmp_path, Space((caching,)), "random"), 2)
    assert sorted(one["caching"] for one in asked) == [False, True]
    assert {type(one["caching"]) for one in asked} == {bool}


def test_another_sampler_goes_on_where_the_one_before_was(tmp_path: Path) -> None:
    one = search(tmp_path, SMALL, "grid")
    explore(one, 2)
    one.take("tpe")
    explore(one, SMALL.size - 2)
    assert one.ask() is None


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "qmc", "random"])
def test_what_is_kept_stays_as_it_is_while_there_is_something_else_to_try(tmp_path: Path, sampler: str) -> None:
    one = search(tmp_path, sampler=sampler)
    explore(one, STARTUP_TRIALS)
    for _ in range(4):
        proposal = one.ask(kept={"batch": 4})
        assert proposal is not None
        assert proposal.config["batch"] == 4
        tell(one, proposal)


def test_the_first_new_of_some_configurations_is_the_first_that_was_not_tried(tmp_path: Path) -> None:
    one = search(tmp_path)
    proposal = one.ask({"batch": 4, "delay": 0.0, "precision": "int8"})
    assert proposal is not None
    tell(one, proposal)
    other = {"batch": 1, "delay": 0.0, "precision": "int8"}
    assert one.first_new([proposal.config, other]) == other
    assert one.first_new([proposal.config]) is None


def test_what_is_known_is_not_proposed(tmp_path: Path) -> None:
    one = search(tmp_path, SMALL, "grid")
    one.skip(SMALL.at_every_load({"batch": 2, "precision": "fp32", "other": 1}))
    asked = explore(one, 5)
    assert {"batch": 2, "precision": "fp32"} not in asked
    assert one.ask() is None


def test_a_configuration_is_known_at_every_load() -> None:
    load = Parameter(Knob("concurrency", "int", 1, None, 1, "", "live", ""), (1, 8), ordered=True)
    space = Space((load, parameter("batch", 1, 2)))
    assert space.at_every_load({"batch": 2}) == [{"concurrency": 1, "batch": 2}, {"concurrency": 8, "batch": 2}]
    assert space.at_every_load({"batch": 3}) == []
    assert [one.name for one in space.without_load()] == ["batch"]


def test_a_value_of_the_users_that_is_not_in_the_space_is_in_nobodys_way(tmp_path: Path) -> None:
    """The sampler repeats itself in so small a space, and what is drawn instead keeps what it is told to."""
    space = replace(SMALL, own={"batch": 10, "precision": "fp16"})
    one = search(tmp_path, space, "random")
    assert len(explore(one, 4)) == 4
    proposal = one.ask(kept={"batch": 4})
    assert proposal is not None


# What keeps the trials.


@pytest.mark.parametrize("said", ["sqlite", "journal", "sqlite:///{folder}/elsewhere.db"])
def test_a_search_is_continued_from_what_kept_its_trials(tmp_path: Path, said: str) -> None:
    def opened() -> Search:
        return Search(open_storage(said.format(folder=tmp_path), tmp_path), SPACE, GOALS, "tpe", 7)

    first = opened()
    explore(first, 3)
    assert opened().trials() == first.trials()
    assert len(opened().trials()) == 3


def test_several_runs_share_a_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    for name in ("one", "two"):
        shared = Search(open_storage(url, tmp_path), SPACE, GOALS, "tpe", 7, name)
        assert shared.trials() == []
        explore(shared, 2)


def test_a_variable_of_the_environment_stands_in_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path))
    open_storage("sqlite:///$PLACE/there.db", tmp_path)
    assert (tmp_path / "there.db").exists()


def test_a_value_of_the_environment_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pa$PLACE%41").mkdir()
    monkeypatch.setenv("PLACE", f"{tmp_path}/pa$PLACE%41")
    open_storage("sqlite:///$PLACE/there.db", tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/pa$PLACE%2541/whole.db")
    open_storage("${DATABASE_URL}", tmp_path)
    assert {one.name for one in (tmp_path / "pa$PLACE%41").iterdir()} == {"there.db", "whole.db"}


@pytest.mark.parametrize(
    ("said", "value", "words"),
    [
        ("$ADDRESS", "postgresql+nodriver://tune:pa$secret@nowhere/x", "postgresql.nodriver://...@nowhere/x cannot"),
        ("$ADDRESS", "postgresql://tune:a@se/cret@nowhere/x", "more than one `@` in it; write %40"),
        ("$ADDRESS", "postgresql://tune:a@secret:@nowhere/x", "it is no URL of a database"),
        ("$ADDRESS", "tune:secret@nowhere", "it is no URL of a database"),
        ("postgresql+nodriver://tune:$ADDRESS@db:$PORT/x", "a$secret@%41", "//...@db:5432/x cannot be used"),
        ("postgresql://tune:$ADDRESS@db:$HOME/x", "secret", "//...@db:.HOME/x cannot be used: it is no URL"),
    ],
)
def test_nothing_of_a_password_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, value: str, words: str
) -> None:
    monkeypatch.setenv("ADDRESS", value)
    monkeypatch.setenv("PORT", "5432")
    with pytest.raises(StorageError, match=words) as raised:
        open_storage(said, tmp_path)
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+nodriver://tune:secret@nowhere/x",
        "postgresql+nodriver://tune:a/secret@nowhere/x",
        "sqlite:///no/such/folder/x.db",
        "nonsense://x",
        "host=nowhere password=secret user=tune",
        "host=nowhere PASSWORD = 'a \\' secret' user=tune",
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError, match=r"search\.storage: .*cannot be used") as raised:
        open_storage(url, tmp_path)
    assert "secret" not in str(raised.value)
