"""Triton's model configuration as the Open Inference Protocol's description of a model."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from targets.base import Endpoint
from targets.kserve import wire
from targets.kserve.wire import ModelSpec
from workloads.datatypes import STRINGS
from workloads.requests import Dataset, TensorSpec


class Wire(Protocol):
    """One protocol: requests encoded, answers decoded."""

    def endpoint(
        self, dataset: Dataset, config: model_config_pb2.ModelConfig, model: str, host: str, port: int
    ) -> Endpoint:
        """Encode each item of a dataset, as one request to `model` that has all outputs of `config` sent back."""
        ...

    def decode(self, answer: bytes, config: model_config_pb2.ModelConfig) -> Mapping[str, NDArray[np.generic]]:
        """Return the output tensors of one answer that was ok, each with the batch axis first."""
        ...


def described(config: model_config_pb2.ModelConfig, name: str) -> ModelSpec:
    """Return what a model takes and gives, under the name that requests ask for.

    Models that batch get each item with a leading batch axis of 1.
    """
    inputs = (
        TensorSpec(tensor.name, _datatype(tensor), tuple(tensor.dims), tensor.optional) for tensor in config.input
    )
    return ModelSpec(name, tuple(inputs), output_names(config), config.max_batch_size > 0)


def output_names(config: model_config_pb2.ModelConfig) -> tuple[str, ...]:
    """Return the names of a model's outputs."""
    return tuple(tensor.name for tensor in config.output)


def check_inputs(dataset: Dataset, config: model_config_pb2.ModelConfig) -> None:
    """Check that a dataset has every input of the model, in its type and shape.

    Raises:
        TargetError: naming the input, what the model wants and what the dataset has.
    """
    wire.check_inputs(dataset, described(config, config.name))


def _datatype(tensor: Any) -> str:
    """Return a tensor's type as the inference protocol spells it: TYPE_FP32 -> FP32, TYPE_STRING -> BYTES."""
    name: str = model_config_pb2.DataType.Name(tensor.data_type)
    return STRINGS if name == "TYPE_STRING" else name.removeprefix("TYPE_")
