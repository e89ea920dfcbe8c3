"""What Triton completes of a configuration, and what is left of it when the configuration is written."""

import pytest
from google.protobuf import text_format

from targets.base import Config
from targets.triton.completion import Completion, completed, is_complete
from targets.triton.config import ModelConfig, applied, knob_values

TENSORS = """
input { name: "X" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] }
"""
BATCHES = "max_batch_size: 8 dynamic_batching { preferred_batch_size: 8 }"
TOLD = f'name: "asked" backend: "python" {BATCHES} instance_group {{ name: "asked_0" count: 1 }} {TENSORS}'


def parsed(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


def completion(given: str, told: str = TOLD) -> Completion:
    config = parsed(given)
    return Completion(config, config, completed(config, parsed(told), "mine"))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", False),
        ("max_batch_size: 8", False),
        ('input { name: "X" }', False),
        ('output { name: "Y" }', False),
        (TENSORS, True),
        ("ensemble_scheduling { }", True),
    ],
)
def test_a_configuration_is_complete_that_names_inputs_and_outputs_or_models(text: str, whole: bool) -> None:
    assert is_complete(parsed(text)) == whole


def test_what_triton_completed_is_known_without_what_it_makes_of_it_by_default() -> None:
    known = completed(ModelConfig(), parsed(TOLD), "mine")
    assert known == parsed(f'name: "mine" backend: "python" max_batch_size: 8 dynamic_batching {{ }} {TENSORS}')
    assert knob_values(known) == {"max_batch_size": 8, "max_queue_delay": 0.0}


def test_the_users_own_scheduler_stays_what_it_is() -> None:
    own = "max_batch_size: 8 dynamic_batching { preferred_batch_size: 8 max_queue_delay_microseconds: 5 }"
    assert completed(parsed(own), parsed(TOLD), "m").dynamic_batching == parsed(own).dynamic_batching
    sequences = completed(parsed("sequence_batching { direct { } }"), parsed(TOLD), "m")
    assert sequences.WhichOneof("scheduling_choice") == "sequence_batching"


def test_the_largest_batch_is_the_one_that_triton_has() -> None:
    """The code of a Python model may raise what its file says."""
    assert completed(parsed("max_batch_size: 4"), parsed(TOLD), "m").max_batch_size == 8


@pytest.mark.parametrize(
    ("given", "knobs", "written"),
    [
        ("", {}, ""),
        ("", {"instances": 2}, "instance_group { count: 2 }"),
        ("", {"max_batch_size": 4}, "max_batch_size: 4 dynamic_batching { }"),
        (
            "",
            {"max_queue_delay": 0.001},
            "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 1000 }",
        ),
        ('backend: "python"', {"max_batch_size": 16}, 'backend: "python" max_batch_size: 16 dynamic_batching { }'),
        (
            'name: "mine" input { name: "X" data_type: TYPE_FP32 dims: [ 4 ] }',
            {"instances": 3},
            'name: "mine" input { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } instance_group { count: 3 }',
        ),
        ("max_batch_size: 4", {}, "max_batch_size: 4"),
    ],
)
def test_what_was_tuned_is_written_and_what_triton_completes_again_is_not(
    given: str, knobs: Config, written: str
) -> None:
    one = completion(given)
    assert one.written(applied(one.known, knobs)) == parsed(written)


def test_a_model_that_was_completed_without_batches_is_written_without() -> None:
    one = completion("", f'backend: "onnxruntime" {TENSORS}')
    wanted = applied(one.known, {"instances": 2, "intra_op_thread_count": 3})
    entry = 'parameters { key: "intra_op_thread_count" value { string_value: "3" } }'
    assert one.written(wanted) == parsed(f"instance_group {{ count: 2 }} {entry}")


def test_a_model_that_sets_its_largest_batch_keeps_it_and_says_where() -> None:
    one = completion("")
    assert one.keeps("max_batch_size") == ""
    fixed = Completion(one.said, one.given, one.known, fixed_batch=True)
    assert "auto_complete_config of model 'mine' sets max_batch_size to 8" in fixed.keeps("max_batch_size")
    assert fixed.keeps("instances") == ""
