"""Pages of the documentation, followed as a reader follows them: block after block, in one folder.

A fenced block may have a mark in the line above it, which no reader sees:

`<!-- file: NAME -->`      its text is what the reader puts into that file
`<!-- not run: WHY -->`    its commands cannot be run by a test; WHY stands in the page as well
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"(?:^<!-- (file|not run): (.+?) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, the line where it stands, and its mark."""

    line: int
    language: str
    text: str
    file: str | None
    not_run: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        mark, value, language, inside = found.groups()
        line = text.count("\n", 0, found.start()) + 1
        yield Block(line, language, inside, value if mark == "file" else None, value if mark == "not run" else None)


def make_commands(folder: Path) -> Path:
    """Make a folder with a `tune` that takes little time; it stands first on the PATH of a page's commands."""
    folder.mkdir()
    short = folder / "tune"
    short.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.support.short_tune "$@"\n')
    short.chmod(0o755)
    return folder


def follow(page: Path, folder: Path, commands: Path, addresses: Mapping[str, str] | None = None) -> list[str]:
    """Write a page's files and run its shell blocks in a folder; return what each block printed.

    Args:
        page: the page.
        folder: where the reader stands.
        commands: see `make_commands`.
        addresses: an address on the page to the one that the test has there.

    Raises:
        AssertionError: a block failed; it says which, and what it printed.
    """
    printed = []
    for block in blocks(page):
        text = block.text
        for shown, real in (addresses or {}).items():
            text = text.replace(shown, real)
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(text)
        elif block.language == "sh" and block.not_run is None:
            ended = run_block(text, folder, commands)
            place = f"{page.relative_to(ROOT)}:{block.line}"
            assert ended.returncode == 0, f"{place}: exit code {ended.returncode}\n{ended.stdout}{ended.stderr}"
            printed.append(ended.stdout)
    return printed


def run_block(text: str, folder: Path, commands: Path) -> "subprocess.CompletedProcess[str]":
    """Run the lines of a block in one shell, which ends at the first that fails.

    Raises:
        subprocess.TimeoutExpired: it took five minutes; its commands were told to end.
    """
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = ["bash", "-euo", "pipefail", "-c", text]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "BROWSER": "true"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        shell, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as running:
        try:
            printed, errors = running.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGTERM)
            raise
        return subprocess.CompletedProcess(shell, running.returncode, printed, errors)
