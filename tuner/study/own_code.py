"""What code of the user's own needs beside it: the modules that it imports from its folder."""

import ast
from collections.abc import Iterator
from pathlib import Path


def imported_beside(file: Path) -> list[Path]:
    """Return the files of Python that a file imports from its own folder, and those that these import from there.

    Nothing is run: imports are read as they are written, wherever they stand in the code. Of a package all files of
    Python count. What a name is made for at run time is not seen, nor what is no Python.

    Args:
        file: of Python; one that cannot be read, or is no Python, imports nothing.

    Returns:
        The files, sorted, without `file` itself.
    """
    folder, found, left = file.parent, {file}, [file]
    while left:
        for name in _imported(left.pop()):
            fresh = set(_files_of(folder, name)) - found
            found |= fresh
            left += fresh
    return sorted(found - {file})


def _files_of(folder: Path, name: str) -> Iterator[Path]:
    module, package = folder / f"{name}.py", folder / name
    if package.is_dir():
        yield from (one for one in package.rglob("*.py") if "__pycache__" not in one.parts and one.is_file())
    if module.is_file():
        yield module


def _imported(file: Path) -> Iterator[str]:
    """Yield the first part of the name of each module that a file imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
