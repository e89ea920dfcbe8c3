"""The page of the command target, taken by its word: its server, its requests and its study."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "command.md"


def blocks(language: str) -> list[str]:
    """Return the page's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def write_study(folder: Path) -> Path:
    """Do in a folder what the page says up to `tune study.yaml`; return the study."""
    (server,) = blocks("python")
    (folder / "server.py").write_text(server)
    (study,) = [block for block in blocks("yml") if block.startswith("study:")]
    (folder / "study.yaml").write_text(study)
    program, *_ = blocks("sh")
    name, *arguments = shlex.split(program)
    assert name == "python"
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True)
    return folder / "study.yaml"
