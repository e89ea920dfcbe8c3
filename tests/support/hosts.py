"""Hosts of the tests' own that work on one study: processes of this machine, each with a server of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tuner.hosts.entries import Book
from tuner.hosts.ledger import Ledger
from tuner.hosts.patience import Patience
from tuner.storage import StorageError, close_storage, open_storage, shared

SAME = ("--within", "1000%")
"""Hosts on one busy machine count as alike whatever they measure."""


@dataclass
class Hosts:
    """Workers on one study.

    Attributes:
        folder: with the study.
        arguments: of each of them.
        environment: of each of them.
        running: name -> process.
        ended: those that ended by themselves: name, exit code, stdout and stderr.
    """

    folder: Path
    arguments: Sequence[str]
    environment: dict[str, str]
    running: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)
    ended: list[tuple[str, int, str, str]] = field(default_factory=list)
    _started: int = 0

    def start(self, *more: str) -> str:
        """Start one more and return its name; its part of the run is in the folder of that name."""
        self._started += 1
        name = f"host{self._started}"
        command = ["worker", *self.arguments, *SAME, "--name", name, "--out", name, *more]
        with self.errors_of(name).open("w") as errors:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "tuner", *command],
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        return name

    def errors_of(self, name: str) -> Path:
        """Return the file of what one said on stderr."""
        return self.folder / f"{name}.err"

    def kill(self, name: str) -> None:
        """End one as a host ends that loses its power."""
        process = self.running.pop(name)
        process.kill()
        process.communicate()

    def collect(self) -> None:
        """Take note of those that ended."""
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                out, _ = process.communicate()
                self.ended.append((name, process.returncode, out, self.errors_of(name).read_text()))
                del self.running[name]

    def wait(self, timeout_s: float = 240.0) -> list[tuple[str, int, str, str]]:
        """Wait until all have ended by themselves; return how."""
        self.until(lambda: not self.running, timeout_s)
        return self.ended

    def until(self, there: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Wait for something."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.collect()
            if there():
                return
            errors = "".join(path.read_text() for path in sorted(self.folder.glob("*.err")))
            assert time.monotonic() < deadline, errors
            time.sleep(0.1)

    def survive(self, kills: int, pause_s: tuple[float, float], rng: Random) -> int:
        """Kill workers at random moments, and start others in their place; return how many were killed."""
        done = 0
        while done < kills:
            time.sleep(rng.uniform(*pause_s))
            self.collect()
            if not self.running or any(code in (0, 4, 5) for _, code, _, _ in self.ended):
                break
            self.kill(rng.choice(sorted(self.running)))
            self.start()
            done += 1
        return done


@contextmanager
def hosts(folder: Path, *arguments: str, **environment: str) -> Iterator[Hosts]:
    """Yield workers to be started; those that still run at the end are ended."""
    made = Hosts(folder, arguments, environment)
    try:
        yield made
    finally:
        for name in list(made.running):
            made.kill(name)


@contextmanager
def watched(storage: str, name: str) -> Iterator[Callable[[], Book]]:
    """Yield what returns the entries that a storage has of a shared study; none while it is not there or is away."""
    opened = open_storage(storage, Path())
    found: list[Ledger] = []

    def book() -> Book:
        try:
            if not found:
                found.append(Ledger(shared(opened), name, Patience(0.0, lambda _: None)))
            return found[0].read()
        except StorageError:
            return Book()

    try:
        yield book
    finally:
        close_storage(opened)


def check_each_once(book: Book, trials: int) -> None:
    """Check that so many proposals were made, and that each of them was told exactly once."""
    told = [book.entries[number] for number in book.told]
    assert len(told) == trials
    assert len({entry.key for entry in told}) == trials, "measured twice"
    assert len({book.number(entry) for entry in told}) == trials
    made = {entry.key for entry in book.entries.values() if entry.kind == "proposal" and not entry.withdrawn}
    assert made == {entry.key for entry in told}, "lost"
    assert not book.held()
