"""The files of a study: which fit into a ConfigMap, and which the image or a volume has to have."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from targets.hiding import is_secret, secrets_below, secrets_in
from tuner.manifests.names import ManifestError
from tuner.study.load import Study

HOME = PurePosixPath("/study")
"""The folder of the study file in every container."""
LIMIT = 1 << 20
"""Bytes that all values of a ConfigMap may have together (Kubernetes' own limit)."""
MOST = 64
"""Files that are mounted from a ConfigMap, each by itself; more of them belong in a volume."""
TAKEN = (HOME, *map(PurePosixPath, ("/tmp", "/dev", "/paretune", "/proc", "/sys")))  # noqa: S108 - in containers
"""Folders that containers have something else in."""
_OF_A_HUB = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
"""What a hub calls a model, like `meta-llama/Llama-3-8B`; a path that begins with `./` is none."""
_HINT = re.compile(r"key|token|passw|passphrase|secret|credential|authorization|cookie|bearer", re.IGNORECASE)


@dataclass(frozen=True)
class Needed:
    """A file or folder that a study reads.

    Attributes:
        given: its path, relative to the folder of the study file unless the study has an absolute one.
        here: where it stands on this machine.
        files: it, or all files in it; () where there is none on this machine.
        size: of these, in bytes.
    """

    given: Path
    here: Path
    files: tuple[Path, ...]
    size: int

    @property
    def place(self) -> PurePosixPath:
        """Where it stands in a container: as the study, which is in `HOME`, names it."""
        return PurePosixPath(os.path.normpath(HOME / self.given.as_posix()))

    @property
    def inside(self) -> bool:
        """Whether it is in the folder of the study file."""
        return self.place.is_relative_to(HOME)


@dataclass(frozen=True)
class Files:
    """Where the containers have a study's files from.

    Attributes:
        carried: those in the ConfigMap, the study file first.
        elsewhere: those that do not fit into it, or are not on this machine.
        fetched: a model that is not here and has the name of one in a hub: the server fetches it.
    """

    carried: tuple[Needed, ...]
    elsewhere: tuple[Needed, ...]
    fetched: str | None = None

    @property
    def size(self) -> int:
        """Bytes in the ConfigMap."""
        return sum(one.size for one in self.carried)

    def contents(self) -> Iterator[tuple[PurePosixPath, bytes]]:
        """Yield the place and the content of each file in the ConfigMap."""
        for one in self.carried:
            for file in one.files:
                inner = file.relative_to(one.here).as_posix()
                yield (one.place if inner == "." else one.place / inner), file.read_bytes()


def hides(folder: PurePosixPath) -> bool:
    """Whether a volume cannot be mounted on a folder: it is no absolute path, or would hide what a container has."""
    return not folder.is_absolute() or ".." in folder.parts or any(one.is_relative_to(folder) for one in TAKEN)


def needed(study: Study) -> list[Needed]:
    """Return what a study reads beside its own file, in the order in which it names it, none of it twice."""
    folder = study.source.path.parent.absolute()

    def here(path: Path) -> Path:
        """Return where a path stands, with the links that lead there: containers have the path as it is written."""
        return Path(os.path.normpath(folder / path))

    target = study.spec.target
    own = [*target.files(), *([Path(ca)] if (ca := getattr(target, "ca", None)) else [])]
    for part in (target, *study.spec.workloads.values()):
        absolute = any(path.is_absolute() for path in part.files())
        own += [] if part is target else part.files()
        own += [path if absolute else Path(os.path.relpath(path, folder)) for path in part.files_of_these(here)]
    paths = list(dict.fromkeys(own))
    places = {path: here(path) for path in paths}
    return [
        _found(path, places[path])
        for path in paths
        if not any(other in places[path].parents for other in places.values())
    ]


def split(study: Study, volume: PurePosixPath | None = None) -> Files:
    """Say what of a study goes into a ConfigMap: its own file, then the smaller ones as long as they fit.

    A file or folder that the study names goes as a whole or not at all.

    Args:
        study: the study.
        volume: a folder that a volume is mounted on: what is below goes into no ConfigMap.

    Raises:
        ManifestError: the study file alone does not fit.
    """
    path = study.source.path
    own = Needed(Path(path.name), path.absolute(), (path.absolute(),), path.stat().st_size)
    if own.size > LIMIT:
        raise ManifestError(f"{path}: has {own.size:,} bytes, and a ConfigMap holds {LIMIT:,}: make it smaller")
    every = needed(study)
    carried, size, count = {own}, own.size, 1
    small = [one for one in every if volume is None or not one.place.is_relative_to(volume)]
    for one in sorted(small, key=lambda one: (one.size, one.given)):
        if one.files and size + one.size <= LIMIT and count + len(one.files) <= MOST:
            carried.add(one)
            size, count = size + one.size, count + len(one.files)
    fetched = _fetched(study, every)
    elsewhere = tuple(one for one in every if one not in carried and str(one.given) != fetched)
    return Files((own, *(one for one in every if one in carried)), elsewhere, fetched)


def _fetched(study: Study, every: Sequence[Needed]) -> str | None:
    """Return the model of a study where it is one in a hub: files of it are named by the study, and are not here."""
    model = study.spec.target.hub_model
    absent = {str(one.given) for one in every if not one.here.exists()}
    return model if model is not None and model in absent and _OF_A_HUB.fullmatch(model) else None


def secret_in(place: PurePosixPath, text: str) -> bool:
    """Whether a file has the value of a setting whose name says that it is secret, like `api-key`.

    Args:
        place: of the file; code in Python has no settings.
        text: of the file.
    """
    if place.suffix == ".py" or not _HINT.search(text):  # most files have none, and to read YAML takes long
        return False
    return any(map(is_secret, secrets_in(text)))


def check_settings(study: Study, *, overrides_alone: bool) -> None:
    """Check that no setting of a study is secret, after its overrides: both are in what is rendered.

    Args:
        study: the study.
        overrides_alone: its file is not in what is rendered.

    Raises:
        StudyError: one is, by its name.
    """
    overridden = study.source.overridden
    for keys, value in secrets_below(study.given):
        if not is_secret(value) or (overrides_alone and not any(keys[: len(one)] == one for one in overridden)):
            continue
        raise study.source.error(
            keys,
            "has a password or a key, and every reader of a manifest would see it: give the variable that has it, "
            "where this setting takes one, or keep it in a file that the image or a volume brings",
        )


def _found(given: Path, here: Path) -> Needed:
    files: Sequence[Path] = sorted(here.rglob("*")) if here.is_dir() else [here]
    kept = tuple(file for file in files if file.is_file() and "__pycache__" not in file.parts)
    return Needed(given, here, kept, sum(file.stat().st_size for file in kept))
