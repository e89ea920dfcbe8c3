"""A server's own metrics: what is got in a window, what is made of it, and where it is absent."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from targets.base import Exposed, ServerHung, TargetError
from targets.prometheus import told
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.telemetry.series import Metrics, Series, save_series
from tuner.telemetry.summary import MOST_METRICS, summarised
from tuner.telemetry.summary import told as told_of
from tuner.usage import ServerReading, Telemetry

S = 1_000_000_000


class Deployed:
    """A deployment whose server gives these texts, one after the other; at the end it does not answer."""

    def __init__(self, *texts: bytes) -> None:
        self.texts, self.asked = list(texts), 0

    def exposed(self) -> Exposed:
        return Exposed(self.get, told)

    def get(self, timeout_s: float) -> bytes:
        assert timeout_s < 1
        self.asked += 1
        if not self.texts:
            raise ServerHung("it does not answer")
        return self.texts.pop(0)


def sampled(deployment: object, seconds: float = 0.0, metrics_period_s: float | None = 0.05) -> Series:
    sampler = Sampler(Gpus(), 0.02, metrics_period_s)
    sampler.start([], deployment)
    time.sleep(seconds)
    series = sampler.stop()
    assert series is not None
    return series


def of(values: dict[str, list[float]], counters: Sequence[str] = ()) -> Telemetry:
    """Summarise metrics that were read once a second."""
    columns = {name: np.array(column) for name, column in values.items()}
    times_ns = np.arange(len(next(iter(columns.values()))), dtype=np.int64) * S
    return summarised(Series(times_ns, {}, metrics=Metrics(times_ns, columns, frozenset(counters))))


def test_a_gauge_has_mean_and_largest_of_the_window_and_a_counter_its_rate() -> None:
    used = of({"waiting": [2.0, np.nan, 6.0, 0.0], "done": [100.0, 110.0, 130.0, 190.0]}, ["done"])
    assert used.server_metrics == [
        ServerReading(name="waiting", mean=4.0, max=6.0),
        ServerReading(name="done", per_s=30.0),
    ], "the last reading is of the time after the window, when nothing waits"


def test_counters_that_did_not_grow_are_left_out_and_a_gauge_that_is_0_is_not() -> None:
    used = of({"waiting": [0.0, 0.0], "failed": [5.0, 5.0], "once": [np.nan, 7.0]}, ["failed", "once"])
    assert used.server_metrics == [ServerReading(name="waiting", mean=0.0, max=0.0)]


def test_a_single_reading_tells_of_gauges_alone() -> None:
    used = of({"waiting": [3.0], "done": [5.0]}, ["done"])
    assert used.server_metrics == [ServerReading(name="waiting", mean=3.0, max=3.0)]


def test_a_point_has_so_many_and_says_how_many_more_there_are() -> None:
    used = of({f"m{index}": [1.0, 1.0] for index in range(MOST_METRICS + 3)})
    assert len(used.server_metrics) == MOST_METRICS
    assert used.notes == [f"server metrics: 3 of {MOST_METRICS + 3} are in the file of the samples alone"]


def test_texts_are_got_in_the_window_and_parsed_after_it(tmp_path: Path) -> None:
    deployed = Deployed(*(f'# TYPE done counter\ndone {index}\nwaiting{{a="b"}} 2\n'.encode() for index in range(99)))
    began_ns = time.monotonic_ns()
    series = sampled(deployed, 0.2)
    ended_ns = time.monotonic_ns()
    assert series.metrics is None
    whole, used = told_of(series)
    assert whole is not None
    assert whole.metrics is not None
    times_ns = whole.metrics.time_ns
    assert 2 <= len(times_ns) == deployed.asked
    assert began_ns <= times_ns[0] < times_ns[-1] <= ended_ns
    save_series(whole, tmp_path / "samples.npz")
    with np.load(tmp_path / "samples.npz") as stored:
        assert stored["metric_time_ns"].tolist() == times_ns.tolist()
        assert stored["metric:done"].tolist() == list(range(deployed.asked))
        assert stored['metric:waiting{a="b"}'].tolist() == [2.0] * deployed.asked
    rate, waiting = (one for name in ("done", 'waiting{a="b"}') for one in used.server_metrics if one.name == name)
    assert rate.per_s == pytest.approx((deployed.asked - 1) / ((times_ns[-1] - times_ns[0]) / S))
    assert (waiting.mean, waiting.max) == (2.0, 2.0)
    assert not [note for note in used.notes if "metrics" in note]


def test_the_server_is_not_asked_unless_the_study_says_so() -> None:
    deployed = Deployed(b"done 1\n")
    series = sampled(deployed, metrics_period_s=None)
    assert (series.texts, deployed.asked) == (None, 0)
    assert not [note for note in series.notes if "metrics" in note]


def test_a_server_that_stops_answering_is_a_note_and_what_it_said_counts() -> None:
    deployed = Deployed(b"waiting 4\n")
    _, used = told_of(sampled(deployed, 0.2))
    assert used.server_metrics == [ServerReading(name="waiting", mean=4.0, max=4.0)]
    assert used.notes.count("server metrics: it does not answer") == 1
    assert used.samples > 2
    asked = deployed.asked
    assert asked >= 2
    _, used = told_of(sampled(deployed))
    assert deployed.asked == asked + 1, "who waits for the end does not wait for it"


def test_a_text_that_is_none_is_a_note() -> None:
    _, used = told_of(sampled(Deployed(b"<html>", b"<html>")))
    assert used.server_metrics == []
    assert any(note.startswith("server metrics: the server's metrics: not in Prometheus'") for note in used.notes)


class WithGpus(Deployed):
    """Its server tells of its GPUs, one of which has no counter of energy."""

    def exposed(self) -> Exposed:
        return Exposed(self.get, told, self.gpus)

    def gpus(self, text: bytes) -> dict[str, dict[str, float]]:
        joules = float(text.split()[-1])
        return {"GPU-a": {"energy_joules": joules, "utilization": 0.5, "memory_used_bytes": 8.0}, "GPU-b": {}}


def test_gpus_that_the_server_tells_of_stand_for_those_of_this_host() -> None:
    whole, used = told_of(sampled(WithGpus(*(f"joules {60 * index}".encode() for index in range(99))), 0.2))
    assert whole is not None
    assert whole.metrics is not None
    readings = len(whole.metrics.time_ns)
    assert [(gpu.index, gpu.name) for gpu in used.gpu] == [(0, "GPU-a"), (1, "GPU-b")]
    (first, other), span_s = used.gpu, (whole.metrics.time_ns[-1] - whole.metrics.time_ns[0]) / S
    assert first.energy_joules == pytest.approx(60 * (readings - 1) * used.sampled_s / span_s)
    assert (first.energy_from, first.utilization, first.memory_used_bytes, first.server) == ("counter", 0.5, 8, None)
    assert (other.energy_joules, other.samples) == (None, 0)
    assert list(whole.devices) == []


def test_energy_that_a_server_does_not_renew_in_the_window_is_said_to_be() -> None:
    _, used = told_of(sampled(WithGpus(*[b"joules 7"] * 99), 0.1))
    assert used.gpu[0].energy_joules == 0
    assert any(note.startswith("GPU 0: its energy counter did not move in the window") for note in used.notes)


def test_a_server_that_does_not_answer_has_no_gpus_and_no_energy_is_made_up_of_a_part() -> None:
    _, used = told_of(sampled(WithGpus(), 0.1))
    assert used.gpu == []
    read = {"energy_joules": np.array([1.0, 2.0]), "utilization": np.array([0.4, 0.6])}
    metrics = Metrics(np.array([0, S // 2], np.int64), {}, frozenset(), {"GPU-a": read})
    (gpu,) = summarised(Series(np.array([0, S], np.int64), {}, metrics=metrics)).gpu
    assert (gpu.energy_joules, gpu.energy_from, gpu.utilization) == (None, None, 0.5)


class Silent:
    def exposed(self) -> Exposed:
        raise TargetError("give `target.metrics_url`")


@pytest.mark.parametrize(
    ("deployment", "why"),
    [(object(), "they are not read of this kind of target"), (Silent(), "give `target.metrics_url`")],
)
def test_a_server_without_metrics_is_a_note(deployment: object, why: str) -> None:
    _, used = told_of(sampled(deployment))
    assert f"no server metrics: {why}" in used.notes
    assert used.server_metrics == []
