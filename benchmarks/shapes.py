"""Draw the pictures of docs/workloads.md from the very YAML that stands above each of them.

    python benchmarks/shapes.py [--to DIR]

Needs matplotlib (extra `docs`).
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib import pyplot as plt

from tuner.load.plan import OpenLoop
from tuner.study.load import load_study
from tuner.traffic import make_workloads

DOCS = Path(__file__).parent.parent / "docs"
BLUE = "#0072B2"
LENGTH_S, STEP_S = 10.0, 0.05
SHORT_S, SHORT_STEP_S = 0.5, 0.002
STUDY = {
    "study": "shapes",
    "target": {"kind": "kserve", "url": "http://127.0.0.1:8000", "model": "some"},
    "space": {"rate": ["1/s"]},
    "slo": {"p99": "10 ms"},
    "measure": {"max_window": "1 h"},
}
REQUESTS = {"source": "synthetic", "input_tokens": 1, "output_tokens": 1}


def main() -> None:
    """Draw each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--to", type=Path, default=DOCS / "shapes", metavar="DIR", help="where to (default: docs/shapes)"
    )
    folder = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrival in shapes((DOCS / "workloads.md").read_text()):
        draw(arrival, folder / f"{name}.png", *((SHORT_S, SHORT_STEP_S) if name == "bursty" else (LENGTH_S, STEP_S)))
        sys.stdout.write(f"{folder / name}.png\n")


def shapes(page: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each picture and the arrival process above it."""
    for block, name in re.findall(
        r"```yaml\n# under workloads\.steady\n(arrival:[^`]*)```\n\n!\[(\w+)\]", page, re.DOTALL
    ):
        yield name, yaml.safe_load(block)["arrival"]


def draw(arrival: dict[str, Any], path: Path, length_s: float, step_s: float) -> None:
    """Draw the rate of an arrival process over time."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.yaml"
        workloads = {"shape": {"arrival": arrival, "requests": REQUESTS}}
        study.write_text(yaml.safe_dump({**STUDY, "workloads": workloads}))
        (workload,) = make_workloads(load_study(study))
    loop = workload.loop(workload.at(None), length_s)
    assert isinstance(loop, OpenLoop), "a closed loop has no picture"
    counts, edges = np.histogram(loop.schedule.offsets_ns / 1e9, round(length_s / step_s), (0.0, length_s))
    figure, axes = plt.subplots(figsize=(7, 1.5))
    axes.fill_between(edges[:-1], counts / step_s, step="post", color=BLUE, lw=0)
    axes.set(xlabel="time, s", ylabel="requests/s", xlim=(0, length_s), ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=80, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    main()
