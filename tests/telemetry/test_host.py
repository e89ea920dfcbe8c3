"""CPU and memory of a process tree, read from real processes."""

import subprocess
import sys

from tuner.telemetry.host import cores_used, read_tree

SPIN = """
import time
end = time.process_time() + 0.5
while time.process_time() < end:
    pass
print("done", flush=True)
input()
"""


def test_cpu_between_two_readings_is_that_of_the_processes_given() -> None:
    process = subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    before = read_tree([process.pid])
    process.stdout.readline()
    after = read_tree([process.pid])
    used_s = cores_used(before, after) * (after.taken_ns - before.taken_ns) / 1e9
    process.communicate("\n")
    assert 0.4 <= used_s <= 0.7
    assert after.rss_bytes > 1 << 20


def test_a_process_that_ended_is_passed_over() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    reading = read_tree([process.pid])
    assert reading.cpu_s == {}
    assert cores_used(reading, read_tree([])) == 0.0
