"""Ask a deployment every item once, outside of the measured windows, and decode what it answers."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from targets.base import Deployment, Outcome, ServerHung
from tuner.accuracy.answers import Outputs
from tuner.load.generator import LoadGenerator
from tuner.load.plan import ClosedLoop, Plan
from tuner.load.sequences import SequenceOrder
from tuner.records import Records
from tuner.request_class import RequestClass

CONCURRENCY = 8
TIMEOUT_S = 60.0
_LEAD_NS = 30_000_000


@dataclass(frozen=True)
class _Left:
    """What is to be asked.

    Attributes:
        requests: int32 [n], their indices.
        sequences: that they belong to, None: to none.
    """

    requests: NDArray[np.int32]
    sequences: SequenceOrder | None


def outputs_of(
    generator: LoadGenerator,
    scratch: Path,
    deployment: Deployment,
    one: RequestClass,
    items: int,
    workload: str,
    *,
    patience_s: float = TIMEOUT_S,
) -> list[Outputs | None]:
    """Send the first items of a class and return the outputs of each, None for one without an ok answer.

    They are asked in rounds of the patience, until all were: of items without labels there is one round. Sequences are
    sent one after the other: what a request is answered depends on those before it. One that goes on behind the last
    item is ended with its last request, so that the server forgets it; one that the end of a round cuts off is asked
    again from its start.

    Args:
        generator: sends them, CONCURRENCY at a time where they belong to no sequences.
        scratch: folder for records that are not kept.
        deployment: whom to ask.
        one: whose requests.
        items: how many.
        workload: its name, for errors.
        patience_s: how long a round takes; requests that are on their way at its end are waited for.

    Raises:
        ServerHung: a round brought no ok answer, or of sequences none to its end; of items without labels it was not
            enough.
        ServerDied, GeneratorError: as `Meter.run`.
        TargetError: an answer cannot be decoded.
    """
    found: list[Outputs | None] = [None] * items
    sequences = one.sequences and one.sequences.begun(items)
    order = SequenceOrder(sequences.firsts, sequences.lengths) if sequences else None
    left = _Left(np.arange(items, dtype=np.int32), order)
    while True:
        run = generator.run(_plan(deployment, one, left, scratch, patience_s))
        counts, rest = _sorted_out(left, run.records, items)
        for index, answer in run.report.answers:
            if index < items and counts[index]:
                found[index] = deployment.outputs(answer)
        if run.report.requests >= len(left.requests):
            return found
        fruitless = not run.report.answers or len(rest.requests) == len(left.requests)
        if fruitless or one.dataset.labels is None:
            none = "" if one.dataset.labels is None else f", and {'no sequence' if order else 'none'} of them was"
            raise ServerHung(
                f"{workload}: {len(rest.requests)} of {items} items were not answered{none} within {patience_s:g} s"
            )
        left = rest


def _plan(deployment: Deployment, one: RequestClass, left: _Left, scratch: Path, patience_s: float) -> Plan:
    """Return a round."""
    return Plan(
        endpoint=deployment.endpoint(one.dataset),
        load=ClosedLoop(1 if left.sequences else CONCURRENCY, left.requests, total=len(left.requests)),
        start_ns=time.monotonic_ns() + _LEAD_NS,
        warmup_ns=0,
        window_ns=round(patience_s * 1e9),
        timeout_ns=round(one.timeout_s * 1e9),
        records_path=scratch / "accuracy.bin",
        keep_answers=True,
        sequences=left.sequences,
    )


def _sorted_out(asked: _Left, records: Records, items: int) -> tuple[NDArray[np.bool_], _Left]:
    """Return which items' answers of a round count, bool [items], and what is left to be asked.

    A sequence counts up to the first request that was not sent: what ended it early came after a gap. It is over where
    it has no such gap, and where a request of it failed.
    """
    requests = np.asarray(records.rows["request"])
    failed = requests[np.asarray(records.rows["outcome"]) != Outcome.OK]
    was_sent, has_failed = np.isin(np.arange(items), requests), np.isin(np.arange(items), failed)
    if asked.sequences is None:
        return was_sent, _Left(asked.requests[~was_sent[asked.requests]], None)
    counts, cut = np.zeros(items, np.bool_), np.zeros(len(asked.sequences.firsts), np.bool_)
    stops = np.minimum(asked.sequences.firsts + asked.sequences.lengths, items)
    for index, (first, stop) in enumerate(zip(asked.sequences.firsts.tolist(), stops.tolist(), strict=True)):
        gaps = np.flatnonzero(~was_sent[first:stop])
        reached = first + int(gaps[0]) if len(gaps) else stop
        cut[index] = reached < stop and not has_failed[first:reached].any()
        counts[first:reached] = not cut[index]
    spans = [np.arange(*span, dtype=np.int32) for span in zip(asked.sequences.firsts[cut], stops[cut], strict=True)]
    rest = SequenceOrder(asked.sequences.firsts[cut], asked.sequences.lengths[cut])
    return counts, _Left(np.concatenate([np.zeros(0, np.int32), *spans]), rest)
