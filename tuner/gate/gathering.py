"""What was measured of one side so far, deployment by deployment, and the document that it makes."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from targets.base import Outcome, metric_values
from tuner.accuracy import mixes
from tuner.accuracy.scoring import Scores
from tuner.catalog import LABELLED, METRICS, key_of
from tuner.gate import histogram, slos
from tuner.gate.deciding import Look
from tuner.gate.document import Accuracy, Measured, Measurement, Restart
from tuner.gate.rules import COLD_START, CPU, MEMORY
from tuner.records import Records, latencies_s
from tuner.request_class import Part
from tuner.results import Estimate, Load, SloVerdict, Validity
from tuner.runs import Run, pooled_runs
from tuner.stats import Interval
from tuner.telemetry.processes import sees_all_processes
from tuner.trials import Trier
from tuner.usage_metrics import memory_of_server
from tuner.workload import Workload, parts_of

COLD_REQUESTS = 32
"""Requests after a deployment whose latency is that of a cold start."""
OLD_SIDE = "(old side)"
"""The variant under which the answers of the other side are kept."""
_DIGITS = 6
_STORED = np.dtype("<f8")
_KEPT = frozenset(one.key for name, one in METRICS.items() if one.better and name not in LABELLED)


@dataclass
class Gathered:
    """What was measured of a side.

    Attributes:
        trier: its target and instruments.
        variant: its configuration's, in `trier.accuracies`.
        runs: workload -> pooled run of each deployment.
        restarts: workload, or class of one -> figures of each deployment.
        latency: the same -> histogram.
        beside: whether another side may be loaded at the same time.
    """

    trier: Trier
    variant: str
    runs: dict[str, list[Run]] = field(default_factory=dict)
    restarts: dict[str, list[Restart]] = field(default_factory=dict)
    latency: dict[str, dict[int, int]] = field(default_factory=dict)
    beside: bool = False

    def add(self, rounds: Mapping[str, Sequence[Run]], cold_s: Mapping[str, float]) -> None:
        """Add a deployment.

        Args:
            rounds: workload -> its rounds.
            cold_s: workload -> mean latency of its first requests, of those that the deployment was cold for; nan of
                one that had none.
        """
        for workload in self.trier.workloads:
            whole = pooled_runs(rounds[workload.name])
            self.runs.setdefault(workload.name, []).append(whole)
            for part in workload.parts:
                own = whole.of_part(part)
                metrics = self._figures(own, part.name)
                if part.index is None and not math.isnan(cold_s.get(workload.name, math.nan)):
                    metrics[COLD_START] = cold_s[workload.name]
                rows = own.records.in_window(ordered=False)
                errors = int(np.count_nonzero(rows["outcome"] != Outcome.OK))
                rounded = {key: float(f"{value:.{_DIGITS}g}") for key, value in metrics.items()}
                made = Restart(metrics=rounded, requests=len(rows), errors=errors)
                self.restarts.setdefault(part.name, []).append(made)
                counted = histogram.counted(latencies_s(rows))
                self.latency[part.name] = histogram.merged([self.latency.get(part.name, {}), counted])

    def _figures(self, run: Run, name: str) -> dict[str, float]:
        found = known(self.trier.meter.summary(run, name))
        answered = found.get(METRICS["total_throughput"].key, found[METRICS["throughput"].key])
        cores = found.get(METRICS["server_cpu"].key)
        if cores is not None and answered > 0:
            found[CPU] = cores / answered
        memory = _own_memory(run) if run.of_all else None
        if memory is not None:
            found[MEMORY] = memory
        return found

    def tells(self, key: str) -> bool:
        """Whether a figure was measured of every workload in every deployment so far."""
        names = [workload.name for workload in self.trier.workloads]
        return all(key in one.metrics for name in names for one in self.restarts.get(name, ()))

    def measured(self, loads: Mapping[str, Load], look: Look) -> dict[str, Measured]:
        """Return what there is by workload, and by class of a mix.

        Args:
            loads: workload -> its load.
            look: how sure the verdicts on SLOs have to be.
        """
        found = {}
        for workload, part in parts_of(self.trier.workloads):
            found[part.name] = Measured(
                load=loads[workload.name],
                restarts=self.restarts[part.name],
                latency=self.latency[part.name],
                slo=self._slo(workload, part, look),
                accuracy=self._accuracy(part.name),
            )
        return found

    def _slo(self, workload: Workload, part: Part, look: Look) -> dict[str, SloVerdict]:
        """Judge the bounds of a workload or class; what was not measured (accuracy without labels) has no verdict."""
        bounds = self.trier.meter.slos[part.name].bounds
        runs = [run.of_part(part) for run in self.runs[workload.name]]
        found = slos.of_requests([run.records for run in runs], bounds)
        told = {name: slos.judged(name, bounds[name], one, look) for name, one in found.items()}
        told |= {
            name: slos.judged(name, bounds[name], one, look.once)
            for name, one in self._of_items(part.name, bounds).items()
        }
        readings = self._readings(runs, part.name, [name for name in bounds if name not in told])
        return told | {name: slos.judged(name, bounds[name], one, look) for name, one in readings.items()}

    def _of_items(self, name: str, bounds: Mapping[str, float]) -> dict[str, slos.Evidence]:
        """Return the evidence on the labelled items. They are asked once: every look sees the same answers."""
        accuracies, found = self.trier.accuracies, {}
        strata, scoring = accuracies.strata(self.variant, name), accuracies.scorings.get(name)
        if not strata or scoring is None:
            return {}
        key = "prediction_error" if scoring.is_error else "accuracy"
        if key in bounds:
            found[key] = slos.Evidence(lambda confidence: mixes.overall(scoring, strata, confidence))
        drop = accuracies.metrics(self.variant, name).get(METRICS["accuracy_drop"].key)
        if "accuracy_drop" in bounds and drop is not None:  # both sides were asked all of them: that is exact
            found["accuracy_drop"] = slos.known(Interval(drop.value, drop.value, drop.value, drop.n))
        return found

    def _readings(self, runs: Sequence[Run], name: str, asked: Sequence[str]) -> dict[str, slos.Evidence]:
        """Return the evidence on what the server, or its use of the host, says of itself."""
        if not asked:
            return {}
        whole, own = self.trier.meter.summary(pooled_runs(runs), name), self.trier.meter.own
        each = [metric_values(run.server, own) if run.server else {} for run in runs]
        found = {}
        for one in asked:
            if (told := whole.get(key_of(one))) is None:
                continue
            if one == "gpu_memory" and self.beside and any(_own_memory(run) is None for run in runs):
                continue  # what is in use on the whole GPU is that of both sides
            of_use = [restart.metrics.get(key_of(one)) for restart in self.restarts[name]]
            values = of_use if of_use[0] is not None else [of_run.get(one) for of_run in each]
            known = [value for value in values if value is not None]
            interval = Interval(told.value, told.low, told.high, told.n)
            found[one] = slos.known(interval, known if len(known) > 1 else None)
        return found

    def _accuracy(self, name: str) -> Accuracy | None:
        told = self.trier.accuracies.metrics(self.variant, name)
        name_of_it = next((one for one in LABELLED if METRICS[one].key in told), None)
        if name_of_it is None:
            return None
        whole, scores = told[METRICS[name_of_it].key], self.scores().get(name)
        made = Accuracy(value=whole.value, items=whole.n) if scores is None else kept(whole.value, scores)
        return made.model_copy(update={"of": name_of_it})

    def compare_answers_with(self, scores: Mapping[str, Scores]) -> list[str]:
        """Have accuracy drops counted from the scores of the other side, item by item.

        Returns:
            The workloads of which the two sides were asked another number of items: there are no pairs of these, and
            no drop is counted.
        """
        accuracies, own = self.trier.accuracies, self.scores()
        pairs = {name: one for name, one in scores.items() if name not in own or len(one) == len(own[name])}
        accuracies.scores[OLD_SIDE] = pairs
        accuracies.reference = OLD_SIDE
        return sorted(set(scores) - set(pairs))

    def scores(self) -> Mapping[str, Scores]:
        """Return the score of each labelled item by workload, of a mix by class."""
        return self.trier.accuracies.scores.get(self.variant, {})

    def validity(self) -> Validity:
        """Return whether the load generator spoiled what was measured, and what else to know of it, by workload."""
        reasons, warnings = [], []
        for workload in self.trier.workloads:
            run = pooled_runs(self.runs[workload.name])
            metrics = self.trier.meter.summary(run, workload.name)
            judged = self.trier.meter.validity(run, workload, workload.parts[0], metrics)
            reasons += [f"{workload.name}: {reason}" for reason in judged.reasons]
            warnings += [f"{workload.name}: {warning}" for warning in judged.warnings]
        return Validity(valid=not reasons, reasons=reasons, warnings=warnings)


def known(summary: Mapping[str, Estimate]) -> dict[str, float]:
    """Return the figures that are kept of a deployment, key -> value.

    One that no request tells of, like the time per token of answers of one token, is left out. It is not known; results
    have it as infinite, as one of requests that failed is.
    """
    kept_ones = {key: one for key, one in summary.items() if key in _KEPT}
    return {key: one.value for key, one in kept_ones.items() if one.n or math.isfinite(one.value)}


def _own_memory(run: Run) -> float | None:
    """Return the memory of the server's own processes in bytes, None where it is not told."""
    return memory_of_server(run.used, all_processes=sees_all_processes())


def cold_start_s(records: Records) -> float:
    """Return the mean latency of the first COLD_REQUESTS requests of a run, its warm-up included, in seconds.

    Infinite where one of them failed, nan where there was none.
    """
    rows = records.rows.in_order_of("intended_ns")
    first = latencies_s(rows)[:COLD_REQUESTS]
    return float(np.mean(first)) if len(first) else math.nan


def kept(value: float, scores: Scores) -> Accuracy:
    """Return what is kept of the answers to labelled items: each score exactly, to be compared item by item.

    Args:
        value: of all items together.
        scores: of each, shape [n].
    """
    right = packed(scores)
    each = None if right is not None else base64.b64encode(scores.astype(_STORED).tobytes()).decode()
    return Accuracy(value=value, items=len(scores), right=right, scores=each)


def packed(scores: Scores) -> str | None:
    """Return scores of 0 and 1 as hexadecimal bits, None of any others."""
    if not np.isin(scores, (0, 1)).all():
        return None
    return np.packbits(scores > 0).tobytes().hex()


def unpacked(one: Accuracy) -> Scores | None:
    """Return the scores that `kept` kept, shape [n], None where there are none."""
    if one.right is not None:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(one.right), np.uint8), count=one.items)
        return bits.astype(np.float64)
    return None if one.scores is None else np.frombuffer(base64.b64decode(one.scores), _STORED).astype(np.float64)


def stored_scores(measurement: Measurement) -> dict[str, Scores]:
    """Return the scores that a measurement kept, by workload."""
    found = {}
    for name, measured in measurement.workloads.items():
        if measured.accuracy is not None and (scores := unpacked(measured.accuracy)) is not None:
            found[name] = scores
    return found
