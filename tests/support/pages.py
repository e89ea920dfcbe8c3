"""Pages of the documentation, followed as a reader follows them: block after block, in one folder.

A fenced block may have a mark in the line above it, which no reader sees:

`<!-- file: NAME -->`      its text is what the reader puts into that file
`<!-- not run: WHY -->`    its commands cannot be run by a test; the page says that as well, and why
`<!-- run by: FILE -->`    its commands are run by the tests in that file, which name the page
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
FENCE = re.compile(
    r"(?:^<!-- (file|not run|run by): (.+?) -->\n)?(?:^<!-- command: \w+ -->\n)?^```(\w+)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

RECIPES = ("bursty-traffic", "model-analyzer", "int8", "cost", "several-workloads")
"""Pages of the cookbook that need nothing but the Triton that Paretune starts."""
COMMAND_PAGES = ("doctor", "bench", "compare", "preview", "show", "open", "report", "export", "knobs", "schema")
COMMAND_PAGES += ("manifests",)
"""Pages of commands whose examples go on with the tutorial's runs."""
GOING_ON = ("command-line", "concepts/exit-codes", "concepts/repeatability", "report", "results", "search", "triton")
"""Other pages whose examples do."""
IN_A_CHECKOUT = ("accuracy", "workloads")
"""Pages whose reader stands beside `studies/`."""
OWN_STUDIES = {"simulated": "queue", "command": "window"}
"""Pages that bring the study with its server and its requests, and the study's name."""
GATES = ("gate", "commands/gate")
"""Pages whose studies, baselines and revisions the test puts there."""
HOSTS = ("commands/worker", "commands/status", "hosts")
"""Those of hosts that share a study; each goes on with what the one before left."""
APART = ("tutorial", "cookbook/remote-server", "cookbook/language-model", "cookbook/ci", "commands/init")
APART += ("commands/run", "locustfile", "manifests")
"""Pages each of which has a test of its own."""
FOLLOWED = {
    *(f"cookbook/{page}" for page in RECIPES),
    *(f"commands/{page}" for page in COMMAND_PAGES),
    *GOING_ON,
    *IN_A_CHECKOUT,
    *OWN_STUDIES,
    *GATES,
    *HOSTS,
    *APART,
}
"""Every page of docs/ that a test follows: it runs each shell block that has no other mark."""


@dataclass(frozen=True)
class Block:
    """A fenced block, the line where it stands, and its mark."""

    line: int
    language: str
    text: str
    file: str | None
    not_run: str | None
    run_by: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        mark, value, language, inside = found.groups()
        line = text.count("\n", 0, found.start()) + 1
        file, not_run, run_by = (value if mark == kind else None for kind in ("file", "not run", "run by"))
        yield Block(line, language, inside, file, not_run, run_by)


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
        addresses: an address on the page, or another word of it, to what the test has there.

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
        elif block.language == "sh" and block.not_run is None and block.run_by is None:
            ended = run_block(text, folder, commands)
            place = f"{page.relative_to(ROOT)}:{block.line}"
            assert ended.returncode == 0, f"{place}: exit code {ended.returncode}\n{ended.stdout}{ended.stderr}"
            printed.append(ended.stdout)
    return printed


def run_block(text: str, folder: Path, commands: Path) -> "subprocess.CompletedProcess[str]":
    """Run the lines of a block in one shell, which ends at the first that fails; their input is a pipe that is closed.

    Raises:
        subprocess.TimeoutExpired: it took five minutes; its commands were told to end.
    """
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = ["bash", "-euo", "pipefail", "-c", text]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "BROWSER": "true"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        shell,
        cwd=folder,
        env=environment,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            printed, errors = running.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGTERM)
            raise
        return subprocess.CompletedProcess(shell, running.returncode, printed, errors)
