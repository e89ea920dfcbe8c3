"""Parameters of requests: values that go along with the tensors, for the model to read."""

from typing import Annotated

from pydantic import AfterValidator
from tritonclient.utils import TRITON_RESERVED_REQUEST_PARAMS, TRITON_RESERVED_REQUEST_PARAMS_PREFIX


def free(name: str) -> str:
    """Return the name of a parameter that is for the model alone.

    Raises:
        ValueError: it is none, or servers read it themselves.
    """
    if name in TRITON_RESERVED_REQUEST_PARAMS or name.startswith(TRITON_RESERVED_REQUEST_PARAMS_PREFIX) or not name:
        raise ValueError(f"Triton keeps the parameter {name!r} for itself; give it another name")
    return name


def _sendable(value: bool | int | float | str) -> bool | int | float | str:
    """Return a value that the protocol has a type for."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"a whole number takes 64 bits at most, but got {value}; give it as text")
    return value


Parameter = Annotated[bool | int | float | str, AfterValidator(_sendable)]
