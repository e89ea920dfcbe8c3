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


_NO_ROOM = "make room, or name another place: for a run with --out"
_NO_FOLDER = "a file stands where a folder is needed: name another folder, or move the file away"
_NOT_ALLOWED = "you may not do that there: have the permissions changed, or name another place"
_WITHOUT_PLACE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EROFS: "nothing can be written there: name another place, for a run with --out",
}
"""What to do about an error of the system, where it need not be said which file it is about."""
_REMEDIES = {
    **_WITHOUT_PLACE,
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EISDIR: "a folder stands where a file is needed: name another file",
    errno.ENOENT: "there is nothing: check how its path is written",
}
"""What to do about an error with a file."""


def code_of(error: Exception) -> tuple[int | None, str]:
    """Return the exit code of an error and what is said of it, no code for one that nobody expected."""
    if isinstance(error, OSError) and (said := _of_file(error)):
        return BAD_USAGE, said
    if isinstance(error, _USAGE):
        return BAD_USAGE, str(error)
    if isinstance(error, TargetError):
        return TARGET_UNUSABLE, str(error)
    return NOT_VALID if isinstance(error, GeneratorError | HostDiffers) else None, str(error)


def _of_file(error: OSError) -> str:
    """Return what is said of an error of the system, with the remedy; "" where it is about no file."""
    code = error.errno or 0
    if error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; {_REMEDIES.get(code, '--debug shows what it was wanted for')}"
    return f"{error.strerror}; {_WITHOUT_PLACE[code]}" if code in _WITHOUT_PLACE else ""
