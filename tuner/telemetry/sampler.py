"""Samples server, host and GPUs while a window is measured, in a thread of this process.

The thread has the CPUs and the scheduling class of the one that starts it: the tuner's, never the server's.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuner.telemetry.exposed import MetricsReader
from tuner.telemetry.host import HostReader
from tuner.telemetry.nvml import GpuReader, Gpus
from tuner.telemetry.series import Series, columns
from tuner.units import format_duration

PERIOD_S = 0.1
TREE_PERIOD_S = 0.2
"""How often the server's processes are read at most: there may be many of them."""
SLOW_PERIOD_S = 1.0
"""How often is read what takes long."""
TOLD_PERIOD_S = 0.5
"""How often a server elsewhere is asked of its GPUs, where the study does not say how often for its own metrics."""
EARLY_NS = 5_000_000
"""What is due this soon after a sample is taken with it, not one sample later."""
MOST_CPU = 0.01
"""Share of a core that sampling may take; beyond it samples are taken less often."""
JUDGED_AFTER_S = 1.0
"""From when on it is judged what sampling takes: what begins it is paid once."""


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


@dataclass
class Spacing:
    """How far samples are apart: as asked, and further while they take more than MOST_CPU of a core.

    Attributes:
        period_s: as asked; it is doubled, and never gets shorter again.
    """

    period_s: float

    def spent(self, cpu_s: float, elapsed_s: float) -> None:
        """Take in what sampling took so far; called once for each sample.

        Args:
            cpu_s: CPU time of it, since it began.
            elapsed_s: since then.
        """
        if elapsed_s >= JUDGED_AFTER_S and cpu_s > MOST_CPU * elapsed_s:
            self.period_s *= 2


class Sampler:
    """Samples between `start` and `stop`: at once, every period, and at the end.

    Args:
        gpus: of this host.
        period_s: from one sample to the next; longer in a window in which that takes too much, see `Spacing`.
        metrics_period_s: how often the server is asked for its own metrics at most; None: it is not asked.
    """

    def __init__(self, gpus: Gpus, period_s: float = PERIOD_S, metrics_period_s: float | None = None) -> None:
        self.gpus = gpus
        self._metrics_period_s = metrics_period_s
        self._period_s = period_s
        self._thread: threading.Thread | None = None

    def start(self, processes: Sequence[int], deployment: object = None) -> None:
        """Begin to sample.

        Args:
            processes: of the server; none where it runs elsewhere.
            deployment: of the server, which may tell metrics of itself.
        """
        self._ended = threading.Event()
        self._series: Series | None = None
        self._thread = threading.Thread(target=self._run, args=(processes, deployment), name="telemetry", daemon=True)
        self._thread.start()

    def stop(self) -> Series | None:
        """End sampling and return the samples; None when it was not started."""
        if self._thread is None:
            return None
        self._ended.set()
        self._thread.join()
        self._thread = None
        return self._series

    def _run(self, processes: Sequence[int], deployment: object) -> None:
        began_ns, spacing, start_ns = time.thread_time_ns(), Spacing(self._period_s), time.monotonic_ns()
        host, gpus, taken = HostReader(processes), self.gpus.reader(processes), _Taken()
        metrics = None if self._metrics_period_s is None else MetricsReader(deployment)
        due_ns, tree, slow = start_ns, _Due(TREE_PERIOD_S), _Due(SLOW_PERIOD_S)
        asked = _Due(self._metrics_period_s or 0.0)
        ended = False
        while not ended:
            _sample(taken, host, gpus, tree=tree.now(), slow=slow.now())
            if metrics is not None and asked.now():
                metrics.read()
            now_ns = time.monotonic_ns()
            spacing.spent((time.thread_time_ns() - began_ns) / 1e9, (now_ns - start_ns) / 1e9)
            due_ns = max(due_ns + round(spacing.period_s * 1e9), now_ns)  # what was missed is not made up
            ended = self._ended.wait((due_ns - time.monotonic_ns()) / 1e9)
        _sample(taken, host, gpus, tree=True, slow=False, last=True)
        if metrics is not None:
            metrics.read(last=True)
        self._series = Series(
            time_ns=np.array(taken.time_ns, np.int64),
            host=columns(taken.host),
            devices=[
                (device, columns([row[index] for row in taken.devices]))
                for index, device in enumerate(self.gpus.devices)
            ],
            notes=(
                *self.gpus.notes,
                *host.notes,
                *gpus.notes,
                *(metrics.notes if metrics else ()),
                *_further_apart(self._period_s, spacing.period_s),
            ),
            texts=metrics.texts() if metrics else None,
            sampler_cpu_s=(time.thread_time_ns() - began_ns) / 1e9,
        )


def _further_apart(asked_s: float, period_s: float) -> list[str]:
    """Return a note where samples were taken less often than asked."""
    if period_s == asked_s:
        return []
    in_the_end, asked = format_duration(period_s), format_duration(asked_s)
    return [f"sampled every {in_the_end} in the end, not every {asked}: that took more than {MOST_CPU:.0%} of a core"]


def _sample(taken: _Taken, host: HostReader, gpus: GpuReader, *, tree: bool, slow: bool, last: bool = False) -> None:
    """Add a sample; the last one has the host again, but nothing that would keep whoever waits for the end."""
    taken.time_ns.append(time.monotonic_ns())
    taken.host.append(host.read(tree=tree, host=slow or last))
    taken.devices.append(gpus.read(slow=slow))
