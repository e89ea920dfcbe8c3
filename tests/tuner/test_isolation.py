"""Which CPUs belong to whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.isolation import Cores, CpusUnavailable, divide
from tuner.study.spec import CoresSpec, IsolationSpec

ANY = Cores(None, None, None)
CPUS = st.sets(st.integers(0, 255), min_size=2)
PROCESSES = st.integers(1, 64)


def named(server: object, generator: object) -> IsolationSpec:
    return IsolationSpec(cores=CoresSpec.model_validate({"server": server, "generator": generator}))


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


@pytest.mark.parametrize(
    ("count", "processes", "server", "generator", "tuner"),
    [
        (3, 2, {2}, {0, 1}, {0}),
        (4, 2, {3}, {1, 2}, {0}),
        (5, 2, {3, 4}, {1, 2}, {0}),
        (8, 3, {4, 5, 6, 7}, {1, 2, 3}, {0}),
        (8, 4, {5, 6, 7}, {1, 2, 3, 4}, {0}),
        (8, 9, {5, 6, 7}, {1, 2, 3, 4}, {0}),
    ],
)
def test_each_process_of_the_generator_has_a_cpu_while_the_server_keeps_half_of_the_others(
    count: int, processes: int, server: set[int], generator: set[int], tuner: set[int]
) -> None:
    divided = divide(set(range(count)), "auto", processes)
    assert divided == Cores(frozenset(server), frozenset(generator), frozenset(tuner), processes)


@given(CPUS, PROCESSES)
def test_the_server_keeps_at_least_half_and_the_generator_has_at_most_a_cpu_per_process(
    cpus: set[int], processes: int
) -> None:
    cores = divide(cpus, "auto", processes)
    assert cores.server is not None
    assert cores.generator is not None
    assert len(cores.server) >= max(1, (len(cpus) - (len(cpus) >= 4)) // 2)
    assert 1 <= len(cores.generator) <= processes


@given(CPUS, PROCESSES)
def test_the_server_never_shares(cpus: set[int], processes: int) -> None:
    cores = divide(cpus, "auto", processes)
    assert cores.server is not None
    assert cores.generator is not None
    assert cores.tuner is not None
    assert cores.server
    assert not cores.server & (cores.generator | cores.tuner)
    assert cores.server | cores.generator | cores.tuner == cpus


@given(CPUS, PROCESSES)
def test_what_samples_never_runs_on_a_core_of_the_generator_from_four_cpus_on(cpus: set[int], processes: int) -> None:
    cores = divide(cpus, "auto", processes)
    assert cores.generator is not None
    assert cores.tuner is not None
    shared = bool(cores.tuner & cores.generator)
    assert shared == (len(cpus) < 4)
    assert shared == ("its sampling shares the load generator's core" in cores.describe())


@given(CPUS)
def test_the_division_does_not_depend_on_the_order_of_a_set(cpus: set[int]) -> None:
    assert divide(frozenset(sorted(cpus, reverse=True)), "auto") == divide(cpus, "auto")


def test_describes_who_runs_where() -> None:
    assert divide({0, 1, 2, 3}, "auto").describe() == "server on CPUs 2-3, load generator on CPU 1, tuner on CPU 0"


def test_describes_that_all_is_shared() -> None:
    assert ANY.describe() == "none: server and load generator share all cores"


def test_describes_processes_that_have_no_cpu_of_their_own() -> None:
    assert divide({0, 1}, "auto", 3).describe() == (
        "server on CPU 1, load generator on CPU 0 (3 processes on 1 CPU), tuner on CPU 0 too: "
        "its sampling shares the load generator's core"
    )
    assert (
        "load generator on CPUs 0-1 (3 processes on 2 CPUs)" in divide(set(range(4)), named("2", "0,1"), 3).describe()
    )
    assert "processes" not in divide(set(range(8)), "auto", 4).describe()


# Cores by name.


def test_named_cpus_are_taken_as_they_are() -> None:
    divided = divide(set(range(8)), named("4-7", [1, 2]), processes=2)
    assert divided == Cores(frozenset({4, 5, 6, 7}), frozenset({1, 2}), frozenset({0}), 2)


def test_the_tuner_shares_the_generators_first_cpu_where_none_is_left() -> None:
    assert divide({0, 1, 2, 3}, named("0,1", "2-3")).tuner == frozenset({2})


@pytest.mark.parametrize(
    ("server", "generator", "part", "message"),
    [
        ("2-7", 0, "server", "this process may not use CPUs 4-7; it may use CPUs 0-3"),
        ("2", "1,9", "generator", "this process may not use CPU 9; it may use CPUs 0-3"),
    ],
)
def test_fails_for_named_cpus_that_are_not_there(server: object, generator: object, part: str, message: str) -> None:
    with pytest.raises(CpusUnavailable) as error:
        divide({0, 1, 2, 3}, named(server, generator))
    assert (error.value.part, str(error.value)) == (part, message)
