"""Environment files of llama-server: read as a shell reads them, and changed so that comments and order stay."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from targets.base import Config, TargetError, Value
from targets.llamacpp import knobs

NEW_NAME = "llama.env"
PREFIX = "LLAMA_ARG_"
MODEL = "LLAMA_ARG_MODEL"
MODELS = (MODEL, "LLAMA_ARG_HF_REPO", "LLAMA_ARG_MODEL_URL", "LLAMA_ARG_DOCKER_REPO")
UNUSABLE: Mapping[str, str] = {
    "LLAMA_ARG_SSL_KEY_FILE": "Paretune asks the server in the clear, on this machine",
    "LLAMA_ARG_SSL_CERT_FILE": "Paretune asks the server in the clear, on this machine",
    "LLAMA_ARG_API_PREFIX": "Paretune asks for /v1",
    "LLAMA_ARG_API_KEY_FILE": "Paretune reads no keys from files; set LLAMA_API_KEY in your environment",
    "LLAMA_ARG_EMBEDDINGS": "Paretune asks for completions",
    "LLAMA_ARG_RERANKING": "Paretune asks for completions",
    "LLAMA_ARG_MODELS_DIR": "a router starts servers of its own",
    "LLAMA_ARG_MODELS_PRESET": "a router starts servers of its own",
    "LLAMA_ARG_LOG_FILE": "Paretune keeps the log",
}
_LINE = re.compile(r"(?P<head>\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)=)(?P<rest>.*)")
_PLAIN = r"[^\s'\"\\$`;&|<>()]"
_VALUE = re.compile(rf"(?P<value>(?:'[^']*'|\"[^\"\\$`]*\"|{_PLAIN})*)(?P<tail>\s*|\s+#.*)")
_EXPECTED = "expected NAME=VALUE"


@dataclass(frozen=True)
class EnvFile:
    """A file of environment variables for llama-server.

    Attributes:
        path: as the study names it, for errors.
        text: of the file.
        said: variable -> value.
        lines: variable -> its line, from 1.
        values: what it gives the knobs.
    """

    path: Path
    text: str
    said: Mapping[str, str]
    lines: Mapping[str, int]
    values: Mapping[str, Value] = field(default_factory=dict)

    def place(self, name: str) -> str:
        """Return where a variable stands, as errors name it."""
        return f"{self.path}:{self.lines[name]}: {name}"


def parse(text: str, path: Path) -> EnvFile:
    """Parse a file of environment variables.

    Raises:
        TargetError: with file, line, variable, value and what is expected.
    """
    said: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, value = _assignment(line, f"{path}:{number}")
        if name in said:
            raise TargetError(f"{path}:{number}: {name}: is given in line {lines[name]} already; keep one of them")
        said[name], lines[name] = value, number
    file = EnvFile(path, text, said, lines)
    for name, why in UNUSABLE.items():
        if name in said:
            raise TargetError(f"{file.place(name)}: {why}; take it out for the tuning")
    return EnvFile(path, text, said, lines, _values(file))


def _assignment(line: str, place: str) -> tuple[str, str]:
    """Return name and value of a line that a shell and docker can read."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise TargetError(f"{place}: {_EXPECTED}, but got {line[:60]!r}")
    value = _VALUE.fullmatch(match["rest"])
    if value is None or value["value"].startswith("~"):
        raise TargetError(
            f"{place}: {match['name']}: a shell would change {match['rest'].strip()[:60]!r}; write the value itself, "
            "in single quotes where it has spaces"
        )
    return match["name"], re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda part: part[1] or part[2] or "", value["value"])


def _values(file: EnvFile) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, setting in knobs.BY_NAME.items():
        no = knobs.negative(setting.variable)
        if setting.knob.type == "bool" and no in file.said:
            if setting.variable in file.said:
                raise TargetError(f"{file.place(no)}: wins over {setting.variable}; keep one of them")
            values[name] = False
        elif setting.variable in file.said:
            try:
                value = knobs.read(name, file.said[setting.variable])
            except ValueError as error:
                raise TargetError(f"{file.place(setting.variable)}: {error}") from None
            if value is not None:
                values[name] = value
    return values


def new(model: str, args: Sequence[str]) -> EnvFile:
    """Return what there is for a user without a file: the model alone."""
    command = shlex.join(["llama-server", *args])
    text = f"# set -a; . ./{NEW_NAME}; {command}\n{MODEL}={shlex.quote(model)}\n"
    return parse(text, Path(NEW_NAME))


def rewrite(file: EnvFile, wanted: Config) -> str:
    """Return the text with the knobs that `wanted` has otherwise changed; comments and order stay."""
    lines = file.text.splitlines(keepends=True)
    for name, value in wanted.items():
        if file.values.get(name) == value:
            continue
        variable = knobs.BY_NAME[name].variable
        stands = next((one for one in (variable, knobs.negative(variable)) if one in file.lines), None)
        if stands is None:
            if lines and not lines[-1].endswith("\n"):
                lines[-1] += "\n"
            lines.append(f"{variable}={knobs.written(value)}\n")
        else:
            number = file.lines[stands] - 1
            lines[number] = _changed(lines[number], stands, variable, knobs.written(value))
    return "".join(lines)


def _changed(line: str, stands: str, variable: str, value: str) -> str:
    body = line.rstrip("\r\n")
    match = _LINE.fullmatch(body)
    assert match is not None, "it was parsed"
    rest = _VALUE.fullmatch(match["rest"])
    assert rest is not None, "it was parsed"
    return f"{match['head'].replace(stands, variable)}{value}{rest['tail']}{line[len(body) :]}"


def check_variables(file: EnvFile, variables: Mapping[str, Sequence[str]], version: str) -> None:
    """Check that a version of llama-server knows every variable of a file that is meant for it.

    Raises:
        TargetError: naming file, line, variable and version.
    """
    for name in file.said:
        positive = name.replace("LLAMA_ARG_NO_", PREFIX, 1)
        if name.startswith(PREFIX) and name not in variables and positive not in variables:
            raise TargetError(f"{file.place(name)}: llama-server {version} has no such variable; it would ignore it")
