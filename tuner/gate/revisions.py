"""Two revisions of a repository beside one another, each checked out in a folder of its own for as long as needed."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 300
_SHORT = 12


class RevisionError(Exception):
    """A revision that cannot be checked out; the message has git's own reason."""


@dataclass(frozen=True)
class CheckedOut:
    """A study at a revision.

    Attributes:
        label: the revision as it was named, and the commit that it is.
        study: the study file.
    """

    label: str
    study: Path


@contextmanager
def checked_out(study: Path, revisions: tuple[str, str]) -> Iterator[tuple[CheckedOut, CheckedOut]]:
    """Check two revisions of a study's repository out; yield the study in each.

    The folders are git worktrees, so that filters and attributes hold; they are removed on the way out. The user's own
    checkout is left alone, what is not committed there is in neither.

    Args:
        study: the study file, in a checkout of the repository.
        revisions: whatever git takes for a commit.

    Raises:
        RevisionError: the study is in no repository, a revision is unknown, or the study is not in it.
    """
    folder = study.resolve().parent
    top = Path(_git(folder, "rev-parse", "--show-toplevel"))
    inside = study.resolve().relative_to(top.resolve())
    commits = [_git(folder, "rev-parse", "--verify", "--quiet", f"{one}^{{commit}}", of=one) for one in revisions]
    with ExitStack() as stack:
        root = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="paretune-revisions-", ignore_cleanup_errors=True))
        )
        found = []
        for name, revision, commit in zip(("old", "new"), revisions, commits, strict=True):
            place = root / name
            _git(folder, "worktree", "add", "--detach", "--quiet", str(place), commit, of=revision)
            stack.callback(_removed, folder, place)
            if not (place / inside).is_file():
                raise RevisionError(f"{revision}: has no {inside}; name revisions that have the study")
            found.append(CheckedOut(_label(revision, commit), place / inside))
        yield found[0], found[1]


def without_changes(study: Path, revision: str) -> str:
    """Say that a revision is what is checked out, without its changes that are not committed; "" where there are none.

    Args:
        study: the study file, in a checkout of the repository.
        revision: whatever git takes for a commit.
    """
    folder = study.resolve().parent
    here, _, changed = commit_of(folder).partition(", ")
    if not changed or _git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", of=revision) != here:
        return ""
    return f"{revision} is what is checked out here, but for the changes that are not committed: no side has these"


def _removed(folder: Path, place: Path) -> None:
    """Forget a worktree. One that cannot be removed costs no verdict: it is in a temporary folder, which goes next."""
    with suppress(RevisionError):
        _git(folder, "worktree", "remove", "--force", str(place))


def _label(revision: str, commit: str) -> str:
    """Return a revision with its commit: `HEAD` and a branch are another one tomorrow."""
    return revision if commit.startswith(revision) else f"{revision} ({commit[:_SHORT]})"


def commit_of(folder: Path) -> str:
    """Return the commit that a folder is checked out at, and that files differ from it; "" where git tells none."""
    try:
        commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except RevisionError:
        return ""
    return f"{commit}, changed" if changed else commit


def blobs(folder: Path, path: str) -> list[tuple[str, str]]:
    """Return every version of a file that the history of the current commit has, the oldest first.

    Args:
        folder: in the repository.
        path: of the file, relative to `folder`.

    Returns:
        (short name of the commit, content) pairs.

    Raises:
        RevisionError: there is no such repository, or git fails.
    """
    commits = _git(folder, "log", "--format=%h", "--reverse", "--diff-filter=AM", "--", path).split()
    return [(commit, _git(folder, "show", f"{commit}:./{path}")) for commit in commits]


def files(folder: Path) -> list[str]:
    """Return the JSON files that a folder has or had in the history of the current commit. Raises RevisionError.

    They are relative to the folder, in order of their names.
    """
    logged = ("log", "--format=", "--name-only", "--no-renames", "--diff-filter=AM", "--relative", "-z", "--", "*.json")
    return sorted({one for one in _git(folder, *logged).split("\0") if one})


def _git(folder: Path, *arguments: str, of: str = "") -> str:
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise RevisionError("git: is not installed; two revisions are checked out with it") from None
    except subprocess.TimeoutExpired:
        raise RevisionError(f"git {arguments[0]}: took over {_TIMEOUT_S} s") from None
    if ended.returncode:
        said = " ".join(ended.stderr.split()) or "no such revision"
        raise RevisionError(f"{of or folder}: git {arguments[0]}: {said}")
    return ended.stdout.strip()
