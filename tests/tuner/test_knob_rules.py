"""A space whose configurations the server would all refuse is an error at its line, before anything is started."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import Prepared, prepare

WriteStudy = Callable[..., Path]
CONCURRENCY = {"concurrency": [4]}


def prepared(path: Path) -> Prepared:
    return prepare(load_study(path), path.with_name("log.txt"))


def failure(path: Path) -> tuple[str, str]:
    """Return the error and the line of the study that it points at."""
    with pytest.raises(StudyError) as raised:
        prepared(path)
    message = str(raised.value)
    line = int(message.removeprefix(f"{path}:").partition(":")[0])
    return message.partition(": ")[2], path.read_text().splitlines()[line - 1].strip()


@pytest.mark.parametrize(
    ("space", "message", "line"),
    [
        ({"execution_mode": ["sequential", "parallel"]},
         "space.execution_mode: cannot be used here: it is for the ONNX Runtime backend", "execution_mode:"),
        ({"sequence_strategy": ["direct", "oldest"]}, "space.sequence_strategy: cannot be used here: model 'digits' "
         "has no sequence_batching", "sequence_strategy:"),
        ({"max_batch_size": [4, 8], "preferred_batch_size": [[16], [32, 64]]}, "space.preferred_batch_size: no value "
         "can be used: dynamic batching preferred size must be <= max batch size", "preferred_batch_size:"),
        ({"priority_levels": [2, 3]}, "space.priority_levels: no value can be used: default priority level must be "
         "in range [1, 2]", "priority_levels:"),
        ({"max_batch_size": [4, 8], "warmup_batch_size": [1, 2]}, "space.warmup_batch_size: no value can be used: "
         "warmup_batch_size: is of the one entry of model_warmup", "warmup_batch_size:"),
    ],
)  # fmt: skip
def test_a_knob_that_can_never_fit_is_an_error_at_its_line(
    space: dict[str, object], message: str, line: str, small_study: WriteStudy
) -> None:
    said, pointed = failure(small_study(space={**space, **CONCURRENCY}))
    assert said.startswith(message)
    assert pointed == line


def test_a_gpu_knob_without_a_gpu_is_an_error_at_its_line(
    small_study: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    said, pointed = failure(small_study(space={"gpus": [[0], [0, 1]], **CONCURRENCY}))
    assert said.startswith("space.gpus: cannot be used here: it is for GPUs, and Triton finds none here")
    assert pointed == "gpus:"


@pytest.mark.parametrize(
    "space",
    [
        {"max_batch_size": [8, 16, 32], "preferred_batch_size": [[16], [32]]},
        {"preserve_ordering": [True, False], "priority_levels": [2], "default_priority_level": [3, 2]},
        {"warmup": ["none", "zero"], "warmup_batch_size": {"values": [1, 8], "when": "warmup != none"}},
        {"instance_kind": ["gpu", "cpu"]},
        {"response_cache": [True, False]},
    ],
)
def test_a_space_of_which_some_configuration_fits_is_none(space: dict[str, object], small_study: WriteStudy) -> None:
    assert prepared(small_study(space={**space, **CONCURRENCY})).space.size > 0


def test_the_baseline_has_the_value_of_every_knob_that_is_searched(small_study: WriteStudy) -> None:
    made = prepared(small_study(space={"preferred_batch_size": [[4], []], "warmup": ["none", "zero"], **CONCURRENCY}))
    own = made.target.user_config()
    assert (own["preferred_batch_size"], own["warmup"]) == ("none", "none")
    assert "preserve_ordering" not in own
