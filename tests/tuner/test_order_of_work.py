"""What is dear to change stays as it is for a while, whichever kind of change it is; the cheap is tried meanwhile."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import pytest
from result_builders import trial

from targets.base import Config, Knob, Value
from tuner.order_of_work import MOST_IN_A_ROW, Tier, kept, seconds_of_each, tiers
from tuner.relations import Relation, Term
from tuner.results import TrialState
from tuner.space import Parameter, Space

Applied = Literal["live", "reload", "restart"]


def parameter(name: str, applied: Applied, count: int = 9, when: Relation | None = None) -> Parameter:
    return Parameter(Knob(name, "int", None, None, 0, "", applied, ""), tuple(range(count)), ordered=True, when=when)


SPACE = Space(
    (
        parameter("precision", "reload", 2),
        parameter("cores", "restart"),
        parameter("batch", "reload"),
        parameter("delay", "live"),
        parameter("concurrency", "live"),
    )
)
OWN: Config = dict.fromkeys((one.name for one in SPACE), 0)


class Course:
    """Trials that were applied one after the other."""

    def __init__(self, seconds: Mapping[str, float], own: Config = OWN) -> None:
        self.seconds = seconds
        self.trials = [trial(0, config=own)]

    def then(self, state: TrialState = "complete", **changes: Value) -> "Course":
        """Try a change of the configuration before."""
        took = max((self.seconds[name] for name in changes if name != "concurrency"), default=0.0)
        config = {**self.trials[-1].config, **changes}
        one = trial(len(self.trials), config=config, state=state)
        self.trials.append(one.model_copy(update={"apply_s": took}))
        return self

    def alone(self) -> "Course":
        """Change each knob of the server alone, as the probes do."""
        for name in self.seconds:
            self.then(**{name: 1})
        return self


def names_kept(course: Course, most: int = 40, space: Space = SPACE, measuring_s: float = 1.0) -> list[list[str]]:
    """Return what is kept before each of the next trials; they change all that is not."""
    found = []
    for _ in range(most):
        stay, last = kept(space, course.trials, measuring_s), course.trials[-1].config
        assert stay.items() <= last.items()
        found.append(sorted(stay))
        free = [one for one in space if one.name not in stay]
        course.then(**{one.name: one.values[(one.values.index(last[one.name]) + 1) % len(one.values)] for one in free})
    return found


def rows(found: Sequence[Sequence[str]], name: str) -> list[int]:
    """Return the numbers of trials in a row that have the same value of a knob, without the first and the last."""
    changes = [index for index, names in enumerate(found) if name not in names]
    return [later - sooner for sooner, later in pairwise(changes)]


CHEAP = {"cores": 0.3, "precision": 0.3, "batch": 0.2, "delay": 0.0}


def test_knobs_whose_changes_are_as_dear_are_changed_together() -> None:
    assert tiers({"a": 1.0, "b": 60.0, "c": 45.0, "d": 0.0, "e": 29.0, "f": 0.0}) == [
        Tier(("b", "c"), 60.0),
        Tier(("e",), 29.0),
        Tier(("a",), 1.0),
        Tier(("d", "f"), 0.0),
    ]
    assert tiers({}) == []


def test_nothing_is_kept_before_there_is_a_trial_or_where_every_change_is_cheap() -> None:
    assert kept(SPACE, [], 1.0) == {}
    assert kept(SPACE, Course(CHEAP).trials, 1.0) == {}
    assert kept(SPACE, Course(CHEAP).alone().trials, 1.0) == {}


def test_a_reload_of_a_minute_is_as_dear_as_a_restart() -> None:
    trials = Course({**CHEAP, "cores": 50.0, "precision": 60.0}).alone().trials
    assert kept(SPACE, trials, 1.0) == {"cores": 1, "precision": 1}


def test_of_two_reloads_the_cheap_one_is_tried_while_the_dear_one_stays() -> None:
    found = names_kept(Course({**CHEAP, "precision": 5.0}).alone())
    assert set(rows(found, "precision")) == {5}
    assert set(rows(found, "batch")) == {1}


@pytest.mark.parametrize(
    ("seconds", "measuring_s", "row"), [(2.0, 1.0, 2), (6.0, 1.0, 6), (6.0, 2.0, 3), (1e4, 1.0, 8)]
)
def test_the_dear_stays_for_as_many_trials_as_take_as_long_as_its_change(
    seconds: float, measuring_s: float, row: int
) -> None:
    found = names_kept(Course({**CHEAP, "cores": seconds}).alone(), measuring_s=measuring_s)
    assert set(rows(found, "cores")) == {row}
    assert row <= MOST_IN_A_ROW


def test_what_is_in_between_is_changed_before_the_dearest_is() -> None:
    """Both are dear enough for more than eight trials in a row."""
    found = names_kept(Course({"cores": 100.0, "precision": 20.0, "batch": 3.0, "delay": 0.0}).alone())
    found = found[next(index for index, names in enumerate(found) if "cores" not in names) :]
    assert set(rows(found, "cores")) == {8}
    assert set(rows(found, "precision")) == {4}
    assert set(rows(found, "batch")) == {2}
    assert set(rows(found, "delay")) == {1}


def test_where_the_dearest_keeps_its_value_though_it_may_change_the_next_still_has_its_turns() -> None:
    course = Course({**CHEAP, "cores": 100.0, "precision": 6.0}).alone()
    for value in range(2, 9):
        course.then(concurrency=value)
    assert "cores" not in kept(SPACE, course.trials, 1.0)
    course.then(precision=0, concurrency=0)
    assert kept(SPACE, course.trials, 1.0) == {"precision": 0}


def test_where_all_knobs_restart_only_the_load_is_varied_meanwhile() -> None:
    space = Space((parameter("cores", "restart"), parameter("cache", "restart"), parameter("concurrency", "live")))
    course = Course({"cores": 60.0, "cache": 60.0}, {"cores": 0, "cache": 0, "concurrency": 0}).alone()
    found = names_kept(course, space=space)
    assert set(rows(found, "cores")) == set(rows(found, "cache")) == {8}


@pytest.mark.parametrize("levels", [0, 1])
def test_nothing_is_kept_where_nothing_else_can_be_varied(levels: int) -> None:
    load = [parameter("concurrency", "live", levels)] if levels else []
    space = Space((parameter("cores", "restart"), parameter("cache", "restart"), *load))
    own = {one.name: 0 for one in space}
    trials = Course({"cores": 60.0, "cache": 60.0}, own).alone().trials
    assert kept(space, trials, 1.0) == {}


def test_the_dear_does_not_stay_when_all_beside_it_was_tried_and_what_is_dearer_does() -> None:
    space = Space((parameter("cores", "restart"), parameter("batch", "reload"), parameter("concurrency", "live", 2)))
    course = Course({"cores": 100.0, "batch": 20.0}, {"cores": 0, "batch": 0, "concurrency": 0}).alone()
    assert kept(space, course.trials, 1.0) == {"cores": 1, "batch": 1}
    assert kept(space, course.then(concurrency=1).trials, 1.0) == {"cores": 1}


@pytest.mark.parametrize("state", ["refused", "crashed", "hung"])
def test_after_a_trial_that_could_not_be_measured_nothing_is_kept(state: TrialState) -> None:
    course = Course({**CHEAP, "cores": 60.0}).alone()
    assert kept(SPACE, course.trials, 1.0) == {"cores": 1}
    assert kept(SPACE, course.then(state, delay=2).trials, 1.0) == {}


def test_a_knob_that_does_not_count_in_the_last_configuration_is_not_kept() -> None:
    only = Relation("cores == 1", (Term("cores", "==", 1),))
    space = Space((parameter("cores", "restart"), parameter("cache", "restart", when=only), SPACE.parameters[-1]))
    course = Course({"cores": 60.0, "cache": 60.0}, {"cores": 0, "cache": 0, "concurrency": 0}).alone()
    assert kept(space, course.trials, 1.0) == {"cores": 1, "cache": 1}
    assert kept(space, course.then(cores=2).trials, 1.0) == {"cores": 2}


def test_a_value_that_is_not_in_the_space_is_not_kept() -> None:
    course = Course({**CHEAP, "cores": 60.0}).alone()
    assert kept(SPACE, course.then(cores=77).trials, 1.0) == {}


# What each knob's change takes.


def test_what_was_changed_along_with_a_restart_is_not_known_to_be_dear() -> None:
    """Without probes all knobs change at once; were the cheap ones kept with the dear ones, nobody would ever know."""
    course = Course({"cores": 60.0, "precision": 0.5, "batch": 0.5, "delay": 0.0})
    course.then(cores=1, precision=1, batch=1, delay=1).then(cores=2, precision=0, batch=2, delay=2)
    assert seconds_of_each(SPACE, course.trials) == {"cores": 60.0, "precision": 0.0, "batch": 0.0, "delay": 0.0}
    assert list(kept(SPACE, course.trials, 1.0)) == ["cores"]
    course.then(batch=3, delay=3)
    assert seconds_of_each(SPACE, course.trials)["batch"] == 0.5


def test_what_was_never_changed_is_as_dear_as_the_dearest_of_its_kind() -> None:
    course = Course({"batch": 30.0}).alone()
    assert seconds_of_each(SPACE, course.trials) == {"cores": 0.0, "precision": 30.0, "batch": 30.0, "delay": 0.0}
