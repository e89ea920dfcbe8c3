"""How long should a gate's rounds be? The spread of an A/A comparison by the length of its rounds.

The digits study on a real Triton, the same configuration loaded twice, closed loop with 16 in flight. Every length has
blocks of as much load as a redeployment of a gate has by default: 2 s of each side, in turn, the order swapped from
round to round. The lengths take turns too, so that all of them see the same minutes.

    python benchmarks/round_length.py [--rounds N] [--json PATH] [--docs]
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import options
from tables import markdown, write_section

from studies import __file__ as studies_file
from targets.base import Deployment
from tuner.catalog import METRICS
from tuner.confirm import DROPPED_SHARE
from tuner.instruments import started
from tuner.offered import Offered
from tuner.stopping import Pace
from tuner.study.load import load_study
from tuner.trials import Trier
from tuner.wiring import prepare

BLOCKS, BLOCK_S = 24, 2.0
LENGTHS_S = (0.2, 0.1, 0.05, 0.025)
SETTINGS = ("space={max_batch_size: 16, precision: int8, concurrency: 16}",)
CONCURRENCY = 16


def main() -> int:
    """Measure, and show the spread by length."""
    given = options.parse(__doc__, BLOCKS, "blocks of every length", "docs/gate.md")
    logs: dict[float, list[float]] = {length: [] for length in LENGTHS_S}
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(load_study(Path(studies_file).parent / "digits.yaml", SETTINGS), Path(folder) / "log.txt")
        steady = prepared.workloads[0]
        with started(prepared, Path(folder)) as bench:
            config = {**prepared.target.user_config(), "max_batch_size": 16, "precision": "int8"}
            deployments = [bench.trier.deploy(config, alias) for alias in ("one", "other")]
            offered = Offered(steady, steady.at(CONCURRENCY))
            block(bench.trier, deployments, offered, LENGTHS_S[0])  # the first requests find nothing ready
            for number in range(given.rounds):
                for length in LENGTHS_S if number % 2 == 0 else LENGTHS_S[::-1]:
                    logs[length].append(block(bench.trier, deployments, offered, length))
                print(number, " ".join(f"{one[-1]:+.2%}" for one in logs.values()), flush=True)
    if given.json:
        given.json.write_text(json.dumps(list(logs.items()), indent=1) + "\n")
    table = table_of(logs)
    print(table)
    if given.docs:
        write_section("round_length", table, Path(__file__).parent.parent / "docs" / "gate.md")
    return 0


def block(trier: Trier, deployments: list[Deployment], offered: Offered, length_s: float) -> float:
    """Return the log ratio of the throughputs, each the mean over its rounds."""
    pace = Pace.fixed(DROPPED_SHARE * length_s, (1 - DROPPED_SHARE) * length_s)
    found: list[list[float]] = [[], []]
    for number in range(round(BLOCK_S / length_s)):
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            (run,) = trier.measure_at_once(deployments[index], [offered], pace)
            summary = trier.meter.summary(run, offered.workload.name)
            found[index].append(summary[METRICS["throughput"].key].value)
    return float(np.log(np.mean(found[1]) / np.mean(found[0])))


def table_of(logs: dict[float, list[float]]) -> str:
    """Return the documentation's table."""
    rows = [
        [
            f"{length * 1000:g} ms",
            round(BLOCK_S / length),
            len(one),
            f"{np.mean(one):+.1%}",
            f"{np.std(one, ddof=1):.1%}",
        ]
        for length, one in logs.items()
    ]
    return markdown(
        ["length of a round", "rounds of each side", "blocks", "mean log ratio", "standard deviation"], rows
    )


if __name__ == "__main__":
    sys.exit(main())
