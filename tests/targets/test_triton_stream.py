"""Answers of a stream, read without protobuf's library, held against messages that it makes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from targets.base import Outcome, Piece
from targets.triton.stream import judge, read_answer


def answered(final: bool | None, outputs: int, error: str = "", **texts: str) -> bytes:
    message = service_pb2.ModelStreamInferResponse(error_message=error)
    response = message.infer_response
    response.model_name = "model"
    for name, text in texts.items():
        response.parameters[name].string_param = text
    if final is not None:
        response.parameters["triton_final_response"].bool_param = final
    for index in range(outputs):
        response.outputs.add(name=f"OUT{index}", datatype="FP32", shape=[1, 2**40])
        response.raw_output_contents.append(b"\x28\x00" * 300)
    return message.SerializeToString()


@given(
    st.sampled_from([None, False, True]),
    st.integers(0, 3),
    st.dictionaries(st.text("abc", min_size=1), st.text(max_size=300), max_size=3),
)
def test_an_answer_counts_when_it_has_outputs_and_is_the_last_when_it_says_so(
    final: bool | None, outputs: int, texts: dict[str, str]
) -> None:
    message = answered(final, outputs, **texts)
    assert read_answer(message) == min(1, outputs)
    assert judge(0, message) is (Outcome.OK if final else Outcome.MALFORMED)


def test_an_error_is_a_failure() -> None:
    assert read_answer(answered(None, 0, "it broke")) == Piece(0, failed=True, reason=b"it broke")
    assert read_answer(answered(True, 1, "it broke")) == Piece(0, failed=True, reason=b"it broke")


@given(st.binary(max_size=60))
def test_other_bytes_are_no_answer_and_no_other_error(message: bytes) -> None:
    for read in (read_answer, lambda one: judge(0, one)):
        try:
            read(message)
        except ValueError:
            continue


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_message_that_is_cut_off_is_no_answer(cut: int) -> None:
    with pytest.raises(ValueError, match=r"in a message that has|does not end"):
        read_answer(answered(True, 1)[:-cut])
