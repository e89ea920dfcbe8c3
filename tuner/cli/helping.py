"""What helps before a study runs: `knobs`, `schema`, `doctor`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from targets import registry
from tuner import doctor, knob_rows
from tuner.cli.frame import BAD_USAGE, TARGET_UNUSABLE, Json, app, errors, fail
from tuner.results import result_schema
from tuner.study.schema import study_schema
from tuner.terminal import note, wide_console


@app.command()
def knobs(
    kind: Annotated[str, typer.Argument(help="kind of target")],
    model: Annotated[str | None, typer.Option(help="say what holds for this model")] = None,
    repository: Annotated[
        Path | None, typer.Option(metavar="DIR", help="with --model: where it is; this folder if absent")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(metavar="STUDY.yaml", help="say what holds for the server of this study")
    ] = None,
    as_json: Json = False,
) -> None:
    """List what can be tuned on a kind of target, and the load levels; or what holds for a model or study of yours."""
    with errors():
        if study is not None and model is not None:
            raise typer.BadParameter("--study names its own model; give one of --study and --model")
        if repository is not None and model is None:
            raise typer.BadParameter("--repository goes with --model NAME: say which model of it the knobs are for")
        if kind not in registry.names():
            fail(BAD_USAGE, registry.unknown(kind))
        compared = ""
        if study is not None:
            listed, compared = knob_rows.of_study(kind, study)
        elif model is not None:
            listed = knob_rows.of_model(kind, model, repository or Path())
        else:
            listed = knob_rows.of_kind(kind)
        if as_json:
            sys.stdout.write(json.dumps([one.document() for one in listed], indent=1) + "\n")
        else:
            _print(knob_rows.shown(listed))
        if compared:
            note(compared)


@app.command()
def schema(of: Annotated[str, typer.Argument(help="`study` or `result`")] = "study") -> None:
    """Print the JSON Schema of study files, for editors, or of result.json."""
    with errors():
        if of not in ("study", "result"):
            fail(BAD_USAGE, f"there is a schema of `study` and of `result`, not of {of!r}")
        document = study_schema() if of == "study" else result_schema()
        sys.stdout.write(json.dumps(document, indent=1) + "\n")


@app.command(name="doctor")
def doctor_command(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure the load generator again")] = False,
) -> None:
    """Say what works on this machine, and what to do about what does not. Exit code 3: no target can be used."""
    with errors():
        checks = doctor.examine(fresh=fresh)
        _print(checks)
        if not doctor.some_server_can_be_tuned(checks):
            raise typer.Exit(TARGET_UNUSABLE)


def _print(rows: Sequence[doctor.Row]) -> None:
    wide_console(100).print(doctor.table(rows))
