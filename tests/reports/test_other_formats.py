"""A run in the formats of others: Markdown, perf_analyzer's CSV, Parquet."""

import csv
import math
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports import markdown, parquet, perf_analyzer
from reports.tables import trial_rows
from tests.tuner.result_builders import best, estimate, point, result, trial
from tuner import cli
from tuner.results import KnobInfo, Point, Result, RunState, Server, Trial, Validity, to_json

COLUMNS = (
    "Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,Server Compute Infer,"
    "Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency"
)
"""As perf_analyzer 2.60 writes them, after the load level."""


def measured(level: float, mode: str = "closed", p99: float = 0.009) -> Point:
    """Return a point with a mean of 5 ms, of which the server claims 4."""
    one = point(level=level, throughput=1234.5, p99=p99, mode=mode)
    stages = {"queue": 0.001, "compute_input": 0.0005, "compute_infer": 0.002, "compute_output": 0.0005}
    server = Server(window_s=1, requests=1, failures=0, executions=1, mean_s=stages, batch_sizes=[])
    latencies = {f"latency_{name}_s": estimate(0.005) for name in ("mean", "p50", "p90", "p95")}
    return one.model_copy(update={"server": server, "metrics": {**one.metrics, **latencies}})


def rows(found: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(perf_analyzer.csv_of_best(found).splitlines()))


def test_the_csv_has_perf_analyzers_columns_in_microseconds() -> None:
    found = result(trial(0, measured(8), measured(2)))
    assert perf_analyzer.csv_of_best(found).splitlines()[0] == f"Concurrency,{COLUMNS}"
    assert [row["Concurrency"] for row in rows(found)] == ["2", "8"]
    assert list(rows(found)[0].values()) == [
        "2", "1234.5", "0", "1000", "1000", "500", "2000", "500", "0", "5000", "5000", "5000", "9000",
    ]  # fmt: skip


def test_the_csv_of_an_open_loop_begins_with_the_rate_and_leaves_out_what_is_infinite() -> None:
    (row,) = rows(result(trial(0, measured(2_000_000, mode="open", p99=math.inf))))
    assert row["Request Rate"] == "2000000"
    assert row["p99 latency"] == ""


def test_the_csv_has_the_loads_that_were_not_spoiled() -> None:
    late = measured(4).model_copy(update={"validity": Validity(valid=False, reasons=["late"])})
    assert [row["Concurrency"] for row in rows(result(trial(0, measured(2), late, measured(8), state="invalid")))] == [
        "2",
        "8",
    ]


def test_a_summary_in_markdown_has_the_answer_the_change_and_no_broken_table() -> None:
    found = result(trial(0, measured(8)))
    text = markdown.summary(found.model_copy(update={"environment": {"server": "a | b"}}), "+count: 2\n")
    assert text.startswith(f"## {found.study.name}: ")
    assert "```diff\n+count: 2\n```" in text
    assert "0 configurations tried beside yours" in text
    assert "- server: a \\| b" in text


def test_a_summary_in_markdown_is_shown_as_it_is() -> None:
    """A fence in the change ends no fence, and no name is taken for HTML."""
    found = result(trial(0, measured(8)))
    named = found.model_copy(update={"study": found.study.model_copy(update={"name": "<b>digits"})})
    text = markdown.summary(named.model_copy(update={"environment": {"server": "<none>"}}), "+# ```\n")
    assert "````diff\n+# ```\n````\n" in text
    assert text.startswith("## &lt;b>digits: the search for the fastest configuration within the SLO")
    assert "- server: &lt;none>" in text
    assert "## digits: the fastest configuration within" in markdown.summary(found.model_copy(update={"best": best(0)}))


REFUSED = trial(0, state="refused")
MEASURED = trial(0, measured(8))


@pytest.mark.parametrize(
    ("state", "trials", "said"),
    [
        ("interrupted", [], "Nothing was measured yet"),
        ("failed", [REFUSED], "Nothing was measured yet"),
        ("running", [MEASURED], "Nothing is recommended yet: the run is under way"),
        ("interrupted", [MEASURED], "Nothing that was measured meets the SLO"),
    ],
)
def test_a_run_without_an_answer_says_how_far_it_came(state: RunState, trials: list[Trial], said: str) -> None:
    text = markdown.summary(result(*trials).model_copy(update={"state": state}))
    assert text.split("\n\n")[1] == said
    assert "\n0 configurations tried beside yours" in text
    assert "None" not in text


def test_your_own_configuration_is_kept_for_a_reason_where_a_run_was_interrupted() -> None:
    knob = KnobInfo(name="instances", unit="", applied="reload", doc="", values=[1, 2])
    found = result(MEASURED).model_copy(update={"best": best(0, confirmed=False), "knobs": [knob]})
    text = markdown.summary(found)
    assert "Keep your configuration: nothing better was found until the run ended (SLO: p99 <= 10.00 ms)" in text


@pytest.mark.parametrize("trials", [[], [REFUSED]])
def test_the_csv_of_a_run_without_a_measurement_has_the_heading_alone(trials: list[Trial]) -> None:
    assert perf_analyzer.csv_of_best(result(*trials)) == f"Concurrency,{COLUMNS}\n"


def test_every_report_of_a_run_without_a_trial_is_written(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(to_json(result()))
    asked = ["report", str(tmp_path), "--markdown", str(tmp_path / "s.md"), "--perf-analyzer", str(tmp_path / "pa.csv")]
    ended = CliRunner().invoke(cli.app, asked)
    assert ended.exit_code == 0, ended.stderr
    assert all((tmp_path / name).stat().st_size for name in ("report.html", "s.md", "pa.csv"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, None], [1, 2, None]),
        ([1, 2.5], [1.0, 2.5]),
        ([1, "auto"], ["1", "auto"]),
        ([True, 2], ["True", "2"]),
        ([True, None], [True, None]),
    ],
)
def test_a_column_of_parquet_has_one_type(values: list[object], expected: list[object]) -> None:
    made = parquet._of_one_type(values)
    assert made == expected
    assert [type(one) for one in made] == [type(one) for one in expected]


def test_a_parquet_file_has_the_rows_of_the_table_with_their_types(tmp_path: Path) -> None:
    made = result(trial(0, point()), trial(1, point()))
    parquet.write_trials(made, tmp_path / "trials.parquet")
    table = import_module("pyarrow.parquet").read_table(tmp_path / "trials.parquet").to_pydict()
    rows = trial_rows(made)
    assert len(rows) > 1
    for name in dict.fromkeys(name for row in rows for name in row):
        assert table[name] == parquet._of_one_type([row.get(name) for row in rows]), name


def test_a_run_without_a_trial_is_a_parquet_file_without_rows(tmp_path: Path) -> None:
    parquet.write_trials(result().model_copy(update={"trials": []}), tmp_path / "trials.parquet")
    assert import_module("pyarrow.parquet").read_table(tmp_path / "trials.parquet").num_rows == 0
