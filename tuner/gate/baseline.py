"""Baselines as files: small, versioned, readable in a diff, and refused when they are not what was accepted."""

import getpass
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuner.files import write_atomically
from tuner.gate.deciding import unspread
from tuner.gate.document import BASELINE, Accepted, GateResult, Measurement
from tuner.gate.hosts import place_of
from tuner.gate.intervals import LEAST_OF_A_SPREAD

RESULT, MEASURED = "gate.json", "measurement.json"
_ANEW = "take it from version control again, or make a new one with `tune gate accept`"


class BaselineError(Exception):
    """A baseline, or a measurement, that cannot be used; the message names the file and the remedy."""


def read_measurement(path: Path) -> Measurement:
    """Read a baseline, or what a gate measured: its file or its run directory.

    Raises:
        BaselineError: it is missing, truncated, edited by hand, of a newer schema, or something else.
    """
    file = path / MEASURED if path.is_dir() else path
    if path.is_dir() and not file.exists() and (path / RESULT).exists():
        raise BaselineError(f"{path}: this gate was not finished: {read_gate(path).message}; measure again")
    try:
        return parse_measurement(str(file), file.read_bytes())
    except OSError as error:
        raise BaselineError(f"{file}: {error.strerror}; give a baseline, or the directory of a gate's run") from None


def read_valid(path: Path) -> Measurement:
    """Read what others may be held against: see `read_measurement`. Raises BaselineError where it was spoiled, too."""
    measurement = read_measurement(path)
    if measurement.invalid:
        reasons = "; ".join(measurement.invalid)
        raise BaselineError(f"{path}: its gate was not valid: {reasons}; measure again")
    return measurement


def parse_measurement(name: str, text: str | bytes) -> Measurement:
    """Read a baseline from its text, see `read_measurement`.

    Args:
        name: what errors call it.
        text: the document.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BaselineError(f"{name}: not JSON, so it was truncated or edited ({error}); {_ANEW}") from None
    _check_schema(name, data)
    if _checksum(data) != data.get("checksum"):
        raise BaselineError(f"{name}: was edited since it was written: its checksum does not fit; {_ANEW}")
    try:
        return Measurement.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        remedy = "a newer Paretune wrote it; upgrade Paretune" if first["type"] == "extra_forbidden" else _ANEW
        raise BaselineError(f"{name}: no {BASELINE} document: {place}: {first['msg']}; {remedy}") from None


def _check_schema(file: str, data: Any) -> None:
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema == BASELINE:
        return
    name, _, version = str(schema).partition("/")
    if name == BASELINE.partition("/")[0] and version.isdigit():
        raise BaselineError(f"{file}: is of the schema {schema}, and this Paretune reads {BASELINE}; upgrade Paretune")
    raise BaselineError(f"{file}: is no baseline (schema {schema!r}, expected {BASELINE!r}); give one")


def read_gate(run: Path) -> GateResult:
    """Read gate.json of a gate's run directory. Raises BaselineError when it cannot be."""
    file = run / RESULT if run.is_dir() else run
    try:
        return GateResult.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BaselineError(f"{file}: {error.strerror}; give the directory of a gate's run") from None
    except ValidationError as error:
        raise BaselineError(f"{file}: no result of a gate: {error.errors()[0]['msg']}") from None


def accept(run: Path, to: Path, *, by: str | None, why: str) -> Measurement:
    """Write what a run measured as the baseline; return it.

    Args:
        run: the directory of a gate's run.
        to: the file. A baseline that stands there is replaced; anything else stays.
        by: who accepts it, None: the user of this process.
        why: in a few words.

    Raises:
        BaselineError: the run has nothing to accept, or `to` cannot be replaced: it is of another study, say.
    """
    measurement = read_valid(run)
    if run.is_dir() and (run / RESULT).exists() and read_gate(run).state == "invalid":
        raise BaselineError(f"{run}: this gate was not valid: {read_gate(run).message}; measure again")
    if to.exists() and (there := read_measurement(to)).study != measurement.study:
        raise BaselineError(
            f"{to}: is the baseline of another study, {there.study}, and this is one of {measurement.study}; give "
            "another file with --to, or take that one away first"
        )
    accepted = Accepted(by=by or user(), when=now(), why=why, run=run.resolve().name)
    made = measurement.model_copy(update={"accepted": accepted})
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(to, written(made))
    except OSError as error:
        raise BaselineError(f"{to}: cannot be written: {error.strerror}; give another file with --to") from None
    return made


def lacking(measurement: Measurement) -> str:
    """Say what a baseline lacks to be compared with, "" where nothing."""
    if unspread({place_of(measurement)}, measurement.elsewhere):
        return (
            "its server runs elsewhere and was not restarted: every comparison with it will be inconclusive, but for "
            "that of labelled items; compare both in one run with --ab, or see `gate.elsewhere`"
        )
    if measurement.restarts >= LEAST_OF_A_SPREAD:
        return ""
    return (
        f"it is from {measurement.restarts} restarts, of {LEAST_OF_A_SPREAD} that a spread needs: every comparison "
        "with it will be inconclusive, but for that of labelled items; measure with `gate.restarts: "
        f"{LEAST_OF_A_SPREAD}` or more"
    )


def written(measurement: Measurement) -> str:
    """Return a measurement as it is written: one line for each restart and each figure, with its checksum."""
    data = measurement.model_dump(mode="json", by_alias=True, exclude={"checksum"})
    data = json.loads(json.dumps(data))
    ordered = {"schema": data.pop("schema"), "checksum": _checksum(data | {"schema": BASELINE}), **data}
    return _lines(ordered, "", 0) + "\n"


def now() -> str:
    """Return the time as documents have it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def user() -> str:
    """Return who runs this process, as far as that is known."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _checksum(data: dict[str, Any]) -> str:
    rest = {name: value for name, value in data.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_FLAT = ("latency", "load", "accuracy", "slo")
"""Keys whose values stand on one line."""


def _lines(value: Any, name: str, depth: int) -> str:
    """Return JSON that is indented down to restarts, each of which is one line."""
    if not value or name in _FLAT or not isinstance(value, dict | list) or name == "restart":
        return json.dumps(value)
    pad = " " * (depth + 1)
    if isinstance(value, list):
        inner = [f"{pad}{_lines(one, 'restart', depth + 1)}" for one in value]
        return "[\n" + ",\n".join(inner) + f"\n{' ' * depth}]"
    inner = [f"{pad}{json.dumps(key)}: {_lines(one, key, depth + 1)}" for key, one in value.items()]
    return "{\n" + ",\n".join(inner) + f"\n{' ' * depth}}}"
