"""Command targets that are stopped at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.base import Context
from targets.command.options import CommandOptions
from targets.command.target import CommandTarget
from tests.support.command_targets import COMMAND, MakeCommand


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeCommand]:
    """Make targets of the echoing server; they are stopped at the end."""
    made = []

    def make(cpus: frozenset[int] | None = None, **options: object) -> CommandTarget:
        given = CommandOptions.model_validate({"command": COMMAND, "request": {"body": "{{ X | tojson }}"}, **options})
        made.append(CommandTarget(given, Context(tmp_path, tmp_path / "run" / "log.txt", cpus)))
        return made[-1]

    yield make
    for target in made:
        target.stop()
