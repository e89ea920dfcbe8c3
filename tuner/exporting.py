"""What a stored run exports: its study and its model are read again, nothing is started."""

from pathlib import Path

from targets.base import Export, TargetError
from tuner.pick import NothingToPick, Pick, picked
from tuner.results import Result
from tuner.rundir import RunDirectory
from tuner.space import server_part
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import Prepared, prepare


class ExportError(Exception):
    """A run that has nothing to export; the message says why and the remedy."""


def exported(result: Result, directory: RunDirectory, number: int | None, pick: Pick = "best") -> Export:
    """Return the export of the configuration of a run that is picked, or of a trial.

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
    return prepared.target.export(server_part(config))


def prepared_again(result: Result, directory: RunDirectory) -> Prepared | None:
    """Read a run's study and model again, None when they are not there any more."""
    # Nothing is started or searched: the CPUs that it names and the sampler need not be here.
    overrides = [*result.study.overrides, "isolation=none", "search.sampler=auto"]
    try:
        return prepare(load_study(Path(result.study.path), overrides, result.study.text), directory.log)
    except (StudyError, TargetError):
        return None
