"""Free memory and CPU time: the host's, or what the limits of control groups leave of it."""

from pathlib import Path

import psutil
import pytest

from tuner.telemetry.room import cpu_time, free_bytes

MIB = 1 << 20


def group(place: Path, limit: object, used: int, inactive: int = 0) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "memory.max").write_text(f"{limit}\n")
    (place / "memory.current").write_text(f"{used}\n")
    (place / "memory.stat").write_text(f"anon {used}\ninactive_file {inactive}\n")


def free(root: Path, named: str) -> int:
    own = root.parent / "own"
    own.write_text(f"1:name=systemd:/else\n0::{named}\n")
    return free_bytes(root, own)


def test_the_narrowest_limit_of_all_groups_holds_and_files_that_are_not_in_use_are_free(tmp_path: Path) -> None:
    root = tmp_path / "groups"
    group(root / "job" / "step", 9 * MIB, 2 * MIB)
    group(root / "job", 8 * MIB, 5 * MIB, inactive=MIB)
    assert free(root, "/job/step") == 4 * MIB
    group(root, 3 * MIB, MIB)  # in a container its own group is the root
    assert free(root, "/job/step") == free(root, "/") == 2 * MIB
    group(root, MIB, 2 * MIB)
    assert free(root, "/") == 0


def test_without_a_limit_it_is_the_hosts(tmp_path: Path) -> None:
    group(tmp_path / "groups" / "job", "max", MIB)
    whole = psutil.virtual_memory().total
    for named in ("/job", "/none"):
        assert MIB < free(tmp_path / "groups", named) <= whole
    assert MIB < free_bytes(tmp_path, tmp_path / "missing") <= whole


@pytest.mark.parametrize(
    ("step", "job", "cpus"),
    [
        ("200000 100000", "max 100000", 2.0),
        ("max 100000", "50000 100000", 0.5),
        ("400000 100000", "150000 100000", 1.5),
    ],
)
def test_the_narrowest_limit_of_cpu_time_holds(step: str, job: str, cpus: float, tmp_path: Path) -> None:
    place, own = tmp_path / "groups" / "job" / "step", tmp_path / "own"
    place.mkdir(parents=True)
    (place / "cpu.max").write_text(f"{step}\n")
    (place.parent / "cpu.max").write_text(f"{job}\n")
    own.write_text("0::/job/step\n")
    assert cpu_time(tmp_path / "groups", own) == cpus


def test_without_a_limit_of_cpu_time_there_is_none(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_time(tmp_path, own) is None
    assert cpu_time(tmp_path, tmp_path / "missing") is None
