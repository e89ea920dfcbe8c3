"""Bounds and objectives that depend on the target: the server's own metrics, and those of streams."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import yaml

from targets import registry
from targets.options import ServerMetric, TargetOptions
from tuner.compare import ratios_of_pairs, standing
from tuner.results import Estimate
from tuner.study.load import load_study
from tuner.study.source import StudyError

OWN = (
    ServerMetric("cache_use", "share", "of the cache", "gauge", "use", better="less"),
    ServerMetric("batch", "", "mean", "ratio", "requests", "batches", better="more"),
    ServerMetric("wait", "s", "in the queue", "ratio", "waited", "requests"),
    ServerMetric("evictions", "/s", "of the cache", "rate", "evicted", better="less"),
)


class CachedOptions(TargetOptions):
    kind: Literal["cached"] = "cached"

    def metrics(self) -> Sequence[ServerMetric]:
        return OWN


class StreamedOptions(CachedOptions):
    @property
    def streams(self) -> bool:
        return True


@pytest.fixture(params=[CachedOptions, StreamedOptions], ids=["whole", "streamed"])
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[TargetOptions]:
    """A kind of target of which only the options are asked for."""
    monkeypatch.setattr(registry, "names", lambda: ["cached"])
    monkeypatch.setattr(registry, "options_of", lambda _: request.param)
    return request.param


def study(tmp_path: Path, **sections: object) -> Path:
    path = tmp_path / "study.yaml"
    whole = {
        "study": "one",
        "target": {"kind": "cached"},
        "workloads": {"steady": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "a.npz"}}},
        "space": {"concurrency": 1},
        "slo": {"p99": "1 s"},
        **sections,
    }
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


@pytest.mark.usefixtures("options")
def test_bounds_on_the_servers_own_metrics_are_read_in_their_unit(tmp_path: Path) -> None:
    slo = {"p99": "1 s", "cache_use": "90%", "batch": 4, "wait": "5 ms", "evictions": "10/s"}
    bounds = load_study(study(tmp_path, slo=slo)).spec.slo.bounds()
    assert bounds == {"p99": 1.0, "cache_use": 0.9, "batch": 4.0, "wait": 0.005, "evictions": 10.0}


@pytest.mark.usefixtures("options")
@pytest.mark.parametrize(
    ("slo", "message"),
    [
        ({"cache_use": 0.9}, r"slo\.cache_use: expected a percentage"),
        ({"wait": 5}, r"slo\.wait: expected a duration with a unit"),
        ({"batch": "4 ms"}, r"slo\.batch: expected a number, but got '4 ms'"),
        ({"batch": -1}, r"slo\.batch: expected a number"),
        ({"cache_uses": "90%"}, r"slo\.cache_uses: unknown key `cache_uses`; did you mean `cache_use`\?"),
    ],
)
def test_a_bound_that_does_not_fit_its_metric_points_at_its_line(
    tmp_path: Path, slo: dict[str, object], message: str
) -> None:
    with pytest.raises(StudyError, match=rf"study\.yaml:\d+: {message}"):
        load_study(study(tmp_path, slo=slo))


@pytest.mark.usefixtures("options")
def test_own_metrics_are_objectives_in_their_direction_only(tmp_path: Path) -> None:
    objectives = ["maximize batch", "minimize steady.cache_use"]
    assert load_study(study(tmp_path, objectives=objectives)).spec.objectives == objectives
    for wrong in ("minimize batch", "minimize wait", "maximize cache_use"):
        with pytest.raises(StudyError, match=r"objectives\.0: expected `maximize throughput\|goodput.*\|batch`"):
            load_study(study(tmp_path, objectives=[wrong]))


def test_metrics_of_tokens_are_for_servers_that_stream(options: type[TargetOptions], tmp_path: Path) -> None:
    sections: list[dict[str, object]] = [
        {"slo": {"ttft_p95": "1 s"}},
        {"objectives": ["maximize token_throughput", "minimize itl_p99"]},
    ]
    for section in sections:
        path = study(tmp_path, **section)
        if options is StreamedOptions:
            load_study(path)
        else:
            refusal = r"does not stream tokens|expected `maximize throughput\|goodput\|accuracy\|gpu_utilization\|b"
            with pytest.raises(StudyError, match=refusal):
                load_study(path)


def test_a_metric_of_the_servers_may_not_have_the_name_of_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "names", lambda: ["cached"])
    monkeypatch.setattr(registry, "options_of", lambda _: CachedOptions)
    monkeypatch.setattr(CachedOptions, "metrics", lambda _: (ServerMetric("p99", "s", "x", "gauge", "x"),))
    with pytest.raises(StudyError, match=r"target: the server's metric `p99` has the name of one of ours"):
        load_study(study(tmp_path))


def metrics(batch: float) -> dict[str, Estimate]:
    return {"batch": Estimate(value=batch, low=batch, high=batch, n=1)}


def test_own_metrics_are_compared_in_their_direction() -> None:
    pairs = [(metrics(4 + change), metrics(2 + change)) for change in (0.0, 0.1, -0.1)]
    assert ratios_of_pairs(pairs, own={"batch": True})["batch"].verdict == "better"
    assert ratios_of_pairs(pairs, own={"batch": False})["batch"].verdict == "worse"
    assert "batch" not in ratios_of_pairs(pairs)
    sides = [[one for _, one in pairs], [one for one, _ in pairs]]
    assert standing(sides, "batch", own={"batch": True}).order == (1,)
    assert standing(sides, "batch", own={"batch": False}).order == (0,)
