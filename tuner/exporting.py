"""What a stored run exports: its study and its model are read again, nothing is started."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from targets.base import Config, Export, Target, TargetError
from targets.exports import KnowsPlaces
from targets.hiding import HIDDEN
from tuner.load_words import loads_in_words
from tuner.pick import NothingToPick, Pick, Picked, picked
from tuner.provenance import marked, signed, standing, without_header
from tuner.results import Result, Trial
from tuner.rundir import RunDirectory
from tuner.space import server_part
from tuner.study.hidden import hidden_text
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import Prepared, prepare


class ExportError(Exception):
    """A run that has nothing to export, or a place where it cannot be written; the message says the remedy."""


@dataclass(frozen=True)
class Exported:
    """A configuration of a run, written into the user's files.

    These are as they are now, but for one that an export of the same run wrote: it is as it was in the run. What one
    configuration sets and another leaves out would stay in it otherwise.

    Attributes:
        export: the files, and what goes with them.
        prepared: the study and the target that made them.
        changed: files of the user's that are no longer what they were in the run; what is not in the export stays so.
        config: of the server: knob -> value.
        restored: files of the export that its server does not need, and that another export of the run had changed.
        doubt: that it was not measured or missed its SLO, "" where nothing speaks against it.
        picked: which trial was picked as what and for which loads, "" where the best or a trial was asked for.
    """

    export: Export
    prepared: Prepared
    changed: Sequence[Path]
    config: Config
    restored: frozenset[Path] = field(default_factory=frozenset)
    doubt: str = ""
    picked: str = ""

    @property
    def needed(self) -> Export:
        """The export without the files that its server does not need."""
        files = {path: text for path, text in self.export.files.items() if path not in self.restored}
        return replace(self.export, files=files)


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
        ExportError: there is no such configuration, or the study or its model cannot be read again.
    """
    by_pick = number is None and pick != "best"
    try:
        chosen = picked(result, pick) if number is None else Picked(number, {})
        number = chosen.trial
        config = result.trial(number).config
    except NothingToPick as error:
        raise ExportError(str(error)) from None
    except KeyError:
        numbers = ", ".join(str(one.number) for one in result.trials)
        raise ExportError(f"--trial {number}: no such trial; there are {numbers}") from None
    try:
        prepared = _read_again(result, directory)
    except (StudyError, TargetError) as error:
        raise ExportError(
            f"an export needs the study {result.study.path} and its model, and they cannot be read again: {error}"
        ) from None
    own = server_part(config)
    prepared, written = _as_in_the_run(prepared, result, directory)
    bare = prepared.target.export(own)
    restored = _unneeded(bare, written) if number == 0 else frozenset()
    made = _over(bare, written, restored)
    changed = _changed(made, directory, written)
    if number == 0:
        changed += _edited(prepared.target, directory, made)
    known = standing(result, number, chosen.loads if by_pick else None)
    how = f"picked as the {pick} at {loads_in_words(chosen.loads)}" if by_pick else ""
    if header:
        lines = [*known.lines, *([how] if how else [])]
        made = signed(made, result.study.name, directory.path.name, result.environment, number, lines)
    else:
        made = marked(made, ())
    doubt = f"trial {number} was {known.said}" if known.doubtful and number else ""
    return Exported(made, prepared, changed, own, restored, doubt, f"trial {number} is {how}" if how else "")


def own_files(target: Target, trials: Iterable[Trial]) -> dict[Path, str]:
    """Return the user's own text of every file that an export of one of the trials writes: all that a way back needs.

    Args:
        target: on the user's files. For one that cannot be made on other texts of them there is no way back: {}.
        trials: of a run. One whose configuration cannot be exported is left out.

    Returns:
        Path in an export -> text.
    """
    found: dict[Path, str] = {}
    if isinstance(target, KnowsPlaces):
        for export in _each(target, trials):
            found |= export.originals
    return found


@dataclass(frozen=True)
class _Own:
    """A file of the user's that has changed since the run.

    Attributes:
        place: where it stands.
        before: its text in the run.
        now: its text.
    """

    place: Path
    before: str
    now: str


def _as_in_the_run(prepared: Prepared, result: Result, directory: RunDirectory) -> tuple[Prepared, Mapping[Path, _Own]]:
    """Return the target on the files of the run where it was an export of this run that changed them, and these files.

    Args:
        prepared: the target on the files as they are now.
        result: of the run.
        directory: of the run.

    Returns:
        The target, and path in an export -> the file.
    """
    changed = dict(_changed_files(prepared.target, directory))
    before = _on(changed, result, directory) if changed else None
    if before is None:
        return prepared, {}
    written = _written(changed, before.target, result, directory)
    if not written:
        return prepared, {}
    if written.keys() != changed.keys():
        before = _on(written, result, directory)
    return (prepared, {}) if before is None else (before, written)


def _on(files: Mapping[Path, _Own], result: Result, directory: RunDirectory) -> Prepared | None:
    """Read a run's study and model again, with files as they were in the run."""
    return prepared_again(result, directory, {own.place: own.before for own in files.values()})


def _changed_files(target: Target, directory: RunDirectory) -> Iterator[tuple[Path, _Own]]:
    """Yield the files that say something else than in the run, by their paths in an export."""
    if not isinstance(target, KnowsPlaces):
        return
    for kept in sorted(directory.yours.rglob("*")):
        path = kept.relative_to(directory.yours)
        place, before = target.place_of(path), _text(kept)
        now = None if place is None else _text(place)
        if place is not None and before is not None and now is not None and now != before:
            yield path, _Own(place, before, now)


def _written(changed: Mapping[Path, _Own], target: Target, result: Result, directory: RunDirectory) -> dict[Path, _Own]:
    """Return those of changed files that say what an export of the run says.

    Args:
        changed: path in an export -> the file.
        target: on these files as they were in the run.
        result: of the run.
        directory: of the run.
    """
    found: dict[Path, _Own] = {}
    for texts in _exports([*changed], target, result, directory):
        found |= {path: own for path, own in changed.items() if path in texts and _same(texts[path], own.now)}
        if len(found) == len(changed):
            break
    return {path: own for path, own in changed.items() if path in found}


def _exports(
    paths: Sequence[Path], target: Target, result: Result, directory: RunDirectory
) -> Iterator[Mapping[Path, str]]:
    """Yield what the run wrote itself, and then what an export of each of its trials writes."""
    best = {path: _text(directory.best / path) for path in paths}
    yield {path: text for path, text in best.items() if text is not None}
    for export in _each(target, result.trials):
        yield export.files


def _each(target: Target, trials: Iterable[Trial]) -> Iterator[Export]:
    """Yield the export of every configuration of trials, but for those that cannot be exported."""
    configs: list[Config] = []
    for trial in trials:
        config = server_part(trial.config)
        if config in configs:
            continue
        configs.append(config)
        try:
            yield target.export(config)
        except TargetError:  # it was refused in the run, too
            continue


def _unneeded(export: Export, written: Mapping[Path, _Own]) -> frozenset[Path]:
    """Return the written files that are of none of an export's models."""
    return frozenset(path for path in written if path not in export.files and path.parent not in export.folders)


def _over(export: Export, written: Mapping[Path, _Own], restored: frozenset[Path]) -> Export:
    """Return an export made from files as they were in the run as a change of what stands there now.

    A file of its models that it leaves as it was in the run goes with it where that is not what stands there.

    Args:
        export: of a configuration.
        written: what an export of the run has changed.
        restored: those of them that go with it although none of its models needs them.
    """
    left = {
        path: own
        for path, own in written.items()
        if path not in export.files and (path.parent in export.folders or path in restored)
    }
    files = {**{path: own.before for path, own in left.items()}, **export.files}
    return replace(
        export,
        files=files,
        originals={**export.originals, **{path: own.now for path, own in written.items() if path in files}},
        places={**{path: own.place for path, own in left.items()}, **export.places},
    )


def _changed(export: Export, directory: RunDirectory, written: Mapping[Path, _Own]) -> list[Path]:
    """Return the user's files that are neither what the run started from nor what an export of it wrote."""
    return [
        path
        for path, text in export.originals.items()
        if (yours := _text(directory.yours / path)) is not None
        and path not in written
        and not any(_same(text, other) for other in (yours, _text(directory.best / path) or ""))
    ]


def _edited(target: Target, directory: RunDirectory, made: Export) -> list[Path]:
    """Return the user's files that the way back leaves alone, since an export was written there and edited then."""
    return [
        path
        for path, own in _changed_files(target, directory)
        if path not in made.files and own.now != without_header(own.now)
    ]


def _same(one: str, other: str) -> bool:
    """Whether two texts differ in their headers at most."""
    return without_header(one) == without_header(other)


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def prepared_again(result: Result, directory: RunDirectory, texts: Mapping[Path, str] | None = None) -> Prepared | None:
    """Read a run's study and model again, None where that cannot be done.

    Args:
        result: of the run.
        directory: of the run.
        texts: path of a file of the user's -> what is taken for its text.
    """
    try:
        return _read_again(result, directory, texts)
    except (StudyError, TargetError):
        return None


def _read_again(result: Result, directory: RunDirectory, texts: Mapping[Path, str] | None = None) -> Prepared:
    # Nothing is started or searched: the CPUs that it names and the sampler need not be here.
    overrides = [*result.study.overrides, "isolation=none", "search.sampler=auto"]
    path = Path(result.study.path)
    return prepare(load_study(path, overrides, _with_secrets(path, result.study.text)), directory.export_log, texts)


def _with_secrets(path: Path, kept: str) -> str:
    """Return the text of a study with the secrets that a run does not keep, where its file still is that study."""
    now = _text(path) if HIDDEN in kept else None
    return now if now is not None and hidden_text(now) == kept else kept
