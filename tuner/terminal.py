"""What the command line says beside its results, and how it is stopped."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console


def note(message: str) -> None:
    """Say something on stderr."""
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


def shown(path: Path) -> str:
    """Return a path as the user would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end a run the way Ctrl-C does."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
