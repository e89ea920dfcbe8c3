"""CPU and memory of the server's process tree, and of the host; and which CPU the host has."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import psutil

SERVER_FIELDS = ("server_cpu_s", "server_rss_bytes")
HOST_FIELDS = ("host_load", "host_cpu_s", "host_used_s", "host_steal_s")


class HostReader:
    """Reads a process tree and the host again and again.

    Args:
        processes: of the server. One that has ended keeps the CPU time that it had; one that cannot be read is left
            out, with a note.
    """

    def __init__(self, processes: Sequence[int]) -> None:
        self.notes: dict[str, None] = {}
        self._cpu_s: dict[int, float] = {}
        self._processes = [process for pid in processes if (process := self._found(pid)) is not None]
        if not self._processes:
            self.notes["no CPU and memory of the server: its processes are not known here"] = None

    def read(self, *, tree: bool, host: bool) -> dict[str, float]:
        """Return field -> value: of the server SERVER_FIELDS, of the host HOST_FIELDS.

        CPU times are in seconds and only grow; `host_used_s` leaves out what was idle or stolen.

        Args:
            tree: whether the server is read.
            host: whether the host is read; it costs more the more CPUs there are.
        """
        found = self._tree() if tree and self._processes else {}
        return {**found, **_host()} if host else found

    def _tree(self) -> dict[str, float]:
        rss = 0
        for process in self._processes:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    rss += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            except (psutil.Error, OSError) as error:
                self.notes[f"process {process.pid}: {error}"] = None
                continue
            self._cpu_s[process.pid] = times.user + times.system
        return {"server_cpu_s": sum(self._cpu_s.values()), "server_rss_bytes": float(rss)}

    def _found(self, pid: int) -> psutil.Process | None:
        try:
            return psutil.Process(pid)
        except psutil.Error:
            return None


def _host() -> dict[str, float]:
    times = psutil.cpu_times()
    steal = getattr(times, "steal", 0.0)
    idle = times.idle + getattr(times, "iowait", 0.0)
    # The kernel counts the time of guests in `user` and `nice` as well.
    whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return {
        "host_load": os.getloadavg()[0],
        "host_cpu_s": whole,
        "host_used_s": whole - idle - steal,
        "host_steal_s": steal,
    }


def cpu_model() -> str:
    """Return the name of the host's CPU; empty where the kernel gives none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
