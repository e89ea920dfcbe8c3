"""The command line: `tune STUDY.yaml` and its companions. Wires the parts together; decides nothing else."""

from tuner.cli.frame import app, main

__all__ = ["app", "main"]
