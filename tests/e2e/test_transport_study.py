"""`tune bench` of a real Triton with shared memory and a response cache, and of a decoupled model."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.foreign_triton import foreign_triton
from tests.support.triton_models import COUNTER, write_model
from tests.support.tune import tune
from tuner.records import load_records
from tuner.results import Point, Trial

pytestmark = pytest.mark.long

WriteStudy = Callable[..., Path]


def sets(*given: str) -> list[str]:
    return [part for one in given for part in ("--set", one)]


def test_the_response_cache_that_a_knob_turns_on_is_told_of_beside_the_load(
    small_study: WriteStudy, tmp_path: Path
) -> None:
    """Triton's own metrics, which the study asks for, tell of the same lookups over the same window."""
    steady = {
        "arrival": {"process": "closed"},
        "requests": {"source": "tensors", "count": 50_000, "fresh": True},
        "repeats": {"share": "30%"},
    }
    study = small_study(
        workloads={"steady": steady},
        slo={"p90": "300 ms", "cache_hit_rate": "90%"},
        space={"max_batch_size": 32, "precision": "int8", "concurrency": [4, 8], "response_cache": True},
        objectives=["maximize cache_hit_rate"],
        measure={"warmup": "0.1 s", "max_warmup": "0.2 s", "window": "1 s", "max_window": "1 s"},
        telemetry={"server_metrics": "500 ms"},
    )
    given = sets("target.tensors=shared_memory", "target.outputs=shared_memory", "isolation=none")
    ended = tune("bench", study, *given, cwd=tmp_path)
    assert ended.returncode in (0, 4, 5), ended.stderr
    trial = Trial.model_validate_json((tmp_path / "runs/digits-bench/latest/bench.json").read_text())
    assert len(trial.points) == 2
    for point in trial.points:
        assert point.server is not None
        assert point.server.cache is not None
        cache, sent = point.server.cache, sum(point.outcomes.values())
        lookups = cache.hits + cache.misses
        off = 5 * math.sqrt(0.3 * 0.7 / lookups) + point.load.level / lookups
        rate = point.metrics["cache_hit_rate"].value
        assert abs(rate - 0.3) < off, "the window's own share is drawn; that of all requests is tested elsewhere"
        assert cache.hit_mean_s is not None
        assert cache.miss_mean_s is not None
        assert cache.latency_note is None
        assert cache.hit_latency["p99"].n + cache.miss_latency["p99"].n + cache.either == sent
        check_metrics(point, tmp_path / "runs/digits-bench/latest", lookups)
    assert "cache hit, mean of" in ended.stdout


def check_metrics(point: Point, run: Path, lookups: int) -> None:
    """Check what Triton's metrics tell of the window: by the user's name of the model, on the clock of the records."""
    digits = '{model="digits",version="1"}'
    assert not [note for note in point.telemetry.notes if "metrics" in note]
    told = {one.name: one for one in point.telemetry.server_metrics}
    waiting = told[f"nv_inference_pending_request_count{digits}"]
    assert waiting.mean is not None
    assert waiting.max is not None
    assert 0 <= waiting.mean <= waiting.max <= point.load.level
    assert (told["nv_pinned_memory_pool_total_bytes"].mean or 0) > 0
    assert point.records is not None
    assert point.telemetry.series is not None
    ((start_ns, end_ns),) = load_records(run / point.records).windows_ns
    with np.load(run / point.telemetry.series) as stored:
        times_ns = stored["metric_time_ns"]
        assert start_ns <= times_ns[0] < end_ns
        assert len(stored[f"metric:nv_inference_count{digits}"]) == len(times_ns) >= 2
        assert not [name for name in stored.files if "__" in name], "aliases are no names of the user's"
        kinds = [f"nv_cache_num_{which}_per_model{digits}" for which in ("hits", "misses")]
        grown = [stored[f"metric:{kind}"][-1] - stored[f"metric:{kind}"][0] for kind in kinds]
    assert sum(grown) > lookups / 2
    seconds = (times_ns[-1] - times_ns[0]) / 1e9
    assert [told[kind].per_s for kind in kinds] == [pytest.approx(growth / seconds) for growth in grown]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where the server of the counting model is: started for the study, or there already."""
    write_model(tmp_path / "models", "counter", COUNTER)
    if request.param == "local":
        yield {"repository": "models"}
        return
    with foreign_triton(tmp_path, "none", model="counter") as server:
        yield {"launch": "remote", "grpc_url": server.grpc_url}


@pytest.mark.parametrize("place", ["local", "remote"], indirect=True)
def test_answers_of_a_decoupled_model_are_measured_like_tokens(place: dict[str, str], tmp_path: Path) -> None:
    requests = "\n".join(json.dumps({"N": [count]}) for count in (1, 2, 3, 10))
    (tmp_path / "requests.jsonl").write_text(requests + "\n")
    study = {
        "study": "counter",
        "target": {"kind": "triton", "model": "counter", "protocol": "grpc", "streaming": True, **place},
        "workloads": {
            "steady": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "requests.jsonl"}}
        },
        "space": {"concurrency": 2},
        "slo": {"ttft_p90": "10 s", "error_rate": "1%"},
        "measure": {"warmup": "0.1 s", "max_warmup": "0.2 s", "window": "0.3 s", "max_window": "0.6 s"},
        "isolation": "none",
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    ended = tune("bench", "study.yaml", cwd=tmp_path)
    assert ended.returncode in (0, 5), ended.stderr
    trial = Trial.model_validate_json((tmp_path / "runs/counter-bench/latest/bench.json").read_text())
    (point,) = trial.points
    assert set(point.outcomes) == {"ok"}
    assert 3 < point.metrics["output_tokens_mean"].value < 5
    ttft, latency = point.metrics["ttft_p50_s"].value, point.metrics["latency_p50_s"].value
    assert 0 < ttft <= latency
    assert "itl_p50_s" in point.metrics
    assert point.server is not None
    assert point.server.requests > 0


def test_a_decoupled_model_without_a_stream_is_refused_before_anything_starts(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "counter", COUNTER)
    (tmp_path / "requests.jsonl").write_text('{"N": [1]}\n')
    study = {
        "study": "counter",
        "target": {"kind": "triton", "model": "counter", "repository": "models"},
        "workloads": {
            "steady": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "requests.jsonl"}}
        },
        "space": {"concurrency": 2},
        "slo": {"p99": "10 s"},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    ended = tune("bench", "study.yaml", cwd=tmp_path)
    assert ended.returncode == 3
    assert "target.model: 'counter' is decoupled" in ended.stderr
    assert "give `protocol: grpc` and `streaming: true`" in " ".join(ended.stderr.split())
