"""Sets of CPUs, read and written as the kernel does."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.cpus import format_cpus, parse_cpus


def test_reads_what_the_kernel_writes() -> None:
    status = Path("/proc/self/status").read_text()
    (written,) = [line.split()[1] for line in status.splitlines() if line.startswith("Cpus_allowed_list:")]
    assert parse_cpus(written) == os.sched_getaffinity(0)
    assert format_cpus(os.sched_getaffinity(0)) == written


@pytest.mark.parametrize(
    ("value", "cpus"),
    [("0,2-5", {0, 2, 3, 4, 5}), ("3", {3}), (" 1 , 0 ", {0, 1}), ("0-2,1", {0, 1, 2}), (4, {4}), ([0, 2], {0, 2})],
)
def test_reads_lists_and_numbers(value: object, cpus: set[int]) -> None:
    assert parse_cpus(value) == cpus


@given(st.sets(st.integers(0, 9999), min_size=1))
def test_what_is_written_is_read_again(cpus: set[int]) -> None:
    assert parse_cpus(format_cpus(cpus)) == cpus


@pytest.mark.parametrize("value", ["0,", "1-", "-1", "2-1", "a", "0 1", "1--2", -1, True, 1.5, None, {}, [0, "1"]])
def test_fails_with_what_is_no_set_of_cpus(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected CPUs, like `0,2-5` or \[0, 2\], but got"):
        parse_cpus(value)


@pytest.mark.parametrize("value", ["", "  ", []])
def test_fails_for_no_cpu_at_all(value: object) -> None:
    with pytest.raises(ValueError, match="expected at least one CPU, like `0,2-5`, but got"):
        parse_cpus(value)
