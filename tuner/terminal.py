"""What the command line says beside its results, and how it is stopped."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

STOPPED = 130
_SHOW_CURSOR = "\x1b[?25h"


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that prints every text as it is, in tables too.

    Rich would take `[x]` for markup, which vanishes or is an error, and `model.py:100:` for a picture of 100 points.

    Args:
        stderr: print there instead of on stdout.
        width: in columns, None for that of the terminal.
    """
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def wide_console(least: int) -> Console:
    """Return a console for a table on stdout: as wide as the terminal, or `least` columns where there is none."""
    columns = shutil.get_terminal_size().columns
    return plain_console(width=columns if sys.stdout.isatty() else max(least, columns))


def note(message: str) -> None:
    """Say something on stderr."""
    plain_console(stderr=True).print(message, soft_wrap=True)


def unsaid(_message: str) -> None:
    """Say nothing, in the place of `note`."""


def shown(path: Path) -> str:
    """Return a path as the user would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a run with what there is, and a second one at once.

    The first raises KeyboardInterrupt. A second one ends this process without another step; the guardian then ends the
    server, as it does when this process is killed.
    """
    asked: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        if asked:
            _end_at_once()
        asked.append(number)
        os.write(sys.stderr.fileno(), b"\ninterrupted: finishing with what there is; again to stop at once\n")
        raise KeyboardInterrupt

    numbers = [one for one in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once() -> None:
    """End without another step, the cursor shown: what draws may have hidden it."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
    os._exit(STOPPED)
