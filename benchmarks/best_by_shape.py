"""Does the best configuration depend on the shape of the traffic? Studies of one model at one mean rate.

    python benchmarks/best_by_shape.py [--docs] [SHAPE ...]

Each study of `studies/shapes` is a whole run of `tune` on a real Triton: your configuration, the search, the
confirmation. The configurations are compared by what a shape's confirmation found.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tables import markdown, write_section

from reports import words
from studies import __file__ as studies_file
from tuner.results import Result, read_result

SHAPES = ("constant", "bursty")
FOLDER = Path(studies_file).parent / "shapes"


@dataclass(frozen=True)
class Row:
    """What a study ended with."""

    shape: str
    answer: str
    yours: str
    best: str
    ratio: str


def main() -> int:
    """Run the studies and print a row of each; return 1 when all shapes have the same best configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="SHAPE", help="of studies/shapes")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/benchmarks.md")
    asked = parser.parse_args()
    results = [run(shape) for shape in asked.shapes]
    rows = [row(shape, result) for shape, result in zip(asked.shapes, results, strict=True)]
    columns = ("shape", "best configuration", "p99 of yours", "p99 of the best", "best / yours")
    table = markdown(columns, [(one.shape, one.answer, one.yours, one.best, one.ratio) for one in rows])
    print(table)
    if asked.docs:
        write_section("best by shape", table)
    return 0 if len({one.answer for one in rows}) > 1 else 1


def run(shape: str) -> Result:
    """Run a study of a shape from the start."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tuner", str(FOLDER / f"{shape}.yaml"), "--quiet"]
        subprocess.run(command, cwd=folder, stdout=sys.stderr, check=False)
        return read_result(Path(folder) / "runs" / f"digits-{shape}" / "latest")


def row(shape: str, result: Result) -> Row:
    """Return what a result says."""
    made, best = result.confirmation, result.best
    answer = result.message or ""
    if best is not None:
        answer = "yours" if best.trial == 0 else words.config(best.config, result.knobs)
        answer += "" if best.confirmed or best.trial == 0 else " (not confirmed)"
    if made is None:
        return Row(shape, answer, "", "", "")
    yours, theirs = (
        words.metric_value("p99", side.metrics[shape]["latency_p99_s"].value)
        for side in (made.baseline, made.candidate)
    )
    return Row(shape, answer, yours, theirs, words.gain(made.gains["latency_p99_s"]))


if __name__ == "__main__":
    sys.exit(main())
