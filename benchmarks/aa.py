"""How often is a configuration different from itself?

`tune compare` on a real Triton, both sides the same configuration of the digits model: two deployments of it side by
side, short rounds in turn, deployed anew several times. At the 95% level one comparison of twenty is different by
chance, and a binomial distribution has more than MOST_DIFFERENT of twenty in 1.6% of the cases.

    python benchmarks/aa.py [--rounds N] [--json PATH] [--docs]
"""

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import options
from tables import markdown, write_section

from studies import __file__ as studies_file
from tuner import head_to_head
from tuner.instruments import started
from tuner.study.load import load_study
from tuner.wiring import prepare

COMPARISONS = 20
MOST_DIFFERENT = 3
METRICS = {"throughput_rps": "throughput", "latency_p50_s": "p50", "latency_p99_s": "p99"}
SETTINGS = (
    "space={max_batch_size: 8, precision: int8, concurrency: 16}",
    "confirm={redeployments: 4, max_redeployments: 4, rounds: 10, round: 0.1 s}",
)


@dataclass(frozen=True)
class Found:
    """One comparison's ratio of a metric, with its interval and verdict."""

    metric: str
    value: float
    low: float
    high: float
    verdict: str

    @property
    def different(self) -> bool:
        """Whether it was called better or worse."""
        return self.verdict in ("better", "worse")


def main() -> int:
    """Return 1 when the bar is missed."""
    given = options.parse(__doc__, COMPARISONS, "comparisons")
    found = compare(given.rounds)
    most = MOST_DIFFERENT * given.rounds / COMPARISONS
    met = all(sum(one.different for one in found if one.metric == name) <= most for name in METRICS.values())
    if given.json:
        given.json.write_text(json.dumps({"found": [asdict(one) for one in found], "met": met}, indent=1) + "\n")
    table = table_of(found, given.rounds, most)
    print(table)
    if given.docs:
        write_section("aa", table)
    print("met" if met else "missed")
    return 0 if met else 1


def compare(count: int) -> list[Found]:
    """Compare the configuration with itself so many times, on the steady workload."""
    study = load_study(Path(studies_file).parent / "digits.yaml", SETTINGS)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(study, Path(folder) / "log.txt")
        steady = prepared.workloads[:1]
        with started(prepared, Path(folder)) as bench:
            bench.trier.workloads = steady
            user = prepared.target.user_config()
            one = head_to_head.contender(0, user, prepared.space, steady)
            for number in range(count):
                made = head_to_head.measure(bench.trier, (one, one), study.spec.confirm)
                ratios = made.ratios[steady[0].name]
                new = [
                    Found(name, ratios[key].value, ratios[key].low, ratios[key].high, ratios[key].verdict)
                    for key, name in METRICS.items()
                ]
                print(number, *(f"{one.metric} {one.value:.3f} {one.verdict}" for one in new), flush=True)
                found += new
    return found


def table_of(found: list[Found], count: int, most: float) -> str:
    """Return the documentation's table."""
    lines = []
    for name in METRICS.values():
        mine = [one for one in found if one.metric == name]
        different = sum(one.different for one in mine)
        logs = np.log([one.value for one in mine])
        half = np.median([np.log(one.high / one.low) / 2 for one in mine])
        lines.append(
            [
                name,
                count,
                different,
                f"{most:g}",
                f"{np.std(logs):.2%}",
                f"{half:.2%}",
                "yes" if different <= most else "**no**",
            ]
        )
    columns = ["metric", "comparisons", "different", "bar", "sd of the log ratio", "median half interval", "met"]
    return markdown(columns, lines)


if __name__ == "__main__":
    sys.exit(main())
