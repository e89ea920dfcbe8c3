"""Starter studies: what `tune init` writes."""

import shutil
from pathlib import Path

import studies


class StarterError(Exception):
    """A starter that cannot be written; the message says why and the remedy."""


def write_starter(kind: str, directory: Path) -> Path:
    """Write a starter study, with its model where it has one, and return its path. What is there already stays.

    Args:
        kind: `triton`, or `digits`.
        directory: where to put it; made if need be.

    Raises:
        StarterError: an unknown kind, or a file of that name is there already.
    """
    source = Path(studies.__path__[0])
    starters = {"triton": source / "templates" / "triton.yaml", "digits": source / "digits.yaml"}
    if kind not in starters:
        raise StarterError(f"no starter study {kind!r}; there are: {', '.join(starters)}")
    target = directory / f"{'study' if kind == 'triton' else kind}.yaml"
    folder = directory / "digits"
    for path in [target, *([folder] if kind == "digits" else [])]:
        if path.exists():
            raise StarterError(f"{path} is there already; move it away, or give another folder with --to")
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(starters[kind], target)
    if kind == "digits":
        shutil.copytree(source / "digits", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return target
