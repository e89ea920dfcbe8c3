"""What a server tells of itself: the text is got while a window is measured, and made sense of when there is time."""

import time
from dataclasses import replace
from itertools import chain

import numpy as np

from targets.base import Exposed, Exposes, TargetError
from targets.exposed import ToldOfGpus
from tuner.telemetry.series import Metrics, Series, Texts, columns

TIMEOUT_S = 0.25
"""How long a server may take for its answer: the next sample waits for it."""


class MetricsReader:
    """Gets what a server tells of itself again and again.

    Args:
        deployment: whose server it is. Where that tells nothing, a note says why.
    """

    def __init__(self, deployment: object) -> None:
        self.notes: dict[str, None] = {}
        self._got: list[tuple[int, bytes]] = []
        self._answered = True
        self._exposed = self._found(deployment)

    def read(self, *, last: bool = False) -> None:
        """Get the text; where that fails a note says why.

        Args:
            last: whether somebody waits for the end: a server that did not answer before is not asked.
        """
        if self._exposed is None or (last and not self._answered):
            return
        taken_ns, self._answered = time.monotonic_ns(), False
        try:
            self._got.append((taken_ns, self._exposed.get(TIMEOUT_S)))
            self._answered = True
        except TargetError as error:
            self.notes[f"server metrics: {error}"] = None

    def texts(self) -> Texts | None:
        """Return what was got; None where there is nothing, and nothing else hangs on it."""
        if self._exposed is None or not (self._got or self._exposed.gpus):
            return None
        return Texts(self._exposed.told, self._got, self._exposed.gpus)

    def _found(self, deployment: object) -> Exposed | None:
        if not isinstance(deployment, Exposes):
            self.notes["no server metrics: they are not read of this kind of target"] = None
            return None
        try:
            return deployment.exposed()
        except TargetError as error:
            self.notes[f"no server metrics: {error}"] = None
        return None


def with_metrics(series: Series) -> Series:
    """Return samples with the numbers that the texts say; a text that cannot be read is a note. Pure."""
    if series.texts is None:
        return series
    times_ns, rows = list[int](), list[dict[str, float]]()
    of_gpus: list[ToldOfGpus] = []
    counters: set[str] = set()
    notes: dict[str, None] = {}
    for taken_ns, text in series.texts.got:
        try:
            found = series.texts.told(text)
            of_gpus.append(series.texts.gpus(text) if series.texts.gpus else {})
        except TargetError as error:
            notes[f"server metrics: {error}"] = None
            continue
        times_ns.append(taken_ns)
        rows.append({one.name: one.value for one in found})
        counters.update(one.name for one in found if one.grows)
    gpus = None if series.texts.gpus is None else {
        name: columns([one.get(name, {}) for one in of_gpus]) for name in dict.fromkeys(chain.from_iterable(of_gpus))
    }  # fmt: skip
    metrics = Metrics(np.array(times_ns, np.int64), columns(rows), frozenset(counters), gpus)
    devices = series.devices if gpus is None else ()  # those of this host are not the server's
    return replace(series, devices=devices, metrics=metrics, notes=(*series.notes, *notes), texts=None)
