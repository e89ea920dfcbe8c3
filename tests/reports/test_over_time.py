"""Latency, CPU and GPUs of the best point over its window, drawn from the files beside the result."""

from pathlib import Path

import numpy as np
import pytest

from reports import html, overtime
from reports.charts import figures
from reports.charts.over_time import over_time_chart
from tests.tuner import result_builders as builders
from tuner import records
from tuner.results import Best, Load, Result
from tuner.telemetry.nvml import Device
from tuner.telemetry.series import Metrics, Series, save_series
from tuner.usage import Gpu, ServerReading, Telemetry

MS = 1_000_000
RECORDS, SAMPLES = "records/trial0001-steady-4.npz", "records/trial0001-steady-4.telemetry.npz"


def found(*, best: bool = True) -> Result:
    telemetry = Telemetry(gpu=[Gpu(index=0, name="stub", samples=3)], series=SAMPLES)
    point = builders.point(level=4)
    point = point.model_copy(update={"records": RECORDS, "telemetry": telemetry})
    made = builders.result(builders.trial(1, point))
    if not best:
        return made
    chosen = Best(
        trial=1,
        point=0,
        config={},
        load=Load(mode="closed", level=4),
        confirmed=False,
        metrics={},
        verdicts={},
        objective="throughput_rps",
        gain_vs_baseline=None,
    )
    return made.model_copy(update={"best": chosen})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A window of 400 ms from 1 s on: a request every 10 ms of 5 ms, the last quarter 20 ms, and one that failed."""
    columns = {name: np.zeros(41, kind) for name, kind, _ in records.FIELDS}
    done = 1000 * MS + np.arange(41) * 10 * MS
    columns["done_ns"][:] = done
    columns["intended_ns"][:] = done - np.where(np.arange(41) < 30, 5, 20) * MS
    columns["outcome"][3] = 1
    columns["intended_ns"][3] -= 900 * MS
    (tmp_path / "records").mkdir()
    records.save_records(records.Records(columns, [(1000 * MS, 1400 * MS)]), tmp_path / RECORDS)
    time_ns = np.array([1000, 1200, 1400, 1401], np.int64) * MS
    utilization = np.array([0.2, np.nan, 0.8, 0.8])
    series = Series(
        time_ns,
        {"server_cpu_s": np.array([5.0, 5.1, 5.4, 5.41])},
        [(Device(0, None, "stub", None, None, None), {"utilization": utilization})],
    )
    save_series(series, tmp_path / SAMPLES)
    return tmp_path


def test_latency_cpu_and_gpus_have_a_panel_each_on_one_time(run: Path) -> None:
    latency, cpu, gpus = overtime.panels(found(), run)
    assert (latency.title, cpu.title, gpus.title) == ("latency, ms", "CPU, cores", "GPU utilisation, %")
    at_s, median = latency.lines["median"]
    assert median[at_s < 0.3].tolist() == [5.0] * len(median[at_s < 0.3])
    assert median[at_s > 0.3].tolist() == [20.0] * len(median[at_s > 0.3])
    assert latency.lines["largest"][1].max() == 20.0, "a request that failed has no latency to draw"
    at_s, cores = cpu.lines["server's processes"]
    assert at_s == pytest.approx([0.1, 0.3])
    assert cores == pytest.approx([0.5, 1.5])
    at_s, share = gpus.lines["GPU 0"]
    assert at_s == pytest.approx([0.0, 0.4, 0.401])
    assert share == pytest.approx([20, 80, 80])


def test_the_report_draws_them_and_leaves_them_out_where_there_are_none(run: Path) -> None:
    panels = overtime.panels(found(), run)
    chart = over_time_chart(panels)
    assert chart is not None
    names = [trace["name"] for trace in chart.first.traces]
    assert names == ["median", "largest", "server's processes", "GPU 0"]
    figure = figures.figure(chart)
    assert [figure.layout[axis].title.text for axis in ("yaxis", "yaxis2", "yaxis3")] == [
        "latency, ms",
        "CPU, cores",
        "GPU utilisation, %",
    ]
    assert "latency from 5 to 20 ms" in chart.first.finding
    assert "utilisation from 20 to 80%" in chart.first.finding
    hovers = [str(trace["hovertemplate"]).partition("<")[0] for trace in chart.first.traces]
    value = "%{fullData.name}: %{y:,.2f}"
    assert hovers == [f"{value} ms", f"{value} ms", f"{value} cores", f"{value}%"]
    assert over_time_chart([]) is None


def test_long_latencies_have_all_their_digits() -> None:
    line = (np.array([0.0, 1.0]), np.array([12_345.0, 21_000.0]))
    chart = over_time_chart([overtime.Panel("latency", "ms", {"median": line})])
    assert chart is not None
    assert chart.first.finding == "The best trial over its window: median latency from 12,345 to 21,000 ms."


def test_gauges_of_the_servers_own_that_moved_have_a_panel_each(run: Path) -> None:
    waiting, still, gone = 'waiting{model="digits",version="1"}', "pool", "gone"
    values = {waiting: np.array([0.0, np.nan, 6.0]), still: np.full(3, 5.0), "done": np.arange(3.0)}
    times_ns = np.array([1000, 1200, 1400], np.int64) * MS
    save_series(Series(times_ns, {}, metrics=Metrics(times_ns, values, frozenset({"done"}))), run / SAMPLES)
    told = [
        ServerReading(name=waiting, mean=3.0, max=6.0),
        ServerReading(name=still, mean=5.0, max=5.0),
        ServerReading(name="done", per_s=5.0),
        ServerReading(name=gone, mean=1.0, max=2.0),
    ]
    result = found()
    (point,) = result.trials[0].points
    point = point.model_copy(update={"telemetry": Telemetry(server_metrics=told, series=SAMPLES)})
    trial = result.trials[0].model_copy(update={"points": [point]})
    _, own = overtime.panels(result.model_copy(update={"trials": [trial]}), run)
    assert (own.title, list(own.lines)) == ("value", [waiting])
    at_s, counts = own.lines[waiting]
    assert at_s == pytest.approx([0.0, 0.4])
    assert counts.tolist() == [0.0, 6.0]


@pytest.mark.parametrize("missing", [RECORDS, SAMPLES])
def test_files_that_are_gone_or_broken_are_no_error(run: Path, missing: str) -> None:
    (run / missing).write_bytes(b"PK no archive")
    assert overtime.panels(found(), run) == []
    (run / missing).unlink()
    assert overtime.panels(found(), run) == []


def test_without_a_best_there_is_nothing_to_draw(run: Path) -> None:
    assert overtime.panels(found(best=False), run) == []
    assert 'id="over-time"' not in html.render(builders.result())
