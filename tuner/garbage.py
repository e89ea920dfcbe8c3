"""Python's search for garbage, put off where there is none: it looks through everything there is, again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keeping_all() -> Iterator[None]:
    """Let nobody look for garbage meanwhile: for what makes millions of values that are all in use."""
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()
