"""Starter studies: what `tune init` writes."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import studies
from tuner.analyzer_values import ImportRefused
from tuner.model_analyzer import study_text


class StarterError(Exception):
    """A starter that cannot be written; the message says why and the remedy."""


@dataclass(frozen=True)
class Starter:
    """A study to start from.

    Attributes:
        study: its file, from the folder of studies.
        target: the name that it gets.
        folder: what belongs to it and goes with it, None where it needs nothing.
    """

    study: str
    target: str
    folder: str | None = None


STARTERS = {
    "triton": Starter("templates/triton.yaml", "study.yaml"),
    "digits": Starter("digits.yaml", "digits.yaml", "digits"),
    "mlserver": Starter("mlserver.yaml", "mlserver.yaml", "mlserver"),
    "vllm-cpu": Starter("vllm-cpu.yaml", "vllm-cpu.yaml", "vllm"),
}


def write_imported(analyzer: Path, directory: Path, model: str | None) -> Path:
    """Write a study made of a configuration of Model Analyzer and return its path. What is there already stays.

    Args:
        analyzer: its YAML file.
        directory: where to put the study; made if need be.
        model: which of its models; may be None where there is one.

    Raises:
        StarterError: the configuration cannot be taken over, or the study's file is there already.
    """
    target = directory / "study.yaml"
    if target.exists():
        raise StarterError(f"{target} is there already; move it away, or give another folder with --to")
    try:
        text = study_text(analyzer, directory, model)
    except ImportRefused as error:
        raise StarterError(str(error)) from None
    directory.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def write_starter(kind: str, directory: Path) -> Path:
    """Write a starter study, with what belongs to it, and return its path. What is there already stays.

    Args:
        kind: one of STARTERS.
        directory: where to put it; made if need be.

    Raises:
        StarterError: an unknown kind, or a file of that name is there already.
    """
    if kind not in STARTERS:
        raise StarterError(f"no starter study {kind!r}; there are: {', '.join(STARTERS)}")
    source, starter = Path(studies.__path__[0]), STARTERS[kind]
    target = directory / starter.target
    for path in [target, *([directory / starter.folder] if starter.folder else [])]:
        if path.exists():
            raise StarterError(f"{path} is there already; move it away, or give another folder with --to")
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / starter.study, target)
    if starter.folder:
        made = shutil.ignore_patterns("__pycache__", "llama")  # a model that vllm/make_model.py made
        shutil.copytree(source / starter.folder, directory / starter.folder, ignore=made)
    return target
