"""CPU and memory of a process tree and of the host, read from real processes."""

import subprocess
import sys

from tuner.telemetry.host import HOST_FIELDS, SERVER_FIELDS, HostReader

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
    reader = HostReader([process.pid])
    before = reader.read(tree=True, host=False)
    process.stdout.readline()
    after = reader.read(tree=True, host=True)
    process.communicate("\n")
    assert 0.4 <= after["server_cpu_s"] - before["server_cpu_s"] <= 0.7
    assert after["server_rss_bytes"] > 1 << 20
    assert set(before) == set(SERVER_FIELDS)
    assert set(after) == {*SERVER_FIELDS, *HOST_FIELDS}
    assert reader.notes == {}


def test_a_process_that_ended_keeps_the_cpu_that_it_had_and_has_no_memory() -> None:
    process = subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    reader = HostReader([process.pid])
    before = reader.read(tree=True, host=False)
    process.communicate("\n")
    after = reader.read(tree=True, host=False)
    assert after == {"server_cpu_s": before["server_cpu_s"], "server_rss_bytes": 0.0}


def test_a_server_that_runs_elsewhere_leaves_the_host_alone_with_the_reason() -> None:
    reader = HostReader([])
    assert set(reader.read(tree=True, host=True)) == set(HOST_FIELDS)
    assert list(reader.notes) == ["no CPU and memory of the server: its processes are not known here"]


def test_what_the_host_used_and_what_was_stolen_are_parts_of_its_cpu_time() -> None:
    reader = HostReader([])
    before, after = (reader.read(tree=True, host=True) for _ in range(2))
    grown = {name: after[name] - before[name] for name in HOST_FIELDS}
    assert grown["host_cpu_s"] >= grown["host_used_s"] + grown["host_steal_s"] - 1e-6
    assert min(after[name] for name in HOST_FIELDS) >= 0
