"""Metrics of what a server used, worked out by hand; several windows together; what a study may ask of them."""

import math
from pathlib import Path

import pytest
import yaml

from tuner.compare import COMPARED, ratios_of_pairs, ratios_of_runs, standing
from tuner.gate.rules import rules_of
from tuner.measure import Meter
from tuner.metrics import violations
from tuner.results import Estimate
from tuner.study.load import load_study
from tuner.study.own_metrics import asked_for_more, asked_of_use
from tuner.study.source import StudyError
from tuner.usage import Gpu, MigInstance, ServerReading, Telemetry
from tuner.usage_metrics import memory_of_server, pooled_use, throttled, untold, usage_metrics, without_memory
from tuner.verdicts import slo_verdicts
from tuner.wiring import prepare

RATE = Estimate(value=100.0, low=80.0, high=125.0, n=500)


def gpu(index: int = 0, **values: object) -> Gpu:
    return Gpu.model_validate({"index": index, "name": "stub", "samples": 3, **values})


def used(*gpus: Gpu, sampled_s: float = 2.0, **values: object) -> Telemetry:
    return Telemetry.model_validate({"gpu": list(gpus), "sampled_s": sampled_s, "samples": 21, **values})


def test_energy_per_inference_is_power_over_throughput_with_its_interval() -> None:
    found = usage_metrics(used(gpu(energy_joules=100.0)), RATE)["energy_per_inference_joules"]
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.4, 0.625, 500)


def test_energy_without_an_answer_is_infinite() -> None:
    none = Estimate(value=0.0, low=0.0, high=math.inf, n=0, note="nothing answered")
    found = usage_metrics(used(gpu(energy_joules=100.0)), none)["energy_per_inference_joules"]
    assert (found.value, found.low, found.high, found.note) == (math.inf, 0.0, math.inf, "nothing answered")


def test_only_the_gpus_that_the_server_is_on_count() -> None:
    ours = gpu(0, server=True, energy_joules=10.0, utilization=0.5, server_memory_bytes=7, memory_used_bytes=9)
    theirs = gpu(1, server=False, energy_joules=90.0, utilization=0.9, server_memory_bytes=0, memory_used_bytes=99)
    found = usage_metrics(used(ours, theirs), RATE)
    assert found["energy_per_inference_joules"].value == pytest.approx(0.05)
    assert (found["gpu_utilization"].value, found["gpu_memory_bytes"].value) == (0.5, 7)


@pytest.mark.parametrize("server", [False, None])
def test_where_the_server_is_seen_on_none_all_count(server: bool | None) -> None:
    pair = [gpu(n, server=server, energy_joules=10.0, utilization=0.2 + n, memory_used_bytes=n + 1) for n in range(2)]
    found = usage_metrics(used(*pair), RATE)
    assert found["energy_per_inference_joules"].value == pytest.approx(0.1)
    assert (found["gpu_utilization"].value, found["gpu_memory_bytes"].value) == (0.7, 3)


def test_a_gpu_without_a_reading_of_power_does_not_count_where_the_server_is_seen_on_none() -> None:
    display, lost = gpu(1, samples=9), gpu(1, samples=2, power_watts=30.0)
    assert usage_metrics(used(gpu(0, energy_joules=10.0), display), RATE)["energy_per_inference_joules"].value == 0.05
    for other in (lost, gpu(1, samples=0)):
        assert "energy_per_inference_joules" not in usage_metrics(used(gpu(0, energy_joules=10.0), other), RATE)


def test_what_one_of_the_servers_gpus_does_not_tell_is_absent() -> None:
    pair = [gpu(0, server=True, energy_joules=10.0, utilization=0.2), gpu(1, server=True, utilization=0.4)]
    found = usage_metrics(used(*pair), RATE)
    assert set(found) == {"gpu_utilization"}
    assert found["gpu_utilization"].value == pytest.approx(0.3)


def test_memory_on_a_divided_gpu_is_that_of_the_servers_instances() -> None:
    instances = [
        MigInstance(index=0, name="a", memory_used_bytes=5, server_memory_bytes=3),
        MigInstance(index=1, name="b", memory_used_bytes=50, server_memory_bytes=0),
    ]
    found = usage_metrics(used(gpu(server=True, mig=True, memory_used_bytes=99, instances=instances)), RATE)
    assert found["gpu_memory_bytes"].value == 3


@pytest.mark.parametrize(
    ("gpus", "seen", "expected"),
    [
        ([], False, 1000),
        ([gpu(0, server=True, server_memory_bytes=7, memory_used_bytes=9), gpu(1, server=False)], False, 7),
        ([gpu(0, server=False, memory_used_bytes=9)], True, 1000),
        ([gpu(0, server=False, memory_used_bytes=9)], False, None),
        ([gpu(0, memory_used_bytes=9)], True, None),
        ([gpu(0, server=True, memory_used_bytes=9)], True, None),
        ([gpu(0, server=True, server_memory_bytes=7), gpu(1, server=True, memory_used_bytes=9)], True, None),
        ([gpu(0, server=True, mig=True, instances=[MigInstance(index=0, name="a", server_memory_bytes=3)])], True, 3),
        ([gpu(0, server=True, mig=True, instances=[MigInstance(index=0, name="a", memory_used_bytes=5)])], True, None),
    ],
)
def test_what_is_in_use_on_a_whole_gpu_does_not_stand_for_the_servers_own(
    gpus: list[Gpu], seen: bool, expected: int | None
) -> None:
    assert memory_of_server(used(*gpus, rss_bytes=1000), all_processes=seen) == expected


def test_cpu_and_memory_of_the_server_need_no_gpu() -> None:
    found = usage_metrics(used(cpu_cores=1.5, rss_bytes=1000), RATE)
    assert {key: (one.value, one.low, one.high) for key, one in found.items()} == {
        "server_cpu_cores": (1.5, 1.5, 1.5),
        "server_rss_bytes": (1000, 1000, 1000),
    }


def test_what_was_asked_for_and_not_told_is_a_missed_bound_that_is_never_certain() -> None:
    window = used(gpu(energy_joules=None), notes=["GPU 0: lost: GPU is lost"])
    found = untold(["energy_per_inference", "server_cpu"], window, {"server_cpu_cores"})
    (missing,) = found.values()
    assert (missing.value, missing.note) == (math.inf, "GPU 0: lost: GPU is lost")
    bounds = {"energy_per_inference": 1.0}
    assert violations(found, bounds) == {"energy_per_inference": math.inf}
    assert slo_verdicts(found, bounds) == {"energy_per_inference": "undecided"}


def test_of_what_more_was_asked_for_the_worst_is_infinitely_little() -> None:
    found = untold(["gpu_utilization", "gpu_memory"], used(), {}, {"gpu_utilization"})
    assert {key: one.value for key, one in found.items()} == {
        "gpu_utilization": -math.inf,
        "gpu_memory_bytes": math.inf,
    }
    bounds = {"gpu_utilization": 0.9, "gpu_utilization_at_least": 0.5}
    assert violations(found, bounds) == dict.fromkeys(bounds, math.inf)
    assert slo_verdicts(found, bounds) == dict.fromkeys(bounds, "undecided")


def test_a_bound_from_below_is_missed_by_what_is_less() -> None:
    busy, bounds = used(gpu(utilization=0.4)), {"gpu_utilization": 0.9, "gpu_utilization_at_least": 0.5}
    found = usage_metrics(busy, RATE)
    assert violations(found, bounds)["gpu_utilization_at_least"] == pytest.approx(0.2)
    assert slo_verdicts(found, bounds) == {"gpu_utilization": "met", "gpu_utilization_at_least": "missed"}
    (rule,) = rules_of({}, {"steady": {"gpu_utilization_at_least": 0.5}}, (), changes=False)
    assert (rule.key, rule.falls) == ("gpu_utilization", True)


def test_energy_that_was_not_renewed_in_the_window_is_not_told() -> None:
    assert "energy_per_inference_joules" not in usage_metrics(used(gpu(energy_joules=0.0)), RATE)


def test_a_bound_on_what_was_used_is_met_or_missed_by_the_reading() -> None:
    found = usage_metrics(used(cpu_cores=1.5), RATE)
    assert slo_verdicts(found, {"server_cpu": 2.0}) == {"server_cpu": "met"}
    assert slo_verdicts(found, {"server_cpu": 1.0}) == {"server_cpu": "missed"}


def test_windows_together_have_weighted_means_largest_values_and_the_sum_of_their_energies() -> None:
    one = used(
        gpu(
            power_watts=50.0,
            power_watts_max=60.0,
            energy_joules=50.0,
            memory_used_bytes=5,
            throttle={"sync_boost": 1.0},
        ),
        sampled_s=1.0,
        cpu_cores=1.0,
        rss_bytes=10,
        notes=["a"],
    )
    two = used(
        gpu(power_watts=80.0, power_watts_max=90.0, energy_joules=240.0, memory_used_bytes=4, server=True, throttle={}),
        sampled_s=3.0,
        cpu_cores=2.0,
        rss_bytes=5,
        notes=["a", "b"],
        series="records/a.telemetry.npz",
    )
    both = pooled_use([one, two])
    assert (both.sampled_s, both.samples, both.cpu_cores, both.rss_bytes) == (4.0, 42, 1.75, 10)
    assert (both.notes, both.series) == (["a", "b"], None)
    (together,) = both.gpu
    assert (together.power_watts, together.power_watts_max, together.energy_joules) == (72.5, 90.0, 290.0)
    assert (together.memory_used_bytes, together.server, together.throttle) == (5, True, {"sync_boost": 0.5})
    assert pooled_use([one]).gpu == one.gpu


def test_the_servers_own_metrics_are_pooled_like_the_rest() -> None:
    waiting = [{"name": "waiting", "mean": mean, "max": largest} for mean, largest in ((1.0, 4.0), (5.0, 8.0))]
    failed = {"name": "failed", "per_s": 3.0}
    one = used(sampled_s=1.0, server_metrics=[waiting[0]])
    two = used(sampled_s=3.0, server_metrics=[waiting[1], failed, {"name": "new", "mean": 2.0, "max": 2.0}])
    assert pooled_use([one, two]).server_metrics == [
        ServerReading(name="waiting", mean=4.0, max=8.0),
        ServerReading(name="failed", per_s=2.25),
    ], "a counter that did not grow is not told of, a gauge always is"
    assert pooled_use([two]).server_metrics == two.server_metrics


def test_an_energy_that_one_window_lacks_is_absent_of_all() -> None:
    both = pooled_use([used(gpu(energy_joules=5.0)), used(gpu(energy_joules=None))])
    assert both.gpu[0].energy_joules is None


def test_a_gpu_that_heat_slowed_down_is_a_warning_and_a_setting_is_none() -> None:
    hot = gpu(1, throttle={"hw_thermal_slowdown": 0.25, "sw_power_cap": 1.0, "gpu_idle": 0.5})
    assert throttled(used(gpu(0, throttle={"sw_power_cap": 1.0}), hot)) == [
        "GPU 1 was slowed down (hw_thermal_slowdown in 25% of the samples): cool it, or lower its power limit"
    ]


def test_redeployments_are_compared_by_what_they_used_and_stored_runs_are_not() -> None:
    ours, theirs = (usage_metrics(used(cpu_cores=cores), RATE) for cores in (1.0, 2.0))
    assert COMPARED["server_cpu"] is False
    assert "gpu_utilization" not in COMPARED, "only a study says whether more of it is better"
    assert ratios_of_pairs([(ours, theirs)] * 3)["server_cpu_cores"].verdict == "better"
    assert ratios_of_runs(ours, theirs) == {}


def study(tmp_path: Path, **sections: object) -> Path:
    path = tmp_path / "study.yaml"
    workloads = {"steady": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "a.npz"}}}
    whole = {
        "study": "one",
        "target": {"kind": "simulated", "model": "queue", "repository": "models"},
        "workloads": workloads,
        "space": {"concurrency": 1},
        "slo": {"p99": "1 s"},
        **sections,
    }
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


def test_bounds_and_objectives_of_use_are_read_in_their_units(tmp_path: Path) -> None:
    slo = {
        "gpu_memory": "8 GiB",
        "server_rss": "500 MB",
        "energy_per_inference": "20 mJ",
        "gpu_utilization": "90%",
        "gpu_utilization_at_least": "50%",
        "server_cpu": 1.5,
    }
    spec = load_study(study(tmp_path, slo=slo, objectives=["minimize energy_per_inference", "minimize p99"])).spec
    assert spec.slo.bounds() == {
        "energy_per_inference": 0.02,
        "gpu_utilization": 0.9,
        "gpu_utilization_at_least": 0.5,
        "gpu_memory": 8 * 2**30,
        "server_cpu": 1.5,
        "server_rss": 500e6,
    }
    assert asked_of_use(spec) == [
        *((("slo", name), name.removesuffix("_at_least")) for name in spec.slo.bounds()),
        (("objectives", 0), "energy_per_inference"),
    ]


@pytest.mark.parametrize(
    ("sections", "more"),
    [
        ({"objectives": ["maximize goodput", "maximize gpu_utilization"]}, True),
        ({"objectives": ["minimize gpu_utilization"]}, False),
        ({"objectives": ["minimize gpu_utilization"], "slo": {"gpu_utilization_at_least": "20%"}}, False),
        ({"slo": {"gpu_utilization": "90%"}}, False),
        ({"slo": {"gpu_utilization_at_least": "50%"}}, True),
        ({"slo": {"gpu_utilization_at_least": "50%", "gpu_utilization": "90%"}}, False),
    ],
)
def test_a_study_says_whether_more_use_of_the_gpus_is_better(
    sections: dict[str, object], more: bool, tmp_path: Path
) -> None:
    spec = load_study(study(tmp_path, **sections)).spec
    assert asked_for_more(spec) == ({"gpu_utilization"} if more else set())
    asked = frozenset(name for _, name in asked_of_use(spec))
    meter = Meter(None, None, {}, tmp_path, asked=asked, more=asked_for_more(spec))  # type: ignore[arg-type]
    assert meter.directions == {"gpu_utilization": more}
    busy, idle = (usage_metrics(used(gpu(utilization=share)), RATE) for share in (0.8, 0.4))
    ratios = ratios_of_pairs([(busy, idle)] * 3, own=meter.directions)
    assert ratios["gpu_utilization"].verdict == ("better" if more else "worse")
    assert standing([[busy], [idle]], "gpu_utilization", own=meter.directions).order[0] == (0 if more else 1)


REMOTE = {
    "url": {"kind": "triton", "model": "m", "launch": "remote", "url": "http://127.0.0.1:9"},
    "grpc_url": {"kind": "triton", "model": "m", "launch": "remote", "protocol": "grpc", "grpc_url": "grpc://h:9"},
}


@pytest.mark.parametrize("key", REMOTE)
@pytest.mark.parametrize(
    ("sections", "place"),
    [
        ({"slo": {"server_rss": "1 GB"}}, "slo.server_rss: `server_rss`"),
        ({"slo": {"gpu_memory": "1 GB"}}, "slo.gpu_memory: `gpu_memory`"),
        ({"objectives": ["maximize goodput", "minimize energy_per_inference"]},
         "objectives.1: `energy_per_inference`"),
    ],
)  # fmt: skip
def test_what_a_server_uses_that_runs_already_is_refused_at_its_line_before_it_is_asked(
    sections: dict[str, object], place: str, key: str, tmp_path: Path
) -> None:
    """There is no server at the URL; the GPUs of this host, which need not be the server's, are not asked either."""
    made = load_study(study(tmp_path, target=REMOTE[key], **sections))
    with pytest.raises(StudyError) as refused:
        prepare(made, tmp_path / "log.txt")
    said = str(refused.value)
    assert place in said
    assert f"is measured of the server's processes, and that at `target.{key}` runs already: its processes" in said
    assert ("give `target.metrics_url`, where it tells of its GPUs" in said) is ("server_rss" not in place)
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    assert "slo.server_rss: `server_rss` is measured of the server's processes, and that at `target.url` runs" in page


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"slo": {"gpu_memory": 8}}, r"slo\.gpu_memory: expected a size with a unit, like `8 GiB`"),
        ({"slo": {"energy_per_inference": "2 W"}}, r"slo\.energy_per_inference: expected an energy with a unit"),
        ({"objectives": ["maximize server_cpu"]}, r"objectives\.0: expected `maximize throughput"),
        (
            {"objectives": ["maximize gpu_utilization", "minimize steady.gpu_utilization"]},
            r"objectives\.1: another objective is to maximize `gpu_utilization` already",
        ),
        (
            {"slo": {"gpu_utilization": "40%", "gpu_utilization_at_least": "50%"}},
            r"slo\.gpu_utilization_at_least: at most `gpu_utilization`, which is 40%, but got 50%; nothing meets both",
        ),
        (
            {"slo": {"gpu_utilization_at_least": "50%"}, "load": {"search": "max_under_slo"}},
            r"slo\.gpu_utilization_at_least: with `load\.search: max_under_slo` the climb begins at a low load",
        ),
        ({"telemetry": {"period": "1 ms"}}, r"telemetry\.period: .*greater than or equal to 0\.02"),
    ],
)
def test_what_cannot_be_asked_points_at_its_line(tmp_path: Path, sections: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=rf"study\.yaml:\d+: {message}"):
        load_study(study(tmp_path, **sections))


def test_one_class_of_a_mix_has_no_use_of_its_own(tmp_path: Path) -> None:
    requests = {"source": "dataset", "path": "a.npz"}
    mix = {
        "steady": {"arrival": {"process": "closed"}, "mix": {"a": {"requests": requests}, "b": {"requests": requests}}}
    }
    with pytest.raises(StudyError, match=r"objectives\.0: the server does not tell `server_cpu` of one class"):
        load_study(study(tmp_path, workloads=mix, objectives=["minimize steady.a.server_cpu"]))


def test_of_one_of_several_on_a_server_no_memory_is_told() -> None:
    part = MigInstance(index=0, name="a", memory_used_bytes=5, server_memory_bytes=3)
    both = used(
        gpu(server=True, memory_used_bytes=9, server_memory_bytes=7, utilization=0.5, instances=[part]),
        cpu_cores=1.5,
        rss_bytes=1000,
    )
    assert set(usage_metrics(without_memory(both, shared=True), RATE)) == {"server_cpu_cores", "gpu_utilization"}


def test_of_one_of_several_servers_the_memory_of_its_own_processes_is_told() -> None:
    both = used(gpu(server=True, memory_used_bytes=9, server_memory_bytes=7), rss_bytes=1000)
    found = usage_metrics(without_memory(both, shared=False), RATE)
    assert (found["gpu_memory_bytes"].value, found["server_rss_bytes"].value) == (7, 1000)
    untold_of_processes = used(gpu(memory_used_bytes=9))
    assert "gpu_memory_bytes" not in usage_metrics(without_memory(untold_of_processes, shared=False), RATE)
