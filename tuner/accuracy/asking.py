"""Ask a deployment every item once, outside of the measured windows, and decode what it answers."""

import time
from pathlib import Path

import numpy as np

from targets.base import Deployment, ServerHung
from tuner.accuracy.answers import Outputs
from tuner.load.generator import LoadGenerator
from tuner.load.plan import ClosedLoop, Plan
from tuner.load.sequences import SequenceOrder
from tuner.request_class import RequestClass

CONCURRENCY = 8
TIMEOUT_S = 60.0
_LEAD_NS = 30_000_000


def outputs_of(
    generator: LoadGenerator, scratch: Path, deployment: Deployment, one: RequestClass, items: int, workload: str
) -> list[Outputs | None]:
    """Send the first items of a class and return the outputs of each, None for one without an ok answer.

    Sequences are sent one after the other: what a request is answered depends on those before it. One that goes on
    behind the last item is ended with its last request, so that the server forgets it.

    Args:
        generator: sends them, CONCURRENCY at a time where they belong to no sequences.
        scratch: folder for records that are not kept.
        deployment: whom to ask.
        one: whose requests.
        items: how many.
        workload: its name, for errors.

    Raises:
        ServerHung: they take longer than TIMEOUT_S.
        ServerDied, GeneratorError: as `Meter.run`.
        TargetError: an answer cannot be decoded.
    """
    sequences = one.sequences and one.sequences.begun(items)
    plan = Plan(
        endpoint=deployment.endpoint(one.dataset),
        load=ClosedLoop(1 if sequences else CONCURRENCY, np.arange(items, dtype=np.int32), total=items),
        start_ns=time.monotonic_ns() + _LEAD_NS,
        warmup_ns=0,
        window_ns=round(TIMEOUT_S * 1e9),
        timeout_ns=round(one.timeout_s * 1e9),
        records_path=scratch / "accuracy.bin",
        keep_answers=True,
        sequences=SequenceOrder(sequences.firsts, sequences.lengths) if sequences else None,
    )
    report = generator.run(plan).report
    if report.requests < items:
        raise ServerHung(
            f"{workload}: only {report.requests} of {items} items were sent and answered within {TIMEOUT_S:g} s"
        )
    found: list[Outputs | None] = [None] * items
    for index, answer in report.answers:
        if index < items:
            found[index] = deployment.outputs(answer)
    return found
