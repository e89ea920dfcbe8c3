"""What a configuration is to the server: its argument list, its environment and its files, made of the templates."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from targets.base import Config, Context, TargetError
from targets.command.options import CommandOptions
from targets.command.templates import MARK, PORTS, BadTemplate, Template, compiled, mark


@dataclass(frozen=True)
class Launch:
    """How a configuration is started.

    Attributes:
        arguments: the argument list.
        env: environment variables besides those of Paretune.
        files: file of the deployment's folder -> text.
    """

    arguments: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Setting:
    """What templates are filled with, besides the knobs.

    Attributes:
        ports: `port` and `metrics_port`, as numbers or as marks of shell variables.
        file_ports: the same for files, which hold numbers always.
        folder: where the files are.
        environment: of Paretune, or marks of its variables.
    """

    ports: Mapping[str, object]
    file_ports: Mapping[str, object]
    folder: str
    environment: Mapping[str, str]


class Blueprint:
    """The templates of a study that starts its server.

    Raises:
        TargetError: a template of a file cannot be read or does not compile; with file and line.
    """

    def __init__(self, options: CommandOptions, context: Context) -> None:
        known = [*options.knobs, *PORTS, "files", "env"]
        self._arguments = [compiled(text, known, marked=PORTS) for text in options.command or ()]
        self._env = {name: compiled(text, known, marked=PORTS) for name, text in options.env.items()}
        self._paths = {name: context.resolve(path) for name, path in options.templates.items()}
        self._files = {name: _read(path, [*options.knobs, *PORTS]) for name, path in self._paths.items()}

    @property
    def file_names(self) -> tuple[str, ...]:
        """The files of the deployment's folder."""
        return tuple(self._files)

    def files_with_ports(self) -> list[str]:
        """Return the files that say where the server listens."""
        return [name for name, template in self._files.items() if template.names & {*PORTS}]

    @property
    def needs_metrics_port(self) -> bool:
        """Whether a template asks for a second port."""
        return any("metrics_port" in template.names for template in self._all())

    @property
    def secrets(self) -> frozenset[str]:
        """The environment variables that templates refer to; their values are written nowhere."""
        return frozenset().union(*(template.secrets for template in self._all()))

    def render(self, values: Config, setting: Setting) -> Launch:
        """Fill the templates.

        Raises:
            TargetError: one cannot be filled with these values; with its place.
        """
        files = {name: f"{setting.folder}/{name}" for name in self._files}
        filling = {**values, **setting.ports, "files": files, "env": setting.environment}
        return Launch(
            tuple(self._filled_arguments(filling)),
            {name: _filled(one, f"target.env.{name}", filling) for name, one in self._env.items()},
            {name: self._filled_file(name, {**values, **setting.file_ports}) for name in self._files},
        )

    def _filled_arguments(self, filling: Mapping[str, object]) -> Iterator[str]:
        for index, template in enumerate(self._arguments):
            argument = _filled(template, f"target.command.{index}", filling)
            if argument or template.fixed:  # an optional flag that renders to nothing is left out
                yield argument

    def _filled_file(self, name: str, filling: Mapping[str, object]) -> str:
        with _placed(self._paths[name]):
            return self._files[name].render(filling)

    def _all(self) -> Iterator[Template]:
        yield from (*self._arguments, *self._env.values(), *self._files.values())


def _filled(template: Template, place: str, filling: Mapping[str, object]) -> str:
    try:
        text = template.render(filling)
    except BadTemplate as error:
        raise TargetError(f"{place}: {error.message}") from None
    if "\0" in text:
        raise TargetError(f"{place}: rendered to a text with a NUL, which no process can be given")
    return text


def _read(path: Path, known: list[str]) -> Template:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TargetError(f"target.templates: {path}: no such file; give the path of a template") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"target.templates: {path}: cannot be read: {error}") from None
    with _placed(path):
        return compiled(text, known)


@contextmanager
def _placed(path: Path) -> Iterator[None]:
    """Say in which file and line a template is wrong."""
    try:
        yield
    except BadTemplate as error:
        line = f":{error.line}" if error.line else ""
        raise TargetError(f"{path}{line}: {error.message}") from None


def marks(names: Mapping[str, str]) -> dict[str, str]:
    """Return name -> mark of a shell expression."""
    return {name: mark(expression) for name, expression in names.items()}


def shown(text: str) -> str:
    """Return a rendered text for people, its marks as `$NAME`."""
    return MARK.sub(lambda found: f"${found[1].partition(':')[0]}", text)
