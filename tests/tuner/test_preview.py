"""The numbers of a preview against schedules whose numbers are known, and the preview of a study."""

import math
from pathlib import Path

import numpy as np
import pytest

from reports import preview as report
from tuner.preview import Preview
from tuner.previewing import previews
from tuner.study.load import Study, load_study
from tuner.traffic import make_workloads

STUDY = """
study: traffic
target: {kind: kserve, url: "http://127.0.0.1:8000", model: some}
workloads:
  web:
    arrival: ARRIVAL
    requests: REQUESTS
space: {concurrency: [1]}
slo: {p99: 10 ms}
measure: {max_window: 60 s}
"""
SYNTHETIC = "{source: synthetic, input_tokens: {distribution: uniform, low: 5, high: 50}, output_tokens: 8}"


def of(offsets_s: list[float], duration_s: float, requests: list[int] | None = None) -> Preview:
    sent = np.array(requests if requests is not None else range(len(offsets_s)))
    return Preview("web", "as given", duration_s, np.array(offsets_s), sent)


def studied(folder: Path, arrival: str, requests: str) -> Study:
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("ARRIVAL", arrival).replace("REQUESTS", requests))
    return load_study(path)


def previewed(folder: Path, arrival: str, requests: str, duration_s: float | None = None) -> Preview:
    study = studied(folder, arrival, requests)
    (one,) = previews(make_workloads(study)[0], study, duration_s)
    return one


def test_even_arrivals_have_no_variation() -> None:
    even = of((np.arange(1000) / 100).tolist(), 10.0)
    assert even.mean_rate_rps == 100
    assert even.cv == pytest.approx(0, abs=1e-6)
    assert even.dispersion(1.0) == pytest.approx(0, abs=1e-6)
    assert [even.dispersion(window_s) for window_s in (0.01, 0.1)] == [0, 0], "edges are exact"
    assert even.peak_rate_rps(1.0) == 100
    assert even.peak_rate_rps(0.1) == 100


def test_a_high_rate_has_all_its_digits() -> None:
    shown = dict(report.figures(of((np.arange(123_450) / 12_345).tolist(), 10.0)))
    assert shown["mean rate"] == "12,345/s"
    assert shown["peak rate in 1 s"] == "12,345/s"


def test_poisson_arrivals_have_variation_and_dispersion_of_one() -> None:
    times = np.cumsum(np.random.default_rng(0).exponential(0.001, 100_000))
    poisson = of(times.tolist(), float(times[-1]))
    assert poisson.cv == pytest.approx(1, rel=0.02)
    for window_s in (0.01, 0.1, 1.0):
        assert poisson.dispersion(window_s) == pytest.approx(1, abs=0.4)


def test_the_peak_is_found_wherever_the_window_lies() -> None:
    """Three arrivals around 0.1 s: windows side by side from 0 would cut them."""
    burst = of([0.0, 0.096, 0.1, 0.104, 0.5], 1.0)
    assert burst.peak_rate_rps(0.01) == pytest.approx(300)
    assert burst.peak_rate_rps(0.1) == pytest.approx(30)
    assert burst.peak_rate_rps(1.0) == pytest.approx(5)


def test_what_was_sent_before_is_counted() -> None:
    assert of([0.1, 0.2, 0.3, 0.4], 1.0, [7, 8, 7, 7]).distinct == 2
    assert of([0.1, 0.2, 0.3, 0.4], 1.0, [7, 8, 7, 7]).repeated == 0.5


def test_without_arrivals_there_is_nothing_to_say() -> None:
    nothing = of([], 1.0)
    assert nothing.peak_rate_rps(1.0) == 0
    assert math.isnan(nothing.cv)
    assert math.isnan(nothing.dispersion(0.1))


def test_a_study_is_previewed_at_its_own_rate(tmp_path: Path) -> None:
    found = previewed(tmp_path, "{process: constant, rate: 50/s}", SYNTHETIC, 4.0)
    assert len(found.offsets_s) == 200
    assert found.arrival == "constant (rate 50/s)"
    assert set(found.sizes) == {"input words", "output tokens"}
    assert found.sent("output tokens").tolist() == [8] * 200
    assert 5 <= found.sent("input words").min() <= found.sent("input words").max() <= 50


def test_the_time_shows_the_shape_unless_it_is_given(tmp_path: Path) -> None:
    found = previewed(tmp_path, "{process: sinusoid, rate: 20/s, period: 15 s}", SYNTHETIC)
    assert found.duration_s == 45
    assert previewed(tmp_path, "{process: poisson, rate: 20/s}", SYNTHETIC).duration_s == 10


def test_few_arrivals_are_waited_for_and_none_is_no_error(tmp_path: Path) -> None:
    assert previewed(tmp_path, "{process: poisson, rate: 1/min}", SYNTHETIC).duration_s == 6000
    nothing = previewed(tmp_path, "{process: poisson, rate: 1/min}", SYNTHETIC, 0.001)
    assert len(nothing.offsets_s) == 0
    assert "distinct requests" in dict(report.figures(nothing))
    report.picture([nothing])
    report.page("traffic", [nothing])


def test_very_many_arrivals_are_cut(tmp_path: Path) -> None:
    found = previewed(tmp_path, "{process: constant, rate: 1000000/s}", SYNTHETIC)
    assert len(found.offsets_s) == 1_000_000
    assert found.notes == ("cut after about 1,000,000 arrivals",)


def test_a_closed_loop_has_sizes_but_no_arrivals(tmp_path: Path) -> None:
    found = previewed(tmp_path, "{process: closed}", SYNTHETIC)
    assert len(found.offsets_s) == 0
    assert "answers decide" in found.notes[0]
    assert dict(report.figures(found))["distinct requests"] == "1,000"


def test_lengths_of_tensors_are_told_before_the_model_is_known(tmp_path: Path) -> None:
    requests = "{source: tensors, lengths: {words: {distribution: zipf, skew: 1.2, low: 2, high: 40}}, batch: 3}"
    found = previewed(tmp_path, "{process: constant, rate: 50/s}", requests)
    assert set(found.sizes) == {"words", "items"}
    assert found.sizes["words"].min() == 2
    assert set(found.sizes["items"]) == {3}


def test_bars_show_what_is_above_zero() -> None:
    assert report.bars(np.array([0.0, 0.001, 4.0, 8.0])) == " ▁▄█"


def test_the_figures_have_units(tmp_path: Path) -> None:
    shown = dict(report.figures(previewed(tmp_path, "{process: poisson, rate: 500/s}", SYNTHETIC)))
    assert shown["mean rate"].endswith("/s")
    assert shown["time"].startswith("10 s, ")
    assert float(shown["CV of the gaps"]) == pytest.approx(1, abs=0.1)
    assert shown["sent before"].endswith("%")


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    found = previewed(tmp_path, "{process: poisson, rate: 500/s}", SYNTHETIC)
    page = report.page("<traffic>", [found])
    assert "&lt;traffic&gt;" in page
    assert page.count('class="chart"') == 4
    without_plotly = page[: page.index("<script>")] + page[page.index("</script>") :]
    assert "http" not in without_plotly
