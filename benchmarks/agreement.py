"""Do we measure what wrk measures?

The same closed loop against the same real Triton, the digits model over HTTP, by Paretune and by wrk in turn (A B B A).
Both keep as many requests in flight and take the time of each from its sending to its answer. Their throughput and
their p50 have to agree: the interval of the ratio contains 1 or lies within TOLERANCE of it.

    python benchmarks/agreement.py [--rounds N] [--json PATH] [--docs]
"""

import json
import os
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import options
from ratios import Ratio, in_turn, ratio, tight
from rounds import Round, ours, wrk
from tables import markdown, write_section
from triton_server import digits

from tuner.load.generator import Generator

TOLERANCE = 0.03
ENOUGH = TOLERANCE / 3
"""Half of an interval when the rounds end: it has to lie within the tolerance beside the difference that there is."""
IN_FLIGHT = (1, 16)
SECONDS = 240.0


def main() -> int:
    """Return 1 when they disagree."""
    given = options.parse(__doc__, None, "pairs of rounds at most, for each load")
    generator_cpu, server_cpu = (sorted(os.sched_getaffinity(0)) * 2)[:2]
    os.sched_setaffinity(0, {generator_cpu})
    found: dict[str, Ratio] = {}
    with tempfile.TemporaryDirectory() as folder, Generator(frozenset({generator_cpu})) as generator:
        for count in IN_FLIGHT:
            found |= compare(generator, count, (generator_cpu, server_cpu), Path(folder), given.rounds)
            print(*(f"{name}: {one}" for name, one in found.items()), sep="\n", flush=True)
    met = all(map(agrees, found.values()))
    if given.json:
        given.json.write_text(json.dumps({name: asdict(one) for name, one in found.items()}, indent=1) + "\n")
    if given.docs:
        lines = [[name, str(one), f"1, or within {TOLERANCE:.0%}", _yes(agrees(one))] for name, one in found.items()]
        write_section("agreement", markdown(["ours / wrk", "ratio", "bar", "met"], lines))
    print("met" if met else "missed")
    return 0 if met else 1


def compare(
    generator: Generator, count: int, cpus: tuple[int, int], scratch: Path, rounds: int | None
) -> dict[str, Ratio]:
    """Return the ratios of a closed loop of `count` requests in flight."""
    mine: list[Round] = []
    theirs: list[Round] = []
    with digits("http", count, scratch, cpus[1]) as (endpoint, _, _):
        us = partial(ours, generator, endpoint, count, scratch)
        them = partial(wrk, endpoint, count, cpus[0], scratch)
        in_turn(
            [lambda: mine.append(us()), lambda: theirs.append(them())],
            lambda: tight(_rps(mine, theirs), ENOUGH) and tight(_p50(mine, theirs), ENOUGH),
            SECONDS,
            rounds,
        )
    load = f"{count} in flight"
    return {f"throughput, {load}": _rps(mine, theirs), f"p50, {load}": _p50(mine, theirs)}


def agrees(one: Ratio) -> bool:
    """Whether an interval contains 1 or lies within the tolerance of it."""
    return one.low <= 1 <= one.high or (one.low >= 1 - TOLERANCE and one.high <= 1 + TOLERANCE)


def _rps(mine: list[Round], theirs: list[Round]) -> Ratio:
    return ratio([one.rps for one in mine], [one.rps for one in theirs])


def _p50(mine: list[Round], theirs: list[Round]) -> Ratio:
    return ratio([one.p50_s for one in mine], [one.p50_s for one in theirs])


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"


if __name__ == "__main__":
    sys.exit(main())
