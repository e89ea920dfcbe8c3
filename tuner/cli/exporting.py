"""A run's configuration for the user's own server: `export`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reports import html
from targets.base import ConfigRefused, TargetError
from targets.exports import Applying, Export, Reloading
from tuner.cli.frame import RunPath, app, errors
from tuner.exporting import Exported, ExportError, exported
from tuner.pick import Pick
from tuner.results import read_result
from tuner.rundir import RunDirectory
from tuner.start_lines import Form, NoStart, start_lines
from tuner.terminal import note, plain_console, shown
from tuner.verifying import check_verifiable, verify_copy, verify_export
from tuner.writing import Written, copy_all, kept, put_back, take_away, without_caches, write_all

_AS_BEFORE = "; your files are as they were before"
_LOADED = "loaded by the server as it is written, and asked once"


@dataclass(frozen=True)
class _Asked:
    """What is to be done with an export."""

    to: Path | None
    diff: bool
    repository: bool
    link: bool
    form: Form | None
    image: str | None
    apply: bool
    reload: str | None
    verify: bool

    def check(self) -> None:
        """Raise BadParameter where options contradict each other or nothing is asked for."""
        if self.apply and self.to is not None:
            raise typer.BadParameter("--apply writes into your own files, --to elsewhere; give one of them")
        for name, given, of, there in (
            ("--repository", self.repository, "--to DIR", self.to is not None),
            ("--link", self.link, "--repository", self.repository),
            ("--reload", self.reload is not None, "--apply", self.apply),
            ("--image", self.image is not None, "--as docker or --as kubernetes", self.form not in (None, "command")),
        ):
            if given and not there:
                raise typer.BadParameter(f"{name} goes with {of}")
        if self.diff and self.form is not None:
            raise typer.BadParameter("--diff and --as both print on stdout, a change and a command; give one of them")
        if self.to is None and not (self.diff or self.form or self.apply or self.verify):
            raise typer.BadParameter(
                "give --to DIR, --apply to write into your own files, --diff to see the change, --as to see how the "
                "server is started, or --verify to have one load it"
            )


@app.command()
def export(
    run_path: RunPath,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="folder to write into")] = None,
    trial: Annotated[int | None, typer.Option(metavar="N", help="another trial than the best")] = None,
    pick: Annotated[
        Pick | None, typer.Option(help="which one: best, knee, fastest or cheapest; best if absent")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="print the change instead, or as well")] = False,
    repository: Annotated[
        bool, typer.Option("--repository", help="with --to: the whole model, its versions and what it needs")
    ] = False,
    link: Annotated[bool, typer.Option("--link", help="with --repository: hard links instead of copies")] = False,
    form: Annotated[
        Form | None, typer.Option("--as", help="print how the server is started: command, docker or kubernetes")
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="container image for --as")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="write into your own files, where the study has them")] = False,
    reload: Annotated[
        str | None, typer.Option(metavar="URL", help="with --apply: have the server there load it, and check that")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="before anything is written: start the server and have it load the export")
    ] = False,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="no comment that says where the configuration comes from")
    ] = False,
) -> None:
    """Write a run's configuration in the server's own format; what stands there is kept as a backup."""
    with errors():
        asked = _Asked(to, diff, repository, link, form, image, apply, reload, verify)
        asked.check()
        if trial is not None and pick is not None:
            raise typer.BadParameter("--trial names a configuration, and --pick chooses one; give one of them")
        directory = RunDirectory(run_path.resolve())
        made = exported(read_result(run_path), directory, trial, pick or "best", header=not no_header)
        _do(made, asked)


def _do(made: Exported, asked: _Asked) -> None:
    files = made.export
    if asked.verify:
        check_verifiable(made.prepared, copied=asked.repository)
    if not files.files and not (asked.apply and isinstance(made.prepared.target, Applying)):
        raise ExportError("there is nothing to export: the server runs elsewhere, and its files are not known here")
    _tell(made)
    if asked.verify and not asked.repository:
        verify_export(made)
        note(_LOADED)
    if asked.diff:
        sys.stdout.write(html.config_diff(files.originals, files.files))
    if asked.to is not None:
        _write(made, asked, asked.to)
    if asked.apply:
        _apply(made, asked)
    if asked.form is not None:
        _print_start(files, asked.form, asked)


def _tell(made: Exported) -> None:
    """Say which configuration it is, and what is to be known of it before it is used."""
    files = made.export
    if made.picked:
        note(made.picked)
    if made.doubt:
        note(f"{made.doubt}; it is exported all the same")
    for path in made.changed:
        what = "in it, as it is now, only tuned fields change" if path in files.files else "it stays as it is now"
        note(f"{files.places.get(path, path)} has changed since the run; {what}")


def _write(made: Exported, asked: _Asked, to: Path) -> None:
    """Write into a folder, with --repository the whole model; with --verify as well it is there once it was loaded."""
    files = made.export
    if asked.repository and not files.folders:
        raise ExportError("--repository: this kind of target has no model repository; leave it out")
    places = copy_all(files, to, link=asked.link) if asked.repository else []
    # What the server does not need is given back where it stands, and not brought to where it is not.
    paths = [path for path in files.files if path not in made.restored or (to / path).exists()]
    written = write_all({to / path: files.files[path] for path in paths})
    if asked.repository and asked.verify:
        _verify_copy(made, to, places, written)
    for place in places:
        note(f"{shown(place)} {'linked' if asked.link else 'copied'}")
    _say(written, asked)


def _verify_copy(made: Exported, to: Path, places: list[Path], written: list[Written]) -> None:
    """Have a server load a copied folder; it goes again where that fails."""
    try:
        verify_copy(made, to)
    except BaseException:
        put_back(written)
        take_away(places, to)
        raise
    without_caches(places)
    note(_LOADED)


def _apply(made: Exported, asked: _Asked) -> None:
    """Write into the user's own files, and have the server load them where it can be asked."""
    files, target = made.export, made.prepared.target
    texts = {place: files.files[path] for path, place in files.places.items()}
    if asked.reload is None and isinstance(target, Applying):
        _apply_there(made, target, texts, asked)
        return
    if not texts:
        raise ExportError("--apply: the study names no file of your own to write into; write a new one with --to DIR")
    for path in files.files.keys() - files.places.keys():
        note(f"{path} is not among your own files: --to DIR writes it")
    if asked.reload is None:
        _say(write_all(texts), asked)
        note(f"for the server to take it: {files.takes_effect}")
        return
    if not isinstance(target, Reloading):
        raise ExportError(f"--reload: this kind of server loads nothing anew; leave it out, and {files.takes_effect}")
    target.check_server(asked.reload)
    written = write_all(texts)
    try:
        target.reload(made.needed, asked.reload)
    except ConfigRefused as error:
        put_back(written)
        raise TargetError(f"{error}{_AS_BEFORE}") from None
    except TargetError as error:
        raise TargetError(f"{error}; the files are written{kept(written)}") from None
    _say(written, asked)
    note(f"{asked.reload} has loaded it, and has what was written")


def _apply_there(made: Exported, target: Applying, texts: Mapping[Path, str], asked: _Asked) -> None:
    """Have the study's own server load the configuration, after it was written where its file is known."""
    why = target.why_not_apply()
    if why and not texts:
        raise ExportError(f"--apply: {why}, and its files are not known here")
    written = write_all(texts)
    if why:
        _say(written, asked)
        note(f"{why}; for the server to take it: {made.export.takes_effect}")
        return
    try:
        url = target.apply(made.config)
    except ConfigRefused as error:
        put_back(written)
        raise TargetError(f"the server refused it: {error}{_AS_BEFORE if texts else ''}") from None
    except TargetError as error:
        raise TargetError(f"{error}{'; the files are written' if texts else ''}{kept(written)}") from None
    _say(written, asked)
    until = "" if texts else "; when it is started anew it has that of its own file, which is not known here"
    note(f"{url} has loaded the configuration, and it was read back{until}")


def _say(written: list[Written], asked: _Asked) -> None:
    """Name what was written: on stdout, unless that is for the command that starts the server."""
    for one in written:
        if not one.changed:
            note(f"{shown(one.path)} says so already")
            continue
        line = f"{shown(one.path)}{f'  (the old one: {shown(one.backup)})' if one.backup else ''}"
        if asked.form is None:
            plain_console().print(line, soft_wrap=True)
        else:
            note(line)


def _print_start(files: Export, form: Form, asked: _Asked) -> None:
    try:
        sys.stdout.write(start_lines(files, form, asked.to, asked.image))
    except NoStart as error:
        raise ExportError(str(error)) from None
    if asked.to is None and not asked.apply:
        note("this starts the server on your own files: write the configuration into them with --apply, or give --to")
