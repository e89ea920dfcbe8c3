"""Whether requests are what a model and its variants take."""

from collections.abc import Mapping

from targets.base import TargetError
from targets.common import a_dataset
from targets.triton.config import ModelConfig
from targets.triton.wire import check_inputs, check_sequences, described, in_types_of
from targets.triton.wire_stream import check_labels
from workloads.requests import Requests


def check_requests(requests: Requests, own: ModelConfig, variants: Mapping[str, ModelConfig]) -> None:
    """Check that requests have every input of the user's model, and of its variants, in its type and shape.

    For a variant floats are rounded to the type that it takes.

    Args:
        requests: to be sent to all of them.
        own: configuration of the user's model.
        variants: name -> its configuration.

    Raises:
        TargetError: naming the variant, the input, what it wants and what the requests have.
    """
    _check(requests, own)
    for name, config in variants.items():
        try:
            _check(requests, config, rounds=True)
        except TargetError as error:
            raise TargetError(
                f"target.variants.{name}: {error}; a variant is sent the same requests as the user's model, so give "
                "it a model with the same inputs, or take it out"
            ) from None


def _check(requests: Requests, config: ModelConfig, *, rounds: bool = False) -> None:
    check_labels(requests, config)
    dataset = a_dataset(requests, described(config, "").inputs)
    check_inputs(in_types_of(dataset, config) if rounds else dataset, config)
    check_sequences(dataset, config)
