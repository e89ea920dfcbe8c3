"""Reports of 0 to 5,000 trials: how long they take to build, how large they are, how long they take to open.

    python benchmarks/reports.py [--run DIR] [--rounds N] [--json PATH] [--write]

A run is read (--run, or a short one of the simulated server that is made first). Its trials, repeated with other
configurations and numbers, make the longer runs. Each report is built by `tune report` from what is stored, and opened
in Chromium: it is open when every chart is drawn and the table answers. --write puts the table into docs/report.md.
Needs chromium and the extra `dev`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from tables import markdown, write_section

from tuner.results import Estimate, Point, Result, Trial, read_result, to_json

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RUNS = ((0, 0), (1, 0), (500, 0), (500, 8), (5000, 0))
"""Trials, and points of each; 0: as many as in the run that is repeated. 8 are a climb."""
MOST_BYTES, MOST_BUILD_S = 6_000_000, 5.0
"""Bars of a report of BARRED trials."""
BARRED = 500
SPREAD = 0.2
"""Standard deviation of the logarithm of the numbers that are made up."""
PAGE_TIMEOUT_MS = 300_000
WIDTH, HEIGHT = 1000, 1500


@dataclass(frozen=True)
class Row:
    """What one report took.

    Attributes:
        trials: of the run.
        points: of all its trials.
        build_s: `tune report` from its start to its end, median over the rounds.
        build_cpu_s: CPU time of that, median.
        size_bytes: of report.html.
        open_s: from asking for the page until every chart is drawn, median.
        sort_s: from a click on a heading of the table until it is in that order, median.
    """

    trials: int
    points: int
    build_s: float
    build_cpu_s: float
    size_bytes: int
    open_s: float
    sort_s: float

    @property
    def met(self) -> bool:
        """Whether the bars hold."""
        return self.trials != BARRED or (self.size_bytes <= MOST_BYTES and self.build_s <= MOST_BUILD_S)


def main() -> int:
    """Print the table; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, metavar="DIR", help="directory of a finished run")
    parser.add_argument("--rounds", type=int, default=3, help="times that each report is built and opened")
    parser.add_argument("--json", type=Path, metavar="PATH", help="the numbers as JSON")
    parser.add_argument("--write", action="store_true", help="put the table into docs/report.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        run = asked.run or simulated(Path(folder))
        stored = read_result(run)
        runs = [repeated(stored, trials, points) for trials, points in RUNS]
        rows = [measured(browser, run, Path(folder), asked.rounds) for run in runs]
    body = table(rows)
    print(body)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if asked.write:
        write_section("reports", body, DOCS / "report.md")
    return 0 if all(row.met for row in rows) else 1


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium; root needs --no-sandbox."""
    executable = shutil.which("chromium")
    if executable is None:
        sys.exit("Chromium is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def simulated(folder: Path) -> Path:
    """Make a short run of the simulated server; return its directory."""
    (folder / "models" / "queue").mkdir(parents=True)
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 4.0, "each_ms": 0.5}
    (folder / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
    np.savez(folder / "requests.npz", INPUT=np.zeros((100, 16)), labels=np.arange(100) % 10)
    study = (ROOT / "docs" / "simulated.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    (folder / "study.yaml").write_text(study)
    tune("study.yaml", "--trials", 6, "--out", folder / "run", "--quiet", cwd=folder)
    return folder / "run"


def tune(*arguments: object, cwd: Path) -> None:
    """Run the command; a report is also written where nothing met the SLO.

    Modules are compiled once, as where they are installed, whatever this Python is told to do with what it compiles.
    """
    command = [sys.executable, "-m", "tuner", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cwd / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode not in (0, 4, 5):
        sys.exit(ended.stderr)


def repeated(result: Result, count: int, points: int = 0) -> Result:
    """Return a run of so many trials: those of a real one, again and again, with other configurations and numbers.

    Args:
        result: the real one.
        count: trials.
        points: of each trial, made of its own likewise; 0: its own.
    """
    random = np.random.default_rng(count)
    trials = [
        varied(result, result.trials[number % len(result.trials)], number, random)
        if number >= len(result.trials)
        else result.trials[number]
        for number in range(count)
    ]
    if points:
        trials = [trial.model_copy(update={"points": filled(trial.points, points, random)}) for trial in trials]
    kept = {trial.number for trial in trials}
    return result.model_copy(
        update={
            "trials": trials,
            "front": [one for one in result.front if one.trial in kept],
            "baseline": result.baseline if count else None,
            "best": result.best if result.best and result.best.trial in kept else None,
            "confirmation": result.confirmation if count > 1 else None,
            "shortlist": result.shortlist if count > 1 else [],
            "state": "done" if count > 1 else "interrupted",
        }
    )


def varied(result: Result, trial: Trial, number: int, random: np.random.Generator) -> Trial:
    """Return a trial with a configuration of the space and with each number of its points multiplied by chance."""
    drawn = {knob.name: knob.values[int(random.integers(len(knob.values)))] for knob in result.knobs}
    config = {name: drawn.get(name, value) for name, value in trial.config.items()}
    points = [different(point, random) for point in trial.points]
    return trial.model_copy(update={"number": number, "config": config, "points": points})


def filled(points: Sequence[Point], count: int, random: np.random.Generator) -> list[Point]:
    """Return so many points: those there are, then more with other numbers, under twice the load, and so on."""
    found = list(points)
    while found and len(found) < count:
        one = different(found[len(found) - len(points)], random)
        load = one.load.model_copy(update={"level": one.load.level * 2})
        found.append(one.model_copy(update={"load": load}))
    return found[:count]


def different(point: Point, random: np.random.Generator) -> Point:
    """Return a point whose metrics are multiplied by chance."""

    def changed(one: Estimate) -> Estimate:
        factor = float(np.exp(random.normal(0, SPREAD)))
        return one.model_copy(update={"value": one.value * factor, "low": one.low * factor, "high": one.high * factor})

    metrics = {name: changed(one) if name.endswith(("_s", "_rps")) else one for name, one in point.metrics.items()}
    return point.model_copy(update={"metrics": metrics})


def measured(browser: Browser, result: Result, folder: Path, rounds: int) -> Row:
    """Build and open a report so many times."""
    points = sum(len(trial.points) for trial in result.trials)
    run = folder / f"of-{len(result.trials)}-{points}"
    run.mkdir()
    (run / "result.json").write_text(to_json(result))
    built, used, opened, sorted_in = [], [], [], []
    for _ in range(rounds):
        start, cpu = time.perf_counter(), os.times()
        tune("report", run, cwd=folder)
        built.append(time.perf_counter() - start)
        used.append(sum(os.times()[2:4]) - sum(cpu[2:4]))  # of children that have ended
        with page_of(browser, run / "report.html") as (page, took_s):
            opened.append(took_s)
            sorted_in.append(sorting_s(page))
    return Row(
        len(result.trials),
        points,
        median(built),
        median(used),
        (run / "report.html").stat().st_size,
        median(opened),
        median(sorted_in),
    )


@contextmanager
def page_of(browser: Browser, path: Path, **context: object) -> Iterator[tuple[Page, float]]:
    """Open a report; yield the page with all charts drawn, and the seconds that it took."""
    made = browser.new_context(**{"viewport": {"width": WIDTH, "height": HEIGHT}, **context})
    page = made.new_page()
    start = time.perf_counter()
    page.goto(path.resolve().as_uri(), timeout=PAGE_TIMEOUT_MS)
    page.wait_for_function("document.documentElement.dataset.charts === 'drawn'", timeout=PAGE_TIMEOUT_MS)
    yield page, time.perf_counter() - start
    made.close()


def sorting_s(page: Page) -> float:
    """Return what a click on the heading `throughput` takes, in seconds."""
    taken: float = page.evaluate(
        """() => {
          const heads = [...document.querySelectorAll("#trials th")];
          const head = heads.find((one) => one.innerText.startsWith("throughput"));
          const start = performance.now();
          head.querySelector("button").click();
          document.querySelector("#trials").getBoundingClientRect();
          return (performance.now() - start) / 1000;
        }"""
    )
    return taken


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    columns = ["trials", "points", "built in", "CPU time", "size", "opened in", "sorted in", "bar", "met"]
    bar = f"{MOST_BUILD_S:g} s, {MOST_BYTES / 1e6:g} MB"
    return markdown(
        columns,
        [
            (
                f"{row.trials:,}",
                f"{row.points:,}",
                f"{row.build_s:.1f} s",
                f"{row.build_cpu_s:.1f} s",
                f"{row.size_bytes / 1e6:.2f} MB",
                f"{row.open_s:.1f} s",
                f"{row.sort_s * 1e3:.0f} ms",
                bar if row.trials == BARRED else "",
                ("yes" if row.met else "**no**") if row.trials == BARRED else "",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
