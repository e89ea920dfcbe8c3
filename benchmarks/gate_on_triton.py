"""On a real Triton: how often does a gate fail a model that is the same, and how soon does it find one that is slower?

The digits study, closed loop at saturation, both sides on servers of their own, interleaved. The slower model has 5%
less capacity by construction: in each execution it works for 5/95 of the time that the cycle before took without that.

    python benchmarks/gate_on_triton.py [--rounds N] [--json PATH] [--docs]
"""

import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import options
from tables import markdown, write_section

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
    "gate={throughput: -2%, time: 120 s}",
)
DIGITS = Path(studies_file).parent / "digits"
SLOWED = """
        now = time.perf_counter_ns()
        cycle = min(now - getattr(self, "began", now) - getattr(self, "spun", 0), 20_000_000)
        self.began, self.spun = now, round(max(0, cycle) * 5 / 95)
        while time.perf_counter_ns() - now < self.spun:
            pass
"""
HEAD = "        images = ["


@dataclass(frozen=True)
class Found:
    """One gate."""

    slower: bool
    state: str
    change: float
    low: float
    high: float
    redeployments: int
    measured_s: float
    wall_s: float


class _Quiet:
    def progress(self, spent_s: float, budget_s: float) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, SAME, "gates of the same model; half as many of the slower one", "docs/gate.md")
    found = gates(given.rounds, slower=False) + gates(max(1, given.rounds * SLOWER // SAME), slower=True)
    same, slow = ([one for one in found if one.slower is slower] for slower in (False, True))
    alarms = sum(one.state == "fail" for one in same)
    caught = sum(one.state == "fail" and one.measured_s <= MOST_S for one in slow)
    met = alarms <= MOST_FAILED and caught >= LEAST_FOUND * len(slow) / SLOWER
    if given.json:
        given.json.write_text(json.dumps({"found": [asdict(one) for one in found], "met": met}, indent=1) + "\n")
    table = table_of(same, slow)
    print(table)
    if given.docs:
        write_section("gate_on_triton", table, Path(__file__).parent.parent / "docs" / "gate.md")
    print("met" if met else "missed")
    return 0 if met else 1


def gates(count: int, *, slower: bool) -> list[Found]:
    """Make so many gates, each on servers of its own."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        studies = []
        for name in ("old", "new"):
            place = Path(folder) / name
            shutil.copytree(DIGITS, place / "digits")
            study = Path(shutil.copy(DIGITS.with_suffix(".yaml"), place))
            text = study.read_text()
            study.write_text(text[: text.index("  bursty:")] + text[text.index("space:") :])
            if slower and name == "new":
                _slow_down(place / "digits" / "models" / "digits" / "1" / "model.py")
            studies.append((name, load_study(study, SETTINGS)))
        for number in range(count):
            sides = [(name, prepare(study, Path(folder) / f"{name}.txt")) for name, study in studies]
            with opening.opened("ab", sides, Path(folder), None, []) as made:
                found.append(_one(made, slower))
            print(number, found[-1], flush=True)
    return found


def _slow_down(model: Path) -> None:
    text = model.read_text()
    assert HEAD in text
    model.write_text("import time\n" + text.replace(HEAD, SLOWED.lstrip("\n") + HEAD))


def _one(gate: Gate, slower: bool) -> Found:
    result = gate.run(_Quiet())
    (rule,) = (one for one in result.rules if one.rule == "throughput")
    change, low, high = (float("nan") if one is None else one for one in (rule.change, rule.low, rule.high))
    return Found(
        slower, result.state, change, low, high, result.redeployments, result.measured_s, result.wall_s
    )  # fmt: skip


def table_of(same: list[Found], slow: list[Found]) -> str:
    """Return the documentation's table."""
    rows = []
    for name, found, bar in (
        ("the same", same, f"at most {MOST_FAILED} of {SAME} fail"),
        ("5% less capacity", slow, f"at least {LEAST_FOUND} of {SLOWER} fail, each within {MOST_S:.0f} s"),
    ):
        states = [one.state for one in found]
        times = sorted(one.measured_s for one in found)
        told = ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))
        rows.append([name, len(found), told, f"{times[len(times) // 2]:.0f} s", f"{times[-1]:.0f} s", bar])
    return markdown(["new model", "gates", "verdicts", "measured, median", "longest", "bar"], rows)


if __name__ == "__main__":
    sys.exit(main())
