"""On a real Triton: how often does a gate fail a model that is the same, and how soon does it find one that is slower?

The digits study, closed loop at saturation, both sides on servers of their own, interleaved. The slower model has 5%
less capacity: slower_model.py shows it by wrk. Of three gates two are of the same model. What --json holds already
counts, and the gates go on from there: all of them take hours. `benchmarks/gate_on_triton.json` holds what was made so
far.

    python benchmarks/gate_on_triton.py [--rounds N] [--json PATH] [--docs]
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
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
SETTINGS = (
    "space={max_batch_size: 16, precision: int8, concurrency: 16}",
    "slo={error_rate: 50%}",
    "gate={throughput: -2%, time: 120 s, round: 50 ms, rounds: 40}",
)
DIGITS = Path(studies_file).parent / "digits"


@dataclass(frozen=True)
class Found:
    """One gate: of the slower model or not, what the rule said of the throughput, the whole gate, when and where."""

    slower: bool
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
    for slower in order(given.rounds)[len(found) :]:
        found.append(gate(slower=slower))
        print(len(found), found[-1], flush=True)
        if given.json:
            given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    same, slow = ([one for one in found if one.slower is slower] for slower in (False, True))
    alarms = sum(one.gate == "fail" for one in same)
    caught = sum(one.state == "fail" and one.measured_s <= MOST_S for one in slow)
    met = alarms <= MOST_FAILED * len(same) / SAME and caught >= LEAST_FOUND * len(slow) / SLOWER
    table = table_of(same, slow)
    print(table)
    if given.docs:
        write_section("gate_on_triton", table, Path(__file__).parent.parent / "docs" / "gate.md")
    print("met" if met else "missed")
    return 0 if met else 1


def kept(path: Path | None) -> list[Found]:
    """Return the gates that a file holds, in the order in which they were made."""
    return [Found(**one) for one in json.loads(path.read_text())] if path and path.exists() else []


def order(same: int) -> list[bool]:
    """Return whether the model is the slower one, for each gate: so many of the same model, half as many of it."""
    slower = max(1, same * SLOWER // SAME)
    return [number % 3 == 2 for number in range(same + slower)]


def gate(*, slower: bool) -> Found:
    """Make a gate, on servers of its own."""
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for name in ("old", "new"):
            place = Path(folder) / name
            shutil.copytree(DIGITS, place / "digits")
            study = Path(shutil.copy(DIGITS.with_suffix(".yaml"), place))
            text = study.read_text()
            study.write_text(text[: text.index("  bursty:")] + text[text.index("space:") :])
            if slower and name == "new":
                slow_down(place / "digits" / "models" / "digits" / "1" / "model.py", SHARE)
            sides.append((name, prepare(load_study(study, SETTINGS), Path(folder) / f"{name}.txt")))
        with opening.opened("ab", sides, Path(folder), None, []) as made:
            return _one(made, slower)


def _one(made: Gate, slower: bool) -> Found:
    result = made.run(_Quiet())
    (rule,) = (one for one in result.rules if one.rule == "throughput")
    change, low, high = (float("nan") if one is None else one for one in (rule.change, rule.low, rule.high))
    times = result.redeployments, result.measured_s, result.wall_s
    made_at = datetime.now(UTC).strftime("%Y-%m-%d"), machine()
    return Found(slower, rule.state, result.state, change, low, high, *times, *made_at)


def table_of(same: list[Found], slow: list[Found]) -> str:
    """Return the documentation's table."""
    rows = []
    for name, found, bar in (
        ("the same", same, f"at most {MOST_FAILED} of {SAME} fail"),
        ("5% less capacity", slow, f"at least {LEAST_FOUND} of {SLOWER} fail, each within {MOST_S:.0f} s"),
    ):
        states = [one.gate for one in found]
        times, changes = ([getattr(one, name) for one in found] for name in ("measured_s", "change"))
        told = ", ".join(f"{states.count(one)} {one}" for one in sorted(set(states)))
        change = f"{median(changes):+.1%} ({min(changes):+.1%} to {max(changes):+.1%})"
        rows.append([name, len(found), told, change, f"{median(times):.0f} s", f"{max(times):.0f} s", bar])
    columns = ["new model", "gates", "verdicts", "throughput, median (all)", "measured, median", "longest", "bar"]
    where = Counter((one.day, one.machine) for one in (*same, *slow))
    places = [f"{count} on {day} on {host}" for (day, host), count in where.items()]
    return f"Gates: {'; '.join(places)}.\n\n" + markdown(columns, rows)


if __name__ == "__main__":
    sys.exit(main())
