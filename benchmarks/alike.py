"""How often is a host of the same kind refused from a study that hosts share, and how often one that is slower?

Two hosts measure your configuration at LEVELS loads, each on one deployment. A deployment is faster or slower than
another one by chance, at all of its loads alike; each value has an interval of its own beside that. The tuner's own
`hosts.admission.differences` says whether the second host may take part, at the default of `--within`. The last column
is of a study with HOSTS equal hosts: whether any of those that come after the first is refused.

    python benchmarks/alike.py [--rounds N] [--json PATH] [--docs]
"""

import json
import sys
from dataclasses import asdict, dataclass

import numpy as np
import options
from tables import PAGE, markdown, write_section

from tuner.hosts.admission import WITHIN, Figure, Host, differences

MOST_REFUSED = 0.05
"""Of equal hosts, where deployments differ by TYPICAL at most (a standard deviation)."""
TYPICAL = 0.04
LEAST_REFUSED = 0.95
"""Of hosts that are SLOWER times as slow, where intervals are no wider than NARROW."""
SLOWER, NARROW = 1.4, 0.05
DEPLOYMENTS = (0.02, 0.04, 0.08)
WIDTHS = (0.02, 0.05, 0.1)
RATIOS = (1.0, 1.2, SLOWER)
LEVELS, HOSTS, SEED = 6, 8, 11
_IN_95 = 1.96


@dataclass(frozen=True)
class Row:
    """What came of pairs of hosts.

    Attributes:
        deployment: standard deviation from deployment to deployment.
        width: half of an interval, as a share of its value.
        refused: how many times as slow the second host is -> share of the pairs in which it was refused.
        any_of_hosts: share of studies of HOSTS equal hosts in which at least one was.
    """

    deployment: float
    width: float
    refused: dict[float, float]
    any_of_hosts: float

    def fine(self) -> bool:
        """Whether the bars are met."""
        equal, slower = self.refused[1.0], self.refused[SLOWER]
        return (self.deployment > TYPICAL or equal <= MOST_REFUSED) and (
            self.deployment > TYPICAL or self.width > NARROW or slower >= LEAST_REFUSED
        )


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, 4000, "pairs of hosts for each row and speed", "docs/hosts.md")
    draw = np.random.default_rng(SEED)
    rows = [row_of(deployment, width, given.rounds, draw) for deployment in DEPLOYMENTS for width in WIDTHS]
    met = all(row.fine() for row in rows)
    print(table_of(rows))
    if given.json:
        given.json.write_text(json.dumps({"rows": [asdict(row) for row in rows], "met": met}, indent=1) + "\n")
    if given.docs:
        write_section("alike", table_of(rows), PAGE.with_name("hosts.md"))
    print("met" if met else "missed")
    return 0 if met else 1


def row_of(deployment: float, width: float, rounds: int, draw: np.random.Generator) -> Row:
    """Simulate pairs of hosts, and studies of several."""
    refused = {}
    for ratio in RATIOS:
        pairs = ((a_host(1.0, deployment, width, draw), a_host(ratio, deployment, width, draw)) for _ in range(rounds))
        refused[ratio] = sum(bool(differences(one, other, WITHIN)) for one, other in pairs) / rounds
    studies = rounds // HOSTS
    some = sum(any_refused(deployment, width, draw) for _ in range(studies)) / studies
    return Row(deployment, width, refused, some)


def any_refused(deployment: float, width: float, draw: np.random.Generator) -> bool:
    """Whether at least one of the equal hosts that come to a study is refused by the first one."""
    first, *others = (a_host(1.0, deployment, width, draw) for _ in range(HOSTS))
    return any(differences(first, other, WITHIN) for other in others)


def a_host(slower: float, deployment: float, width: float, draw: np.random.Generator) -> Host:
    """Return a host with the throughput of its baseline at every load.

    Args:
        slower: how many times as slow it is as others.
        deployment: standard deviation from deployment to deployment.
        width: half of an interval, as a share of its value.
        draw: randomness.
    """
    speed = np.exp(draw.normal(0.0, deployment)) / slower
    values = 100.0 * 2.0 ** np.arange(LEVELS) * speed * np.exp(draw.normal(0.0, width / _IN_95, LEVELS))
    figures = [
        Figure("steady", 2.0**level, value, value * (1 - width), value * (1 + width))
        for level, value in enumerate(values.tolist())
    ]
    return Host("host", {}, {}, figures)


def table_of(rows: list[Row]) -> str:
    """Return the table of the documentation."""
    titles = ["equal hosts" if ratio == 1.0 else f"{ratio:g} times as slow" for ratio in RATIOS]
    columns = ["deployments differ by", "intervals of", *titles, f"one of {HOSTS} equal hosts"]
    cells = [
        [
            f"{row.deployment:.0%}",
            f"+-{row.width:.0%}",
            *(f"{row.refused[ratio]:.1%}" for ratio in RATIOS),
            f"{row.any_of_hosts:.1%}",
        ]
        for row in rows
    ]
    return markdown(columns, cells)


if __name__ == "__main__":
    sys.exit(main())
