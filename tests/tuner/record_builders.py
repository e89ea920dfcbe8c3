"""Records for the tests of what works on them, with times in milliseconds."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from targets.base import Outcome
from tuner.records import AFTER, EVENT, FIELDS, ROW, WARMUP, WINDOW, Records

Request = tuple[float, float, float, Outcome]
"""Intended, sent and done in ms, and how it ended."""
MS = 1_000_000


def records(requests: Sequence[Request], window_ms: tuple[float, float] = (0, 1000)) -> Records:
    """Make records of one run; a request is ready when it is due."""
    start, end = (round(edge * MS) for edge in window_ms)
    rows = np.zeros(len(requests), ROW)
    for index, (intended, sent, done, outcome) in enumerate(requests):
        row = rows[index]
        row["intended_ns"] = row["ready_ns"] = round(intended * MS)
        row["sent_ns"], row["first_ns"], row["done_ns"] = round(sent * MS), round(done * MS), round(done * MS)
        row["outcome"] = outcome
        row["request"] = index
        row["phase"] = WARMUP if row["intended_ns"] < start else WINDOW if row["intended_ns"] < end else AFTER
    return Records({name: rows[name].copy() for name, _, _ in FIELDS}, [(start, end)])


def with_events(of: Records, *events: tuple[int, int, int]) -> Records:
    """Return the records with events: (row, tokens, at_ns) each."""
    return replace(of, events=np.array(list(events), EVENT))


def answered(intended_ms: float, latency_ms: float) -> Request:
    """Return a request that was sent when it was due and answered ok."""
    return intended_ms, intended_ms, intended_ms + latency_ms, Outcome.OK
