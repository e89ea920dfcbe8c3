"""The user's own accuracy: a function of a Python file beside the study."""

import inspect
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = "(outputs, labels): numpy arrays of n items -> n scores"


class OwnFunctionError(Exception):
    """A user's function that cannot be used; the message says where in their file, what, and what is expected."""


@dataclass(frozen=True)
class OwnFunction:
    """A function that was loaded.

    Attributes:
        path: of its file.
        name: in it.
        call: the function.
    """

    path: Path
    name: str
    call: Callable[..., Any] = field(compare=False)

    def __call__(self, outputs: NDArray[np.generic], labels: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return a score per item.

        Args:
            outputs: [n, ...], the compared output of the items that were answered; n arrays in an object array where
                they differ in shape.
            labels: [n, ...], as the requests have them.

        Returns:
            Shape [n].

        Raises:
            OwnFunctionError: it fails, or does not give n finite numbers.
        """
        try:
            with redirect_stdout(sys.stderr):  # stdout is for results
                given = self.call(outputs, labels)
        except Exception as error:
            raise OwnFunctionError(f"{_where(error, self.path)}: {self.name} failed: {_said(error)}") from None
        expected = f"expected {len(outputs)} numbers, a score per item"
        try:
            scores = np.asarray(given, np.float64)
        except (TypeError, ValueError):
            raise OwnFunctionError(
                f"{self.path.name}: {self.name} returned {type(given).__name__}; {expected}"
            ) from None
        if scores.shape != (len(outputs),):
            raise OwnFunctionError(
                f"{self.path.name}: {self.name} returned an array of shape {list(scores.shape)}; {expected}"
            )
        if not np.isfinite(scores).all():
            index = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise OwnFunctionError(
                f"{self.path.name}: {self.name} returned {scores[index]} for item {index}; {expected}, all finite"
            )
        return scores


def load_function(folder: Path, reference: str) -> OwnFunction:
    """Load a function by `FILE:FUNCTION`: the function of FILE.py in a folder. The file is run.

    Raises:
        OwnFunctionError: there is no such file or function, running the file fails, or the function does not take two
            arguments.
    """
    module_name, _, name = reference.partition(":")
    path = folder / f"{module_name}.py"
    if not path.is_file():
        raise OwnFunctionError(f"{path}: no such file; `{reference}` is the function {name} of {module_name}.py there")
    spec = spec_from_file_location(f"paretune_accuracy_{module_name}", path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = module_from_spec(spec)
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise OwnFunctionError(f"{_where(error, path)}: cannot be run: {_said(error)}") from None
    function = getattr(module, name, None)
    if not callable(function):
        there = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise OwnFunctionError(f"{path.name} has no function {name!r}; it has {', '.join(there) or 'none'}")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise OwnFunctionError(f"{path.name}: {name} must take {SIGNATURE}") from None
    except ValueError:  # compiled code without a signature
        pass
    return OwnFunction(path, name, function)


def _where(error: BaseException, path: Path) -> str:
    """Return the last place in the user's file on the way to an error: `scores.py:12`."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path.name}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path.name}:{lines[-1]}" if lines else path.name


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
