"""A command on a terminal of a given width: what it writes, and the screen that a person sees of it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

_SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+|\x1b")


class Screen:
    """The lines of a terminal, as far as a live view uses one: cursor up, erase line, carriage return, newline.

    Args:
        columns: its width; what is written beyond it goes on in the next line.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._lines = [""]
        self._row = self._column = 0
        self.cursor_shown = True

    def feed(self, text: str) -> None:
        """Take what is written."""
        for found in _SEQUENCE.finditer(text):
            self._take(found[0], found[1], found[2])

    def lines(self) -> list[str]:
        """Return what stands there."""
        return [line.rstrip() for line in self._lines]

    def _take(self, said: str, given: str | None, command: str | None) -> None:
        if said == "\r":
            self._column = 0
        elif said == "\n":
            self._row, self._column = self._row + 1, self._column if command else 0
        elif command == "A":
            self._row = max(0, self._row - int(given or 1))
        elif command == "K":
            self._lines[self._row] = ""
        elif command in ("h", "l") and given == "?25":
            self.cursor_shown = command == "h"
        elif command is None and said != "\x1b":
            for character in said:
                self._put(character)
        while len(self._lines) <= self._row:
            self._lines.append("")

    def _put(self, character: str) -> None:
        if self._column == self._columns:
            self._row, self._column = self._row + 1, 0
        while len(self._lines) <= self._row:
            self._lines.append("")
        line = self._lines[self._row].ljust(self._column)
        self._lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
        self._column += 1


class Session:
    """`tune` on a terminal: its standard error, and its standard output unless that is a file.

    Args:
        arguments: of `tune`.
        cwd: where it runs.
        columns: width of the terminal.
        stdout: a file that its output goes to instead.
    """

    def __init__(self, arguments: Sequence[object], cwd: Path, columns: int, stdout: Path | None = None) -> None:
        self._master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        out = terminal if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuner", *map(str, arguments)],
            cwd=cwd,
            env={**environment, "TERM": "xterm"},
            stdin=terminal,
            stdout=out,
            stderr=terminal,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - no threads run here
        )
        os.close(terminal)
        if stdout is not None:
            os.close(out)
        self.written = ""

    def read_until(self, text: str, timeout_s: float = 120.0) -> None:
        """Read until a text was written."""
        deadline = time.monotonic() + timeout_s
        while text not in self.written:
            assert time.monotonic() < deadline, f"no {text!r} in {self.written!r}"
            assert self._read(), f"ended without {text!r}: {self.written!r}"

    def rest(self) -> str:
        """Read to the end and wait for it; return all that was written."""
        while self._read():
            pass
        self.process.wait(timeout=60)
        os.close(self._master)
        return self.written

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal sends SIGINT to everyone in the foreground."""
        os.write(self._master, b"\x03")

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 60.0)[0]:
            return True
        try:
            found = os.read(self._master, 65536)
        except OSError:  # the last one that held the terminal has closed it
            return False
        self.written += found.decode(errors="replace")
        return bool(found)


def _take_terminal() -> None:
    """Become the leader of a session whose terminal is standard input, where Ctrl-C is not ignored."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def screens(written: str, columns: int) -> list[list[str]]:
    """Return the screen as it was each time that something had been drawn, and at the end."""
    screen, seen = Screen(columns), []
    for part in written.split("\r\x1b[2K"):
        screen.feed(part)
        seen.append(screen.lines())
        screen.feed("\r\x1b[2K")
    return seen
