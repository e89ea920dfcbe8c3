"""`tune bench` of a real Triton with shared memory and a response cache, and of a decoupled model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support.triton_models import COUNTER, write_model
from tests.support.tune import tune
from tuner.results import Trial

pytestmark = pytest.mark.long

WriteStudy = Callable[..., Path]


def sets(*given: str) -> list[str]:
    return [part for one in given for part in ("--set", one)]


def test_the_response_cache_that_a_knob_turns_on_is_told_of_beside_the_load(
    small_study: WriteStudy, tmp_path: Path
) -> None:
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
    )
    given = sets("target.tensors=shared_memory", "target.outputs=shared_memory", "isolation=none")
    ended = tune("bench", study, *given, cwd=tmp_path)
    assert ended.returncode in (0, 4, 5), ended.stderr
    trial = Trial.model_validate_json((tmp_path / "runs/digits-bench/latest/bench.json").read_text())
    assert len(trial.points) == 2
    for point in trial.points:
        assert point.server is not None
        assert point.server.cache is not None
        rate = point.metrics["cache_hit_rate"].value
        assert abs(rate - 0.3) < 0.06, "the window's own share is drawn; that of all requests is tested elsewhere"
        assert point.server.cache.hit_mean_s is not None
        assert point.server.cache.miss_mean_s is not None
        assert point.server.cache.latency_note is None
        assert point.server.cache.hit_latency["p99"].n < point.server.cache.miss_latency["p99"].n
    assert "cache hit, mean of" in ended.stdout


def test_answers_of_a_decoupled_model_are_measured_like_tokens(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "counter", COUNTER)
    requests = "\n".join(json.dumps({"N": [count]}) for count in (1, 2, 3, 10))
    (tmp_path / "requests.jsonl").write_text(requests + "\n")
    study = {
        "study": "counter",
        "target": {
            "kind": "triton", "model": "counter", "repository": "models", "protocol": "grpc", "streaming": True,
        },
        "workloads": {
            "steady": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "requests.jsonl"}}
        },
        "space": {"concurrency": 2},
        "slo": {"ttft_p90": "10 s", "error_rate": "1%"},
        "measure": {"warmup": "0.1 s", "max_warmup": "0.2 s", "window": "0.3 s", "max_window": "0.6 s"},
        "isolation": "none",
    }  # fmt: skip
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
