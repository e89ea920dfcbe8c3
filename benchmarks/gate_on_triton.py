"""On a real Triton: how often does a gate fail a model that is the same, and how soon does it find one that is slower?

The digits study, closed loop at saturation, both sides on servers of their own, interleaved. The slower model has 5%
less capacity: in each execution it spins for a share of the cycle, which slower_model.py calibrates by wrk. What --json
holds already counts, and the gates that are missing are made: all of them take hours. `benchmarks/gate_on_triton.json`
holds what was made so far.

    python benchmarks/gate_on_triton.py [--rounds N] [--json PATH] [--docs]
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from statistics import median

import options
from slower_model import SHARE, slow_down
from tables import machine, markdown, write_section

from studies import __file__ as studies_file
from tuner.gate import opening
from tuner.gate.running import Gate
from tuner.study.load import load_study
from tuner.wiring import prepare

SAME, SLOWER = 40, 20
MOST_FAILED, LEAST_FOUND, MOST_S = 1, 18, 120.0
LESS = (-0.065, -0.04)
"""Where the median change of the slower model has to lie: it is built to lose 5%."""
SETTINGS = (
    "space={max_batch_size: 16, precision: int8, concurrency: 16}",
    "slo={error_rate: 50%}",
    "gate={throughput: -2%, time: 120 s}",
)
DIGITS = Path(studies_file).parent / "digits"


@dataclass(frozen=True)
class Found:
    """One gate.

    Attributes:
        share: of the cycle for which the new model spins; 0.0: it is the same.
        state: what the rule said of the throughput.
        gate: what the whole gate said.
        change, low, high: of the throughput, relative, with its interval.
        redeployments: of each side.
        measured_s, wall_s: measuring, and in all.
        day, machine: when and where.
    """

    share: float
    state: str
    gate: str
    change: float
    low: float
    high: float
    redeployments: int
    measured_s: float
    wall_s: float
    day: str
    machine: str


class _Quiet:
    def progress(self, spent_s: float, budget_s: float) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, SAME, "gates of the same model; half as many of the slower one", "docs/gate.md")
    found = kept(given.json)
    for share in missing(found, given.rounds):
        found.append(gate(share))
        print(len(found), found[-1], flush=True)
        if given.json:
            given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    same, slow = ([one for one in found if one.share == share] for share in (0.0, SHARE))
    alarms = sum(one.gate == "fail" for one in same)
    caught = sum(one.state == "fail" and one.measured_s <= MOST_S for one in slow)
    as_built = LESS[0] <= median(one.change for one in slow) <= LESS[1]
    met = as_built and alarms <= MOST_FAILED * len(same) / SAME and caught >= LEAST_FOUND * len(slow) / SLOWER
    table = table_of(same, slow, [one for one in found if one.share not in (0.0, SHARE)])
    print(table)
    if given.docs:
        write_section("gate_on_triton", table, Path(__file__).parent.parent / "docs" / "gate.md")
    print("met" if met else "missed")
    return 0 if met else 1


def kept(path: Path | None) -> list[Found]:
    """Return the gates that a file holds, in the order in which they were made."""
    return [Found(**one) for one in json.loads(path.read_text())] if path and path.exists() else []


def missing(found: Sequence[Found], same: int) -> list[float]:
    """Return the share of each gate to be made: so many of the same model and half as many of the slower, in turn."""
    count = Counter(one.share for one in found)
    left = ((0.0, same - count[0.0]), (SHARE, max(1, same * SLOWER // SAME) - count[SHARE]))
    in_turn = zip_longest(*([share] * number for share, number in left))
    return [share for pair in in_turn for share in pair if share is not None]


def gate(share: float) -> Found:
    """Make a gate, on servers of its own."""
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for name in ("old", "new"):
            place = Path(folder) / name
            shutil.copytree(DIGITS, place / "digits")
            study = Path(shutil.copy(DIGITS.with_suffix(".yaml"), place))
            text = study.read_text()
            study.write_text(text[: text.index("  bursty:")] + text[text.index("space:") :])
            if share and name == "new":
                slow_down(place / "digits" / "models" / "digits" / "1" / "model.py", share)
            sides.append((name, prepare(load_study(study, SETTINGS), Path(folder) / f"{name}.txt")))
        with opening.opened("ab", sides, Path(folder), None, []) as made:
            return _one(made, share)


def _one(made: Gate, share: float) -> Found:
    result = made.run(_Quiet())
    (rule,) = (one for one in result.rules if one.rule == "throughput")
    change, low, high = (float("nan") if one is None else one for one in (rule.change, rule.low, rule.high))
    times = result.redeployments, result.measured_s, result.wall_s
    made_at = datetime.now(UTC).strftime("%Y-%m-%d"), machine()
    return Found(share, rule.state, result.state, change, low, high, *times, *made_at)


def table_of(same: list[Found], slow: list[Found], other: list[Found]) -> str:
    """Return the documentation's table."""
    rows = []
    for name, found, bar in (
        ("the same", same, f"at most {MOST_FAILED} of {SAME} fail"),
        ("5% less capacity", slow, f"at least {LEAST_FOUND} of {SLOWER} fail, each within {MOST_S:.0f} s"),
        ("slower, not calibrated", other, "none"),
    ):
        if not found:
            continue
        states = [one.gate for one in found]
        times, changes = ([getattr(one, name) for one in found] for name in ("measured_s", "change"))
        told = ", ".join(f"{states.count(one)} {one}" for one in sorted(set(states)))
        change = f"{median(changes):+.1%} ({min(changes):+.1%} to {max(changes):+.1%})"
        rows.append([name, len(found), told, change, f"{median(times):.0f} s", f"{max(times):.0f} s", bar])
    columns = ["new model", "gates", "verdicts", "throughput, median (all)", "measured, median", "longest", "bar"]
    where = Counter((one.day, one.machine) for one in (*same, *slow, *other))
    places = [f"{count} on {day} on {host}" for (day, host), count in where.items()]
    return f"Gates: {'; '.join(places)}.\n\n" + markdown(columns, rows)


if __name__ == "__main__":
    sys.exit(main())
