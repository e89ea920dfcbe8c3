"""A whole study of an ensemble on a Triton that runs already: its composing models are searched and given back."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from targets.triton.config import from_loaded, knob_values
from tests.support.foreign_triton import ForeignTriton, foreign_triton
from tests.support.triton_ensembles import images, write_ensemble
from tests.support.tune import tune
from tuner.results import read_result

pytestmark = pytest.mark.long

MODELS = ("preprocess", "classify", "pipeline")


def write_study(folder: Path, server: ForeignTriton) -> Path:
    requests = images()
    np.savez(folder / "images.npz", **dict(requests.inputs), labels=np.asarray(requests.labels))
    workload = {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "images.npz"}}
    target = {"kind": "triton", "model": "pipeline", "launch": "remote", "url": server.url, "repository": "models"}
    study = {
        "study": "pipeline",
        "target": target,
        "workloads": {"steady": workload},
        "space": {"composing": {"preprocess": {"instances": [1, 2]}, "classify": {"max_batch_size": [16, 32]}},
                  "concurrency": [4]},
        "slo": {"p90": "5 s", "error_rate": "50%"},
        "search": {"budget": {"trials": 1, "time": "5 min"}, "seed": 1, "sampler": "random",
                   "start": [{"preprocess.instances": 2, "classify.max_batch_size": 32}]},
        "measure": {"warmup": "50 ms", "max_warmup": "50 ms", "window": "100 ms", "max_window": "200 ms"},
        "confirm": {"candidates": 1, "redeployments": 2, "max_redeployments": 2, "rounds": 2, "round": "0.1 s"},
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def test_composing_models_are_searched_given_back_and_get_the_answer_when_it_is_applied(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    write_ensemble(tmp_path / "models")
    write_ensemble(tmp_path / "server" / "models")
    with foreign_triton(tmp_path / "server", "explicit", model="pipeline") as server:
        before = {name: server.config(name) for name in MODELS}
        ended = tune(write_study(tmp_path, server), "--out", "out", cwd=tmp_path)
        assert ended.returncode in (0, 4, 5), ended.stderr
        assert {name: server.config(name) for name in MODELS} == before
        trials = read_result(tmp_path / "out").trials
        assert {one.state for one in trials} == {"complete"}
        found = next(one for one in trials if one.config["preprocess.instances"] == 2)
        for point in found.points:
            assert point.server is not None
            assert set(point.server.composing) == {"preprocess", "classify"}
        applied = tune("export", "out", "--trial", found.number, "--apply", cwd=tmp_path)
        assert applied.returncode == 0, applied.stderr
        assert knob_values(from_loaded(server.config("preprocess")), ["instances"]) == {"instances": 2}
        assert server.config("classify")["max_batch_size"] == 32
        assert server.client.is_model_ready("pipeline")
        assert "max_batch_size: 32" in (tmp_path / "models" / "classify" / "config.pbtxt").read_text()
