"""Head to head: what is compared when two stored runs are."""

from pathlib import Path

import pytest
from result_builders import point, result, trial
from typer.testing import CliRunner

from tuner import cli
from tuner.cli.frame import NOT_VALID
from tuner.head_to_head import of_stored, reasons_of_stored, stored_metrics
from tuner.results import Best, Load, ResultError, Trial, Validity


def bench(folder: Path, measured: Trial) -> Path:
    folder.mkdir()
    (folder / "bench.json").write_text(measured.model_dump_json())
    return folder


def run(folder: Path, throughput: float) -> Path:
    folder.mkdir()
    measured = point(throughput=throughput, throughputs=(throughput * 0.99, throughput * 1.01))
    best = Best(
        trial=1,
        point=0,
        config={},
        load=Load(mode="closed", level=1),
        confirmed=True,
        metrics={"steady": measured.metrics},
        verdicts={},
        objective="throughput_rps",
        gain_vs_baseline=None,
    )
    found = result(trial(1, measured)).model_copy(update={"best": best})
    (folder / "result.json").write_text(found.model_dump_json(by_alias=True))
    return folder


def test_the_best_of_a_run_is_compared_with_the_best_of_another(tmp_path: Path) -> None:
    ratio = of_stored(run(tmp_path / "new", 130.0), run(tmp_path / "old", 100.0))["steady"]["throughput_rps"]
    assert ratio.value == pytest.approx(1.3)
    assert ratio.low == pytest.approx(1.3 * (1 - 0.0141), rel=1e-3)
    assert ratio.verdict == "better"


def test_a_run_may_be_compared_with_what_bench_measured(tmp_path: Path) -> None:
    other = bench(tmp_path / "bench", trial(0, point(throughput=100.0), point("bursty", throughput=5.0)))
    found = of_stored(run(tmp_path / "run", 50.0), other)
    assert set(found) == {"steady"}
    assert found["steady"]["throughput_rps"].verdict == "worse"


def test_a_bench_of_several_levels_is_ambiguous(tmp_path: Path) -> None:
    folder = bench(tmp_path / "bench", trial(0, point(level=1), point(level=2)))
    with pytest.raises(ResultError, match=r"bench\.json: steady was measured at several load levels"):
        stored_metrics(folder)


def test_a_bench_that_measured_nothing_says_why(tmp_path: Path) -> None:
    crashed = trial(0, state="crashed").model_copy(update={"reason": "exit code -9"})
    with pytest.raises(ResultError, match=r"nothing was measured \(crashed\): exit code -9"):
        stored_metrics(bench(tmp_path / "bench", crashed))


def test_a_bench_whose_server_crashed_between_two_workloads_is_refused(tmp_path: Path) -> None:
    crashed = trial(0, point(), state="crashed").model_copy(update={"reason": "exit code -9"})
    with pytest.raises(ResultError, match=r"not measured to its end \(crashed\): exit code -9; measure it again"):
        of_stored(run(tmp_path / "run", 50.0), bench(tmp_path / "bench", crashed))


def rejected() -> Trial:
    """Return what `tune bench` wrote of a measurement that the load generator spoiled."""
    spoiled = point().model_copy(update={"validity": Validity(valid=False, reasons=["sent late"])})
    return trial(0, spoiled, state="invalid").model_copy(update={"reason": "steady: sent late"})


def test_the_reasons_of_a_rejected_bench_are_told_and_a_valid_one_has_none(tmp_path: Path) -> None:
    assert reasons_of_stored(bench(tmp_path / "bad", rejected())) == [f"{tmp_path}/bad/bench.json: steady: sent late"]
    lost = trial(0, point(), state="invalid").model_copy(update={"reason": "the agents are lost"})
    assert reasons_of_stored(bench(tmp_path / "lost", lost)) == [f"{tmp_path}/lost/bench.json: the agents are lost"]
    assert reasons_of_stored(bench(tmp_path / "good", trial(0, point()))) == []
    assert reasons_of_stored(run(tmp_path / "run", 50.0)) == []


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_comparison_with_a_rejected_bench_is_shown_and_ends_as_not_valid(form: list[str], tmp_path: Path) -> None:
    good, bad = bench(tmp_path / "good", trial(0, point())), bench(tmp_path / "bad", rejected())
    for sides in ([good, bad], [bad, good]):
        ended = CliRunner().invoke(cli.app, ["compare", *map(str, sides), *form])
        assert ended.exit_code == NOT_VALID
        assert "throughput" in ended.stdout
        assert "bench.json: steady: sent late" in ended.stderr.replace("\n", "")
    assert CliRunner().invoke(cli.app, ["compare", str(good), str(good), *form]).exit_code == 0


def test_a_run_that_found_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(result(trial(1, point())).model_dump_json(by_alias=True))
    with pytest.raises(ResultError, match="found no configuration to compare"):
        stored_metrics(tmp_path)


def test_runs_of_other_workloads_share_nothing(tmp_path: Path) -> None:
    other = bench(tmp_path / "bench", trial(0, point("web")))
    with pytest.raises(ResultError, match=r"run \(steady\) and .*bench \(web\) share no workload"):
        of_stored(run(tmp_path / "run", 50.0), other)


def test_something_else_is_no_bench(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text("[]")
    with pytest.raises(ResultError, match=r"bench\.json: not a measurement of `tune bench`"):
        stored_metrics(tmp_path)
