"""For how long a load generator was kept from the CPUs: by others, and by the limits of its control groups."""

import os
import subprocess
import sys
from pathlib import Path

from tuner.load.kept import held_back_ns, statistics_of_groups, waited_ns


def counting(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.stat").write_text(text)
    return folder / "cpu.stat"


def test_the_limits_of_all_groups_of_either_version_are_counted(tmp_path: Path) -> None:
    root, own = tmp_path / "groups", tmp_path / "own"
    second = [
        counting(root / "job" / "step", "usage_usec 9\nnr_throttled 2\nthrottled_usec 30\n"),
        counting(root / "job", "usage_usec 9\nthrottled_usec 500\n"),
    ]
    first = counting(root / "cpu,cpuacct" / "pod", "nr_periods 7\nnr_throttled 1\nthrottled_time 4000\n")
    counting(root / "elsewhere", "throttled_usec 7\n")
    own.write_text("9:name=systemd:/job\n4:memory:/pod\n2:cpu,cpuacct:/pod\n0::/job/step\n")
    found = statistics_of_groups(root, own)
    assert set(found) == {*second, first}
    assert held_back_ns(found) == 30_000 + 500_000 + 4000


def test_where_nobody_counts_there_is_nothing(tmp_path: Path) -> None:
    assert statistics_of_groups(tmp_path, tmp_path / "missing") == []
    assert held_back_ns([counting(tmp_path, "usage_usec 9\n"), tmp_path / "missing"]) == 0
    assert waited_ns(tmp_path / "missing") == 0


def test_a_process_that_shares_a_cpu_waits_for_it() -> None:
    """Two that count on one CPU: each has it for about half of the time, and waits for the rest."""
    cpu = min(os.sched_getaffinity(0))
    program = f"""
import os, time
from tuner.load.kept import waited_ns
os.sched_setaffinity(0, {{{cpu}}})
end = time.monotonic() + 1
while time.monotonic() < end:
    pass
print(waited_ns())
"""
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    waited = [int(one.communicate()[0]) / 1e9 for one in both]
    assert sum(waited) > 0.2, waited
