"""The command line: `tune STUDY.yaml` and its companions. Wires the parts together; decides nothing else."""

import sys

from tuner.cli import exporting, helping, measuring, previewing, running
from tuner.cli.frame import INTERRUPTED, app

COMMANDS = (running, exporting, measuring, previewing, helping)
"""The modules that add their commands to the app, in the order of its help."""


def main() -> None:
    """Run the command line; every failure ends in one message and its exit code."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
