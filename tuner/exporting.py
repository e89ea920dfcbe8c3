"""What a stored run exports: its study and its model are read again, nothing is started."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from targets.base import Config, Export, TargetError
from tuner.pick import NothingToPick, Pick, picked
from tuner.provenance import marked, signed, without_header
from tuner.results import Result
from tuner.rundir import RunDirectory
from tuner.space import server_part
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import Prepared, prepare


class ExportError(Exception):
    """A run that has nothing to export, or a place where it cannot be written; the message says the remedy."""


@dataclass(frozen=True)
class Exported:
    """A configuration of a run, written into the user's files as they are now.

    Attributes:
        export: the files, and what goes with them.
        prepared: the study and the target that made them.
        changed: files of the user's that are no longer what they were in the run.
        config: of the server: knob -> value.
    """

    export: Export
    prepared: Prepared
    changed: Sequence[Path]
    config: Config


def exported(
    result: Result, directory: RunDirectory, number: int | None, pick: Pick = "best", *, header: bool = True
) -> Exported:
    """Return the export of the configuration of a run that is picked, or of a trial.

    Args:
        result: of the run.
        directory: of the run.
        number: of the trial, None for what is picked.
        pick: which configuration of the run.
        header: whether the files say where they come from.

    Raises:
        ExportError: there is no such configuration, or the study or its model is not there any more.
    """
    try:
        number = picked(result, pick) if number is None else number
        config = result.trial(number).config
    except NothingToPick as error:
        raise ExportError(str(error)) from None
    except KeyError:
        numbers = ", ".join(str(one.number) for one in result.trials)
        raise ExportError(f"--trial {number}: no such trial; there are {numbers}") from None
    prepared = prepared_again(result, directory)
    if prepared is None:
        raise ExportError(
            f"the study {result.study.path} and its model repository are needed, and are not there any more"
        )
    own = server_part(config)
    made = prepared.target.export(own)
    changed = _changed(made, directory)
    if header:
        made = signed(made, result.study.name, directory.path.name, result.environment, number, result.best)
    else:
        made = marked(made, ())
    return Exported(made, prepared, changed, own)


def _changed(export: Export, directory: RunDirectory) -> list[Path]:
    """Return the user's files that are neither what the run started from nor what it wrote."""
    return [
        path
        for path, text in export.originals.items()
        if (yours := _text(directory.yours / path)) is not None
        and without_header(text) not in (without_header(yours), without_header(_text(directory.best / path) or ""))
    ]


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def prepared_again(result: Result, directory: RunDirectory) -> Prepared | None:
    """Read a run's study and model again, None when they are not there any more."""
    # Nothing is started or searched: the CPUs that it names and the sampler need not be here.
    overrides = [*result.study.overrides, "isolation=none", "search.sampler=auto"]
    try:
        return prepare(load_study(Path(result.study.path), overrides, result.study.text), directory.log)
    except (StudyError, TargetError):
        return None
