"""What a study may say of the requests to Triton."""

import pytest
from pydantic import ValidationError

from targets.triton.options import TritonOptions

MODEL = {"model": "m", "repository": "models"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"protocol": "grpc", "tensors": "json"}, "JSON goes over HTTP only; give `protocol: http`"),
        ({"tensors": "json", "outputs": "shared_memory"}, "with `tensors: json` outputs come as JSON too"),
        ({"streaming": True}, "answers are streamed over gRPC only; give `protocol: grpc`"),
        (
            {"protocol": "grpc", "outputs": "shared_memory", "streaming": True},
            "the answers to one request would overwrite each other",
        ),
        ({"parameters": {"priority": 1}}, "Triton itself reads 'priority'; give `priority` of a class"),
        ({"parameters": {"timeout": 1}}, "Triton itself reads 'timeout'; give `target.queue_timeout`"),
        ({"parameters": {"sequence_id": 1}}, "Triton keeps the parameter 'sequence_id' for itself"),
        ({"parameters": {"triton_x": 1}}, "Triton keeps the parameter 'triton_x' for itself"),
        ({"parameters": {"big": 2**63}}, "a whole number takes 64 bits at most, but got 9223372036854775808"),
        ({"parameters": {"none": None}}, "parameters"),
        ({"queue_timeout": "0 us"}, "greater than 0"),
        ({"cache_size": 1}, "greater than or equal to 1024"),
        ({"tensors": "sharedmemory"}, "'binary', 'json', 'shared_memory' or 'cuda_shared_memory'"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_remedy(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TritonOptions.model_validate({**MODEL, **given})
    assert message in str(caught.value)


def test_a_parameter_keeps_its_type() -> None:
    given = {"yes": True, "whole": 1, "real": 1.0, "text": "1"}
    options = TritonOptions.model_validate({**MODEL, "parameters": given})
    assert [(name, type(value)) for name, value in options.parameters.items()] == [
        ("yes", bool),
        ("whole", int),
        ("real", float),
        ("text", str),
    ]


def test_only_a_stream_has_tokens_and_only_a_cache_has_metrics() -> None:
    plain = TritonOptions.model_validate(MODEL)
    assert not plain.streams
    assert plain.metrics() == ()
    streamed = TritonOptions.model_validate({**MODEL, "protocol": "grpc", "streaming": True, "cache_size": 2048})
    assert streamed.streams
    assert [metric.name for metric in streamed.metrics()] == ["cache_hit_rate"]
