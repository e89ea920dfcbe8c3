"""Samples server, host and GPUs while a window is measured, in a thread of this process.

The thread has the CPUs and the scheduling class of the one that starts it: the tuner's, never the server's.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuner.telemetry.host import HostReader
from tuner.telemetry.nvml import GpuReader, Gpus
from tuner.telemetry.series import Series, columns

PERIOD_S = 0.1
TREE_PERIOD_S = 0.2
"""How often the server's processes are read at most: there may be many of them."""
SLOW_PERIOD_S = 1.0
"""How often is read what takes long."""
EARLY_NS = 5_000_000
"""What is due this soon after a sample is taken with it, not one sample later."""


@dataclass
class _Taken:
    """Samples so far: when, and what of the host and of each device."""

    time_ns: list[int] = field(default_factory=list)
    host: list[Mapping[str, float]] = field(default_factory=list)
    devices: list[Sequence[Mapping[str, float]]] = field(default_factory=list)


@dataclass
class _Due:
    """What is read less often than a sample is taken."""

    period_s: float
    at_ns: int = 0

    def now(self) -> bool:
        """Whether it is time; if it is, the next time is a period later."""
        now_ns = time.monotonic_ns()
        if now_ns < self.at_ns:
            return False
        self.at_ns = now_ns + round(self.period_s * 1e9) - EARLY_NS
        return True


class Sampler:
    """Samples between `start` and `stop`: at once, every period, and at the end.

    Args:
        gpus: of this host.
        period_s: from one sample to the next.
    """

    def __init__(self, gpus: Gpus, period_s: float = PERIOD_S) -> None:
        self.gpus = gpus
        self._period_s = period_s
        self._thread: threading.Thread | None = None

    def start(self, processes: Sequence[int]) -> None:
        """Begin to sample.

        Args:
            processes: of the server; none where it runs elsewhere.
        """
        self._ended = threading.Event()
        self._series: Series | None = None
        self._thread = threading.Thread(target=self._run, args=(processes,), name="telemetry", daemon=True)
        self._thread.start()

    def stop(self) -> Series | None:
        """End sampling and return the samples; None when it was not started."""
        if self._thread is None:
            return None
        self._ended.set()
        self._thread.join()
        self._thread = None
        return self._series

    def _run(self, processes: Sequence[int]) -> None:
        began_ns = time.thread_time_ns()
        host, gpus, taken = HostReader(processes), self.gpus.reader(processes), _Taken()
        due_ns, tree, slow = time.monotonic_ns(), _Due(TREE_PERIOD_S), _Due(SLOW_PERIOD_S)
        ended = False
        while not ended:
            _sample(taken, host, gpus, tree=tree.now(), slow=slow.now())
            due_ns = max(due_ns + round(self._period_s * 1e9), time.monotonic_ns())  # what was missed is not made up
            ended = self._ended.wait((due_ns - time.monotonic_ns()) / 1e9)
        _sample(taken, host, gpus, tree=True, slow=False, last=True)
        self._series = Series(
            time_ns=np.array(taken.time_ns, np.int64),
            host=columns(taken.host),
            devices=[
                (device, columns([row[index] for row in taken.devices]))
                for index, device in enumerate(self.gpus.devices)
            ],
            notes=(*self.gpus.notes, *host.notes, *gpus.notes),
            sampler_cpu_s=(time.thread_time_ns() - began_ns) / 1e9,
        )


def _sample(taken: _Taken, host: HostReader, gpus: GpuReader, *, tree: bool, slow: bool, last: bool = False) -> None:
    """Add a sample; the last one has the host again, but nothing that would keep whoever waits for the end."""
    taken.time_ns.append(time.monotonic_ns())
    taken.host.append(host.read(tree=tree, host=slow or last))
    taken.devices.append(gpus.read(slow=slow))
