"""The run directory: where a run's files go, which one is continued, and that only one process works in it."""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from targets.hiding import HIDDEN
from tuner.files import write_atomically

_MARKER = "run.json"
MAY_CHANGE = ("search.budget", "confirm", "gate")
"""What may change in the study of an unfinished run: nothing that was measured depends on it."""
MOST_NAMED = 3
"""Differences that an error names."""


class RunDirectoryError(Exception):
    """The directory cannot be used; the message says which and the remedy."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run."""

    path: Path

    def identity(self) -> str:
        """Return what tells this run from all others, wherever their directories stand."""
        return str(json.loads((self.path / _MARKER).read_text()).get("run", self.path.name))

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
    def yours(self) -> Path:
        """The user's own files that the exported ones were made from."""
        return self.path / "yours"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / "log.txt"

    @property
    def export_log(self) -> Path:
        """The log of servers that an export was verified with; the run may still go on with its own."""
        return self.path / "export-log.txt"


@dataclass(frozen=True)
class StudyMark:
    """What tells a study from another.

    Attributes:
        fingerprint: of all that is studied: the study's values, its model, its requests.
        files: of its model and requests alone.
        given: the study's content, as it was written, without what is secret.
    """

    fingerprint: str
    files: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)


def open_run(root: Path, name: str, mark: StudyMark, out: Path | None, *, fresh: bool) -> RunDirectory:
    """Return the directory of an unfinished or finished run of this very study, or a new one.

    An unfinished run goes on with another budget too, and with other settings of its confirmation.

    Args:
        root: folder of all runs.
        name: the study's name.
        mark: what is studied.
        out: the directory itself, instead of one under `root`.
        fresh: start over; a run that stands in `out` is moved aside, never deleted.

    Raises:
        RunDirectoryError: `out` holds something else, or the unfinished run is of a study that has changed since.
    """
    if out is not None:
        return _open_given(out, mark, fresh=fresh)
    latest = root / name / "latest"
    if not fresh and (there := _mark(latest)) is not None:
        if there.fingerprint == mark.fingerprint or _goes_on(latest, there, mark):
            return RunDirectory(latest.resolve())
        if not _done(latest):
            raise RunDirectoryError(
                f"{latest.resolve()}: this run is unfinished, and {_what_changed(there, mark)}; "
                "change that back to resume it, or start over with --fresh (the old run is kept)"
            )
    path = unused(root / name / datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S"))
    run = _create(path, mark)
    _link(latest, path)
    return run


@contextmanager
def opened_anew(
    root: Path, name: str, mark: StudyMark, out: Path | None, refusals: tuple[type[Exception], ...]
) -> Iterator[RunDirectory]:
    """Open a new run, see `open_run`, and hold its lock; one that is refused goes again, and what was there is back.

    Args:
        root: folder of all runs.
        name: the study's name.
        mark: what is studied.
        out: the directory itself, instead of one under `root`.
        refusals: errors that say that there is nothing to be run.
    """
    latest = root / name / "latest"
    before = latest.readlink() if out is None and latest.is_symlink() else None
    aside = unused(out.with_name(f"{out.name}.old")) if out is not None else None
    run = open_run(root, name, mark, out, fresh=True)
    try:
        with locked(run):
            yield run
    except refusals:
        shutil.rmtree(run.path)
        if before is not None:
            _link(latest, before)
        elif out is None:
            latest.unlink()
        elif aside is not None and aside.exists():
            aside.rename(out)
        raise


def _open_given(out: Path, mark: StudyMark, *, fresh: bool) -> RunDirectory:
    there = _mark(out)
    if there is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunDirectoryError(f"--out {out}: exists and is no run of Paretune; name another directory")
    if there is not None and not fresh:
        if there.fingerprint == mark.fingerprint or _goes_on(out, there, mark):
            return RunDirectory(out.resolve())
        raise RunDirectoryError(
            f"--out {out}: holds another run: {_what_changed(there, mark)}; "
            "name another directory, or start over with --fresh (the old run is kept beside it)"
        )
    if there is not None:
        out.rename(unused(out.with_name(f"{out.name}.old")))
    return _create(out.resolve(), mark)


def _goes_on(path: Path, there: StudyMark, mark: StudyMark) -> bool:
    """Whether an unfinished run may go on with a study that has changed; if so, the change is noted."""
    found = changes(there.given, mark.given)
    if (
        _done(path)
        or there.files != mark.files
        or not found
        or not all(place.startswith(MAY_CHANGE) for place, _, _ in found)
    ):
        return False
    _write_mark(path, mark, RunDirectory(path).identity())
    return True


def _done(path: Path) -> bool:
    try:
        return bool(json.loads((path / "result.json").read_text())["state"] == "done")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _what_changed(there: StudyMark, mark: StudyMark) -> str:
    if not there.given:
        return "it is of another study"
    if there.files != mark.files:
        return "its model or its requests have changed since"
    found = [f"{place} was {before} and is {after}" for place, before, after in changes(there.given, mark.given)]
    if not found and (secret := [place for place, value in _flat(mark.given).items() if HIDDEN in value]):
        return f"{' or '.join(secret)}, of which no run keeps the value, is another one now"
    more = f" (and {len(found) - MOST_NAMED} more)" if len(found) > MOST_NAMED else ""
    return "; ".join(found[:MOST_NAMED]) + more if found else "it is of another version of Paretune"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return place, value before and value after of what differs between two studies."""
    one, other = _flat(before), _flat(after)
    places = dict.fromkeys([*one, *other])
    pairs = ((place, one.get(place, "absent"), other.get(place, "absent")) for place in places)
    return [(place, was, now) for place, was, now in pairs if was != now]


def _flat(data: Mapping[str, Any], place: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{place}{key}.")
        else:
            found[f"{place}{key}"] = json.dumps(value, default=str).replace('"', "")
    return found


def _create(path: Path, mark: StudyMark) -> RunDirectory:
    try:
        (path / "records").mkdir(parents=True, exist_ok=True)
        _write_mark(path, mark, uuid.uuid4().hex)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be written ({error.strerror}); name another with --out") from None
    return RunDirectory(path)


def _write_mark(path: Path, mark: StudyMark, run: str) -> None:
    content = {"run": run, "fingerprint": mark.fingerprint, "files": mark.files, "study": mark.given}
    write_atomically(path / _MARKER, json.dumps(content, indent=1, default=str) + "\n")


def _mark(path: Path) -> StudyMark | None:
    try:
        content = json.loads((path / _MARKER).read_text())
        return StudyMark(str(content["fingerprint"]), str(content.get("files", "")), dict(content.get("study", {})))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unused(path: Path) -> Path:
    """Return a path that nothing stands at: the given one, or with a number behind it."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate


def make_latest(root: Path, name: str, run: RunDirectory) -> None:
    """Have `latest` of a study name a run, where that stands beside it."""
    if run.path.resolve().parent == (root / name).resolve():
        _link(root / name / "latest", run.path)


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
    backup = unused(path.with_name(f"{path.name}.bak"))
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


def read_files(folder: Path) -> dict[Path, str]:
    """Return path -> text of what `write_files` wrote into a folder, in the order of the paths; {} without a folder.

    A file that is no text was put there by somebody else, and is left out.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with suppress(UnicodeDecodeError):
                found[path.relative_to(folder)] = path.read_bytes().decode()
    return found
