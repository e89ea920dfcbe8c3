"""A study of a language model that streams tokens, from its file to the report."""

import csv
import json
from pathlib import Path

import jsonschema
import pytest

from tests.openai.conftest import token_server
from tests.support.tune import tune
from tuner.results import Result, result_schema

STUDY = """
study: tokens
target: {{kind: openai, url: "{url}", model: clock, usage: continuous}}
workloads:
  people:
    arrival: {{process: poisson, rate: 20/s}}
    requests: {{source: prompts, path: prompts.jsonl}}
    timeout: 10 s
space: {{rate: [10/s, 40/s]}}
slo: {{ttft_p90: 500 ms, tpot_p90: 200 ms, itl_p90: 1 s, error_rate: 5%}}
objectives: [maximize token_throughput, minimize ttft_p90]
search: {{budget: {{trials: 2, time: 2 min}}}}
measure: {{warmup: 0.2 s, max_warmup: 0.3 s, window: 1 s, max_window: 2 s}}
confirm: {{redeployments: 2, max_redeployments: 2, rounds: 2, round: 1 s, candidates: 1}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run."""
    folder = tmp_path_factory.mktemp("tokens")
    prompts = [{"prompt": f"first=20 every=5 count={count}", "output_tokens": 99} for count in (5, 10)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    with token_server() as url:
        (folder / "study.yaml").write_text(STUDY.format(url=url))
        ended = tune("study.yaml", "--quiet", cwd=folder)
    assert ended.returncode in (0, 5), ended.stderr
    assert "people: ttft_p90" in ended.stdout
    assert "The server as it is meets the SLO" in ended.stdout
    assert "export" not in ended.stdout, "there is nothing to export"
    return folder / "runs" / "tokens" / "latest"


def test_tokens_are_measured_and_judged_like_latency(run: Path) -> None:
    document = json.loads((run / "result.json").read_text())
    jsonschema.validate(document, result_schema())
    result = Result.model_validate(document)
    points = [point for trial in result.trials for point in trial.points]
    assert {point.load.level for point in points} == {10.0, 40.0}
    for point in points:
        assert point.metrics["ttft_p50_s"].value >= 0.02
        assert point.metrics["itl_p50_s"].value >= 0.004
        assert point.metrics["output_tokens_mean"].value == pytest.approx(7.5, abs=2.5)
        assert set(point.verdicts) == {"ttft_p90", "tpot_p90", "itl_p90", "error_rate"}
        assert not any("tokens" in one for one in point.validity.warnings)
    assert result.study.slo["ttft_p90"] == 0.5


def test_the_report_and_the_tables_have_them_as_any_other_metric(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "<h2>Token throughput against ttft p90 or tpot p90 or itl p90</h2>" in page
    for name in ("ttft_p90", "tpot_p90", "itl_p90"):
        assert f"<td>{name}</td>" in page
        assert f">{name.replace('_', ' ')}</th>" in page
    rows = list(csv.DictReader((run / "trials.csv").read_text().splitlines()))
    assert all(float(row["ttft_p90_s"]) >= 0.02 and float(row["token_throughput_tps"]) > 0 for row in rows)


def test_bench_shows_the_times_of_tokens(run: Path) -> None:
    folder = run.parents[2]
    with token_server() as url:
        ended = tune(
            "bench", "study.yaml", "--set", f"target.url={url}", "--set", "space.rate=10/s", "--quiet", cwd=folder
        )
    assert ended.returncode in (0, 5), ended.stderr
    for name in ("ttft p50", "tpot mean", "itl p99", "token throughput", "output tokens mean"):
        assert name in ended.stdout
