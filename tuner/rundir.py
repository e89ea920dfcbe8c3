"""The run directory: where a run's files go, which one is continued, and that only one process works in it."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuner.results import write_atomically

_MARKER = "run.json"


class RunDirectoryError(Exception):
    """The directory cannot be used; the message says which and the remedy."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run."""

    path: Path

    @property
    def study_db(self) -> Path:
        """Optuna's storage with every trial."""
        return self.path / "study.db"

    @property
    def result(self) -> Path:
        """The result document."""
        return self.path / "result.json"

    @property
    def records(self) -> Path:
        """Records of the requests."""
        return self.path / "records"

    @property
    def best(self) -> Path:
        """The exported configuration."""
        return self.path / "best"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / "log.txt"


def open_run(root: Path, name: str, fingerprint: str, out: Path | None, *, fresh: bool) -> RunDirectory:
    """Return the directory of an unfinished or finished run of this very study, or a new one.

    Args:
        root: folder of all runs.
        name: the study's name.
        fingerprint: what is studied; another fingerprint is another study.
        out: the directory itself, instead of one under `root`.
        fresh: start over; a run that stands in `out` is moved aside, never deleted.

    Raises:
        RunDirectoryError: `out` holds something else.
    """
    if out is not None:
        return _open_given(out, fingerprint, fresh=fresh)
    latest = root / name / "latest"
    if not fresh and _fingerprint(latest) == fingerprint:
        return RunDirectory(latest.resolve())
    path = _unused(root / name / datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S"))
    run = _create(path, fingerprint)
    _link(latest, path)
    return run


def _open_given(out: Path, fingerprint: str, *, fresh: bool) -> RunDirectory:
    there = _fingerprint(out)
    if there is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunDirectoryError(f"--out {out}: exists and is no run of Paretune; name another directory")
    if there == fingerprint and not fresh:
        return RunDirectory(out.resolve())
    if there is not None and not fresh:
        raise RunDirectoryError(
            f"--out {out}: holds a run of another study, or of this one before it or its model changed; "
            "name another directory, or start over with --fresh (the old run is kept beside it)"
        )
    if there is not None:
        out.rename(_unused(out.with_name(f"{out.name}.old")))
    return _create(out.resolve(), fingerprint)


def _create(path: Path, fingerprint: str) -> RunDirectory:
    try:
        (path / "records").mkdir(parents=True, exist_ok=True)
        (path / _MARKER).write_text(json.dumps({"fingerprint": fingerprint}) + "\n")
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be written ({error.strerror}); name another with --out") from None
    return RunDirectory(path)


def _fingerprint(path: Path) -> str | None:
    try:
        return str(json.loads((path / _MARKER).read_text())["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unused(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate


def _link(link: Path, target: Path) -> None:
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(target.name)
    temporary.replace(link)


@contextmanager
def locked(run: RunDirectory) -> Iterator[None]:
    """Hold the directory's lock.

    Raises:
        RunDirectoryError: another process holds it.
    """
    with (run.path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunDirectoryError(
                f"{run.path}: another tune works on this run; wait for it, or use --fresh"
            ) from None
        yield


def back_up(path: Path) -> Path | None:
    """Move an existing file or folder aside and return its new place, None when there was nothing."""
    if not path.exists():
        return None
    backup = _unused(path.with_name(f"{path.name}.bak"))
    shutil.move(path, backup)
    return backup


def write_files(folder: Path, files: Mapping[Path, str]) -> None:
    """Write files into a folder, which is made anew; what stood there is kept beside it.

    Args:
        folder: where to.
        files: path in the folder -> text; without any nothing is done.
    """
    if not files:
        return
    back_up(folder)
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text)
