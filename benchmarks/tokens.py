"""Are TTFT and ITL what they are said to be?

A server sends tokens of OpenAI's chat API at times that it writes down; the load generator reads 200 such streams at
once. TTFT and every gap between tokens, as Paretune computes them from its records, are held against the server's.

    python benchmarks/tokens.py [--rounds N] [--json PATH] [--docs]
"""

import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import options
from numpy.typing import NDArray
from streams import Streamed, streamed
from tables import markdown, write_section

from tuner.load.generator import Generator
from tuner.timings import ttft_s

STREAMS, TOKENS, PERIOD_MS = 200, 100, 50.0
MAX_ERROR_S = 1e-3
WHAT = (("time to first token", "ttft"), ("gap before a token", "itl"))


@dataclass(frozen=True)
class Round:
    """Errors of one round, in seconds: p50 and p99 of |measured - true|.

    Attributes:
        ttft_p50_s, ttft_p99_s: of the time to the first token, over the streams.
        itl_p50_s, itl_p99_s: of the gap before a token, over all gaps.
        cpu_share: of the generator, of one core.
    """

    ttft_p50_s: float
    ttft_p99_s: float
    itl_p50_s: float
    itl_p99_s: float
    cpu_share: float


def main() -> NoReturn:
    """Measure, round by round; the bars are about the median round."""
    arguments = options.parse(__doc__, 5, "of all streams")
    generator_cpu, server_cpu = (sorted(os.sched_getaffinity(0)) * 2)[:2]
    found = []
    with tempfile.TemporaryDirectory() as folder, Generator(frozenset({generator_cpu})) as generator:
        for number in range(arguments.rounds):
            found.append(errors(streamed(generator, STREAMS, TOKENS, PERIOD_MS, server_cpu, Path(folder))))
            print(f"round {number + 1}: " + ", ".join(f"{name} {value * 1e3:.3f}" for name, value in _times(found[-1])))
    middle = {name: float(np.median([getattr(one, name) for one in found])) for name in asdict(found[0])}
    lines = [_line(what, middle[f"{key}_p50_s"], middle[f"{key}_p99_s"]) for what, key in WHAT]
    columns = ["error of", "p50", "p99", "bar of the p99", "met"]
    print(markdown(columns, lines))
    if arguments.docs:
        note = f"Medians of {len(found)} rounds; the generator used {middle['cpu_share']:.0%} of its core."
        write_section("tokens", f"{markdown(columns, lines)}\n\n{note}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    sys.exit(0 if max(middle["ttft_p99_s"], middle["itl_p99_s"]) <= MAX_ERROR_S else 1)


def _line(what: str, p50_s: float, p99_s: float) -> tuple[str, ...]:
    met = "yes" if p99_s <= MAX_ERROR_S else "**no**"
    return what, f"{p50_s * 1e6:.0f} us", f"{p99_s * 1e6:.0f} us", f"{MAX_ERROR_S * 1e3:g} ms", met


def errors(run: Streamed) -> Round:
    """Hold what was measured against what the server wrote down."""
    rows = run.records.rows.in_order_of("request")
    first = np.flatnonzero(np.diff(run.stream, prepend=-1))
    true_ttft_s = (run.sent_ns[first] - rows["intended_ns"]) / 1e9
    same = np.diff(run.stream) == 0
    gaps_s = [np.diff(times)[same] / 1e9 for times in (run.read_ns, run.sent_ns)]
    return Round(
        *_quantiles(ttft_s(rows) - true_ttft_s),
        *_quantiles(gaps_s[0] - gaps_s[1]),
        cpu_share=run.cpu_share,
    )


def _quantiles(error_s: NDArray[np.float64]) -> tuple[float, float]:
    p50, p99 = np.quantile(np.abs(error_s), (0.5, 0.99), method="inverted_cdf")
    return float(p50), float(p99)


def _times(one: Round) -> list[tuple[str, float]]:
    return [(name, value) for name, value in asdict(one).items() if name != "cpu_share"]


if __name__ == "__main__":
    main()
