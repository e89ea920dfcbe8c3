"""What each request, and each token, took: the values behind latency, TTFT, TPOT and ITL. Pure."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from targets.base import Outcome
from tuner.catalog import BOUNDED, ITL, LATENCY, TPOT, TTFT, Timing
from tuner.records import WINDOW, Records, latencies_s
from tuner.rows import Rows
from tuner.slo import Slo


def values_s(timing: Timing, records: Records) -> NDArray[np.float64]:
    """Return the values of a timing over the requests intended in the windows, in seconds, in their order in time.

    Every request that did not end ok counts as one infinite value. Shape [requests] for latency and TTFT; TPOT leaves
    out answers of fewer than two tokens or with none that was seen, which have none; ITL has a value for each token but
    the first.
    """
    if timing is ITL:
        return _gaps_s(records)
    rows = records.in_window()
    if timing is LATENCY:
        return latencies_s(rows)
    if timing is TTFT:
        return ttft_s(rows)
    tpot = tpot_s(rows)
    return tpot[~np.isnan(tpot)]


def ttft_s(rows: Rows) -> NDArray[np.float64]:
    """Return first token - intended in seconds, shape [n]; infinite where the answer failed or no token was seen.

    Tokens that only the usage block tells of were not seen.
    """
    found = rows.elapsed_s("intended_ns", "first_ns")
    found[(rows["outcome"] != Outcome.OK) | (rows["tokens"] == 0) | (rows["first_ns"] == 0)] = np.inf
    return found


def tpot_s(rows: Rows) -> NDArray[np.float64]:
    """Return (last - first token) / (tokens - 1) in seconds, shape [n].

    NaN for an answer of fewer than two tokens or in which none was seen, infinite for one that failed.
    """
    tokens = rows["tokens"].astype(np.float64)
    found = np.full(len(tokens), np.nan)
    several = (tokens > 1) & (rows["first_ns"] > 0)
    found[several] = rows.elapsed_s("first_ns", "last_ns")[several] / (tokens[several] - 1)
    found[rows["outcome"] != Outcome.OK] = np.inf
    return found


def _gaps_s(records: Records) -> NDArray[np.float64]:
    """Return the gap before each token: tokens that came in one event have no gap between them.

    The gaps of an answer add up to last - first token.
    """
    columns = records.columns
    inside = columns["phase"] == WINDOW
    ok = columns["outcome"] == Outcome.OK
    events = records.events[records.events["tokens"] > 0]
    events = events[(inside & ok)[events["row"]]]
    events = events[np.argsort(events["row"], kind="stable")]  # of one answer they are in the order of time
    starts = np.ones(len(events), np.bool_)
    starts[1:] = events["row"][1:] != events["row"][:-1]
    gaps = np.zeros(len(events))
    gaps[1:] = np.diff(events["at_ns"]) / 1e9
    gaps[starts] = 0.0
    tokens = events["tokens"].astype(np.int64)
    failed_ns = columns["done_ns"][inside & ~ok]
    at_ns = np.concatenate([np.repeat(events["at_ns"], tokens), failed_ns])
    spread = np.zeros(int(tokens.sum()) + len(failed_ns))
    firsts = np.cumsum(tokens) - tokens
    spread[firsts] = gaps
    spread[len(spread) - len(failed_ns) :] = np.inf
    counted = np.ones(len(spread), np.bool_)
    counted[firsts[starts]] = False
    order = np.argsort(at_ns[counted], kind="stable")
    found: NDArray[np.float64] = spread[counted][order]
    return found


def good(records: Records, slo: Slo) -> NDArray[np.bool_]:
    """Return which requests of all phases are good: answered ok, within the bounds that a request can keep.

    Args:
        records: of a load.
        slo: the bounds of the highest percentiles of latency, TTFT and TPOT are those of a request; a request has the
            bounds of its class.

    Returns:
        Mask [n], in the order in which the requests are stored.
    """
    if slo.classes:
        classes = records.columns["class"]
        of_classes = [good(records, one) & (classes == index) for index, one in enumerate(slo.classes)]
        any_of_them: NDArray[np.bool_] = np.logical_or.reduce(of_classes)
        return any_of_them
    rows = records.rows
    found: NDArray[np.bool_] = rows["outcome"] == Outcome.OK
    if (bound := slo.latency_bound_s) is not None:
        found = found & (latencies_s(rows) <= bound)
    if (bound := slo.request_bound_s(TTFT)) is not None:
        found = found & (ttft_s(rows) <= bound)
    if (bound := slo.request_bound_s(TPOT)) is not None:
        found = found & ~(tpot_s(rows) > bound)  # an answer of one token has no TPOT to be too long
    return found


def misplaced(records: Records) -> tuple[int, int]:
    """Return of how many answers in the windows the events do not add up to the tokens that the server counted.

    Returns:
        (such answers, answers that were ok and have tokens).
    """
    columns = records.columns
    wanted = (columns["phase"] == WINDOW) & (columns["outcome"] == Outcome.OK) & (columns["tokens"] > 0)
    seen = _seen(records)
    return int(np.count_nonzero(seen[wanted] != columns["tokens"][wanted])), int(np.count_nonzero(wanted))


def tokens_came_ns(records: Records) -> NDArray[np.int64]:
    """Return when each token of all answers came, sorted, shape [tokens].

    It came with its event. Tokens that the server counted beyond those of the events came with the last event that had
    one, or with the end of the answer where none had.
    """
    columns, events = records.columns, records.events
    beyond = np.maximum(columns["tokens"] - _seen(records), 0)
    rows = np.flatnonzero(beyond)
    last_ns = columns["last_ns"][rows]
    untold_ns = np.where(last_ns > 0, last_ns, columns["done_ns"][rows])
    seen_ns = np.repeat(events["at_ns"], events["tokens"])
    came: NDArray[np.int64] = np.concatenate([seen_ns, np.repeat(untold_ns, beyond[rows])])
    came.sort()
    return came


def _seen(records: Records) -> NDArray[np.int64]:
    """Return how many tokens the events of each request carried, shape [n]."""
    return np.bincount(records.events["row"], records.events["tokens"], minlength=len(records.rows)).astype(np.int64)


def judged_by(bounds: Mapping[str, float]) -> set[Timing]:
    """Return the timings that have a bound."""
    return {BOUNDED[name].timing for name in bounds if name in BOUNDED}
