"""Which exit code an error ends with. Imported when there is one: it knows the errors of every part."""

import errno

from targets.base import TargetError
from tuner.cli.frame import BAD_USAGE, NOT_VALID, TARGET_UNUSABLE
from tuner.exporting import ExportError
from tuner.gate.baseline import BaselineError
from tuner.gate.hosts import HostsDiffer
from tuner.gate.revisions import RevisionError
from tuner.head_to_head import NotOneConfig
from tuner.hosts.admission import HostDiffers, StudiesDiffer
from tuner.load.distributed.trust import AgentsUsageError
from tuner.load.generator import GeneratorError
from tuner.load.users.messages import LocustfileError
from tuner.manifests.names import ManifestError
from tuner.results import ResultError
from tuner.rundir import RunDirectoryError
from tuner.starters import StarterError
from tuner.storage import StorageError
from tuner.study.source import StudyError

_USAGE = (
    StudyError,
    RunDirectoryError,
    ResultError,
    ExportError,
    StarterError,
    NotOneConfig,
    StorageError,
    BaselineError,
    HostsDiffer,
    RevisionError,
    ManifestError,
    AgentsUsageError,
    LocustfileError,
    StudiesDiffer,
)


def code_of(error: Exception) -> tuple[int | None, str]:
    """Return the exit code of an error and what is said of it, no code for one that nobody expected."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return BAD_USAGE, f"{error.filename}: {error.strerror}; --debug shows what it was wanted for"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return BAD_USAGE, f"{error.strerror}: make room, or name another place for the run with --out"
    if isinstance(error, _USAGE):
        return BAD_USAGE, str(error)
    if isinstance(error, TargetError):
        return TARGET_UNUSABLE, str(error)
    return NOT_VALID if isinstance(error, GeneratorError | HostDiffers) else None, str(error)
