"""Which requests a server answered from its cache of answers: what can be known of it here, held against its own count.

No server says it of a request. But a deployment begins with an empty cache, so that a request is a miss where nothing
alike was sent before it ended, and a hit where something alike had been answered before it was sent, if the cache
kept that. One that was on its way together with its like may be either. What the cache did not keep shows in the
server's count: it has fewer hits then, and nothing is told apart.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from targets.answer_cache import CacheCounters, KeepsAnswers
from targets.base import Deployment, Outcome
from tuner.accuracy.answers import Outputs
from tuner.records import Records
from workloads.requests import Requests

EITHER, HIT, MISS = 0, 1, 2
"""What a request is expected to be."""
STILL_S = 0.25
"""A server whose count has not changed for so long has counted all that it was asked, in seconds."""
_LOOK_S = 0.01
_NEVER = np.iinfo(np.int64).max

Range: TypeAlias = tuple[int, int]
"""Fewest and most."""


@dataclass(frozen=True)
class Lookups:
    """What is known of the requests of a load, or of several.

    Attributes:
        expected: EITHER, HIT or MISS of each request, int8 [n], in the order of the records.
        hits: how many the server is expected to count, warm-up and end included.
        misses: likewise.
        counted: what it did count.
        unknown: why nothing can be expected, "" where it can.
    """

    expected: NDArray[np.int8]
    hits: Range
    misses: Range
    counted: CacheCounters
    unknown: str = ""


@dataclass
class _History:
    """What a deployment was asked before a load, as hashes of the requests, and for which of them it has an answer."""

    asked: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    busy: bool = False
    unknown: str = ""


@dataclass(frozen=True)
class _Begun:
    """A load that is about to be offered to a deployment that keeps answers."""

    deployment: Deployment
    history: _History
    counted: CacheCounters


class Answers:
    """Remembers what each deployment that keeps answers was asked, for as long as it is in use."""

    def __init__(self) -> None:
        self._histories: list[tuple[ref[Deployment], _History]] = []

    def begin(self, deployments: Sequence[Deployment]) -> list[_Begun | None]:
        """Read what the servers counted so far, before any load; None for a deployment that keeps no answers.

        Raises:
            ServerDied: a server does not answer.
        """
        return [self._begun(one) if _keeps(one) else None for one in deployments]

    def _begun(self, deployment: Deployment) -> _Begun:
        history = self._history(deployment)
        if history.busy:  # the one before was not ended, or is of the same deployment
            history.unknown = "not all that it was asked before is known"
        history.busy = True
        return _Begun(deployment, history, deployment.statistics()().cache)

    def ended(
        self, begun: Sequence[_Begun | None], requests: Sequence[Sequence[bytes]], loads: Sequence[Records]
    ) -> list[Lookups | None]:
        """Say what is known of loads that have drained, and remember their requests.

        Args:
            begun: what `begin` gave.
            requests: of each load, encoded; () where they are not made here.
            loads: what was recorded of each.

        Raises:
            ServerDied: a server does not answer.
        """
        return [
            None if one is None else _known(one, encoded, records)
            for one, encoded, records in zip(begun, requests, loads, strict=True)
        ]

    def note(self, deployment: Deployment, requests: Requests, found: Sequence[Outputs | None]) -> None:
        """Remember what was asked outside of any load: the first requests of a source, and what came of each."""
        if not _keeps(deployment):
            return
        history = self._history(deployment)
        asked = deployment.endpoint(requests).requests[: len(found)]
        history.asked.update(map(hash, asked))
        history.answered.update(hash(one) for one, got in zip(asked, found, strict=True) if got is not None)

    def _history(self, deployment: Deployment) -> _History:
        self._histories = [(of, history) for of, history in self._histories if of() is not None]
        for of, history in self._histories:
            if of() is deployment:
                return history
        self._histories.append((ref(deployment), _History()))
        return self._histories[-1][1]


def _keeps(deployment: Deployment) -> bool:
    return isinstance(deployment, KeepsAnswers) and deployment.keeps_answers


def _known(begun: _Begun, requests: Sequence[bytes], records: Records) -> Lookups:
    history = begun.history
    history.busy = False
    if not requests:
        history.unknown = "what a locustfile sends is not known here"
    if history.unknown:
        nothing = np.zeros(len(records.rows), np.int8)
        return Lookups(nothing, (0, 0), (0, 0), _counted(begun), history.unknown)
    hashes = np.fromiter(map(hash, requests), np.int64, len(requests))
    contents, sent = hashes[records.columns["request"]], records.columns["sent_ns"] > 0
    ok = records.columns["outcome"] == Outcome.OK
    found = expected(contents, records, history.asked, history.answered)
    history.asked.update(contents[sent].tolist())
    history.answered.update(contents[ok].tolist())
    tally = Counter(zip(found[sent].tolist(), ok[sent].tolist(), strict=True))
    either = tally[EITHER, True] + tally[EITHER, False]
    hits, misses = (
        (tally[kind, True], tally[kind, True] + tally[kind, False] + either)  # a failure may not have got to its cache
        for kind in (HIT, MISS)
    )
    return Lookups(found, hits, misses, _settled(begun, hits[0], misses[0], int(sent.sum())))


def _settled(begun: _Begun, hits: int, misses: int, sent: int) -> CacheCounters:
    """Return what a server counted of a load that has drained, once it has counted all that it will.

    It counts a request after it has answered it: on a busy machine it has not counted the last ones when their answers
    are here. It is asked again until it has as many hits and misses as are expected at least, or lookups as requests
    were sent, or its count has stood still for STILL_S: its cache did not keep every answer then.

    Raises:
        ServerDied: it does not answer.
    """
    found, since = _counted(begun), time.monotonic()
    while (found.hits < hits or found.misses < misses) and found.lookups < sent and time.monotonic() < since + STILL_S:
        time.sleep(_LOOK_S)
        if (now := _counted(begun)) != found:
            found, since = now, time.monotonic()
    return found


def _counted(begun: _Begun) -> CacheCounters:
    """Return what a server has counted since a load began."""
    return begun.deployment.statistics()().cache - begun.counted


def expected(contents: NDArray[np.int64], records: Records, asked: set[int], answered: set[int]) -> NDArray[np.int8]:
    """Return EITHER, HIT or MISS of each request, int8 [n]; EITHER of those that were not sent.

    Args:
        contents: int64 [n], equal where requests are alike, and only there.
        records: of the requests.
        asked: contents that were sent before.
        answered: those of them with an ok answer.
    """
    sent = np.flatnonzero(records.columns["sent_ns"] > 0)
    order = sent[np.lexsort((records.columns["sent_ns"][sent], contents[sent]))]
    alike, sent_ns, done_ns = contents[order], records.columns["sent_ns"][order], records.columns["done_ns"][order]
    ok = records.columns["outcome"][order] == Outcome.OK
    is_first = np.append(True, alike[1:] != alike[:-1])[: len(alike)]
    group = np.cumsum(is_first) - 1
    answered_ns = np.full(len(alike), _NEVER)
    np.minimum.at(answered_ns, group[ok], done_ns[ok])
    next_sent_ns = np.append(np.where(is_first[1:], _NEVER, sent_ns[1:]), _NEVER)[: len(alike)]
    hit = np.isin(alike, list(answered)) | (answered_ns[group] < sent_ns)
    miss = is_first & ~np.isin(alike, list(asked)) & (next_sent_ns >= done_ns)
    found = np.zeros(len(contents), np.int8)
    found[order] = np.where(hit, HIT, np.where(miss, MISS, EITHER))
    return found


def together(parts: Sequence[Lookups | None]) -> Lookups | None:
    """Return what is known of several loads whose records are put together in this order; None where of one is none."""
    known = [one for one in parts if one is not None]
    if not known or len(known) < len(parts):
        return None
    return Lookups(
        np.concatenate([one.expected for one in known]),
        _summed([one.hits for one in known]),
        _summed([one.misses for one in known]),
        sum((one.counted for one in known), CacheCounters()),
        next((one.unknown for one in known if one.unknown), ""),
    )


def _summed(ranges: Sequence[Range]) -> Range:
    return sum(fewest for fewest, _ in ranges), sum(most for _, most in ranges)
