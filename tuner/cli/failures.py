"""Which exit code an error ends with. Imported when there is one: it knows the errors of every part."""

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


def code_of(error: Exception) -> int | None:
    """Return the exit code of an error that its message explains, None for one that nobody expected."""
    if isinstance(error, _USAGE):
        return BAD_USAGE
    if isinstance(error, TargetError):
        return TARGET_UNUSABLE
    return NOT_VALID if isinstance(error, GeneratorError | HostDiffers) else None
