"""Judge Triton's answers in the load generator: they are those of the Open Inference Protocol."""

from targets.kserve.judge import HEADER_LENGTH, header_value, judge, judge_grpc

__all__ = ["HEADER_LENGTH", "header_value", "judge", "judge_grpc"]
