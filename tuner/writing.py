"""Files written where a user's own stand: all or none is begun, each whole or not at all, what was there is kept."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from targets.exports import Export
from tuner.exporting import ExportError
from tuner.files import write_atomically
from tuner.rundir import unused

_WRITABLE = 0o222


@dataclass(frozen=True)
class Written:
    """A file that says what it shall.

    Attributes:
        path: where it stands.
        backup: what stood there before, None where nothing did.
        changed: whether it had to be written.
    """

    path: Path
    backup: Path | None
    changed: bool


def write_all(texts: Mapping[Path, str]) -> list[Written]:
    """Write files; what stood there before is kept beside each.

    Nothing is written before everything has been checked and kept.

    Args:
        texts: path -> content. Folders that are missing are made.

    Raises:
        ExportError: a place cannot be written. Files that were written before it stay, and their backups are named.
    """
    places = {path.resolve(): text.encode() for path, text in texts.items()}  # a link stays one
    for path in places:
        _check(path)
    done: list[Written] = []
    try:
        backups = {path: _kept(path) for path, content in places.items() if _content(path) != content}
        for path, content in places.items():
            done.append(Written(path, backups.get(path), path in backups))
            if path in backups:
                mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
                write_atomically(path, content, mode)
    except OSError as error:
        raise ExportError(f"{error.filename}: cannot be written: {error.strerror}{kept(done)}") from None
    return done


def put_back(written: Sequence[Written]) -> None:
    """Undo what was written: backups take their places again, and files that were new go."""
    for one in written:
        if one.backup is not None:
            one.backup.replace(one.path)
        elif one.changed:
            one.path.unlink(missing_ok=True)


def copy_all(export: Export, to: Path, *, link: bool) -> list[Path]:
    """Copy the folders and files of the user's that an export needs, but for the files that it brings itself.

    Each appears in its place whole or not at all.

    Args:
        export: with its folders; links in them are followed.
        to: the folder to copy into, which is made.
        link: make hard links to the files instead of copies.

    Returns:
        Where they stand.

    Raises:
        ExportError: something stands there already, cannot be copied, or cannot be linked.
    """
    places = {to / relative: source for relative, source in export.folders.items()}
    for place, source in places.items():
        if place.is_file() or (place.is_dir() and any(place.iterdir())):
            raise ExportError(f"{place}: stands there already; give an empty folder with --to")
        if place.resolve().is_relative_to(source.resolve()):
            raise ExportError(f"{place}: is inside of what is to be copied; give a folder elsewhere with --to")
    own = frozenset(export.places.values())
    try:
        for place, source in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, place, own, _linked if link else shutil.copy2)
    except shutil.Error as error:
        raise ExportError(f"{to}: not everything could be copied: {error.args[0][0][2]}{_instead(link)}") from None
    except OSError as error:
        raise ExportError(f"{error.filename}: cannot be copied: {error.strerror}{_instead(link)}") from None
    return list(places)


def take_away(places: Sequence[Path], to: Path) -> None:
    """Undo `copy_all`: what was copied goes, and the folders that are empty then, but for the one copied into."""
    for place in places:
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
        for folder in place.parents:
            if folder == to or any(folder.iterdir()):
                break
            folder.rmdir()


def without_caches(places: Sequence[Path]) -> None:
    """Remove what Python keeps beside its modules from copied folders: a server that ran them has put it there."""
    for cache in [found for place in places for found in place.rglob("__pycache__")]:
        shutil.rmtree(cache, ignore_errors=True)


def _copy(source: Path, place: Path, own: frozenset[Path], copy: Callable[[str, str], object]) -> None:
    temporary = unused(place.with_name(f".{place.name}.part"))
    try:
        if source.is_dir():
            shutil.copytree(source, temporary, ignore=_passing_over(own), copy_function=copy)
        else:
            copy(str(source), str(temporary))
        temporary.replace(place)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _passing_over(own: frozenset[Path]) -> Callable[[str, list[str]], list[str]]:
    def passed_over(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name == "__pycache__" or Path(folder, name) in own]

    return passed_over


def _linked(source: str, place: str) -> None:
    os.link(Path(source).resolve(), place)


def _instead(link: bool) -> str:
    return "; leave --link out to copy" if link else ""


def _check(path: Path) -> None:
    if path.is_dir():
        raise ExportError(f"{path}: is a folder, where a file is to be written; move it away, or give another --to")
    if path.exists() and not path.stat().st_mode & _WRITABLE:
        raise ExportError(f"{path}: is read-only; make it writable (chmod u+w), or write elsewhere with --to DIR")
    folder = next(one for one in path.parents if one.exists())
    if not folder.is_dir():
        raise ExportError(f"{folder}: is a file, where a folder is needed; give another --to")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ExportError(f"{folder}: you may not write there; change that, or write elsewhere with --to DIR")


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _kept(path: Path) -> Path | None:
    """Keep what stands at a path beside it, and make the folder where nothing does."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return None
    return Path(shutil.copy2(path, unused(path.with_name(f"{path.name}.bak"))))


def kept(written: Sequence[Written]) -> str:
    """Say where the backups of written files are; "" without any."""
    backups = [str(one.backup) for one in written if one.backup is not None]
    return f"; what stood there is kept in {', '.join(backups)}" if backups else ""
