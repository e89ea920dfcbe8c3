"""What `tune knobs` says of the knobs of a model on Triton."""

import json
from pathlib import Path

from tests.support.tune import tune


def test_knobs_of_a_model_say_what_it_has_and_what_it_cannot_have(repository: Path, tmp_path: Path) -> None:
    ended = tune("knobs", "triton", "--model", "digits", "--repository", repository, "--json", cwd=tmp_path)
    rows = {row["knob"]: row for row in json.loads(ended.stdout)}
    assert rows["max_batch_size"]["now"] == "8"
    assert rows["instance_kind"]["now"] == "cpu"
    assert rows["preferred_batch_size"]["now"] == "none"
    assert rows["preferred_batch_size"]["rule"] == "each within 1 and max_batch_size"
    assert rows["response_cache"]["since"] == "2.15"
    assert rows["execution_mode"]["legal"].startswith("not here: it is for the ONNX Runtime backend")
    assert "concurrency" not in rows


def test_knobs_of_a_model_that_is_not_there_name_it(repository: Path, tmp_path: Path) -> None:
    ended = tune("knobs", "triton", "--model", "digit", "--repository", repository, cwd=tmp_path)
    assert ended.returncode == 3
    assert "no model 'digit'" in ended.stderr
    ended = tune("knobs", "vllm", "--model", "digits", "--repository", repository, cwd=tmp_path)
    assert ended.returncode == 3
    assert "target 'vllm' has no knobs of a model in a repository" in ended.stderr
