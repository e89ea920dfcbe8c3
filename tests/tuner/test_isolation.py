"""Which CPUs belong to whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.isolation import Cores, divide

ANY = Cores(None, None, None)
CPUS = st.sets(st.integers(0, 255), min_size=2)


def test_a_single_cpu_cannot_be_divided() -> None:
    assert divide({5}, "auto") == ANY


@pytest.mark.parametrize("cpus", [{0}, {0, 1}, set(range(16))])
def test_none_divides_nothing(cpus: set[int]) -> None:
    assert divide(cpus, "none") == ANY


@pytest.mark.parametrize("cpus", [{3, 7}, {3, 7, 9}])
def test_tuner_and_generator_share_a_cpu_where_there_are_few(cpus: set[int]) -> None:
    assert divide(cpus, "auto") == Cores(frozenset(cpus - {3}), frozenset({3}), frozenset({3}))


def test_tuner_and_generator_have_their_own_from_four_cpus_on() -> None:
    assert divide({2, 3, 4, 5}, "auto") == Cores(frozenset({4, 5}), frozenset({3}), frozenset({2}))


@given(CPUS)
def test_the_server_never_shares(cpus: set[int]) -> None:
    cores = divide(cpus, "auto")
    assert cores.server is not None
    assert cores.generator is not None
    assert cores.tuner is not None
    assert cores.server
    assert not cores.server & (cores.generator | cores.tuner)
    assert cores.server | cores.generator | cores.tuner == cpus


@given(CPUS)
def test_the_division_does_not_depend_on_the_order_of_a_set(cpus: set[int]) -> None:
    assert divide(frozenset(sorted(cpus, reverse=True)), "auto") == divide(cpus, "auto")


def test_describes_who_runs_where() -> None:
    assert divide({0, 1, 2, 3}, "auto").describe() == "server on CPUs 2,3, load generator on CPU 1, tuner on CPU 0"


def test_describes_that_all_is_shared() -> None:
    assert ANY.describe() == "none: server and load generator share all cores"
