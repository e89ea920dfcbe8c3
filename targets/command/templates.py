"""The user's templates: jinja2 in a sandbox, strict about names; errors say which name or line is at fault."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

import jinja2
import numpy as np
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

PORTS = ("port", "metrics_port")
MARK = re.compile("\ue000([^\ue001]*)\ue001")
_PER_S: Mapping[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_ELSEWHERE: Mapping[str, str] = {
    "env": "the file would hold the value; give it to the server through `target.env`",
    "files": "files stand side by side in a folder; write the other file's name",
}
_CAPTURING = (nodes.AssignBlock, nodes.FilterBlock, nodes.CallBlock, nodes.Macro, nodes.OverlayScope)


class BadTemplate(ValueError):
    """A template that cannot be used.

    Attributes:
        message: what is wrong.
        line: of the template, 0 where it is not known.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message, self.line = message, line


class Plain(float):
    """A number that is written without an exponent and without a trailing `.0`."""

    def __str__(self) -> str:
        return str(np.format_float_positional(self, trim="-"))


def _scaled(per_s: float, seconds: float) -> Plain:
    """Return seconds in another unit, without the binary noise of the multiplication."""
    return Plain(f"{seconds * per_s:.12g}")


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    made.filters.update({unit: partial(_scaled, per_s) for unit, per_s in _PER_S.items()})
    made.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return made


_ENVIRONMENT = _environment()


@dataclass(frozen=True)
class Template:
    """A template that compiles.

    Attributes:
        text: of the template.
        compiled: the same for jinja2.
        names: the variables that it uses.
        secrets: names of the environment variables that it uses as `env.NAME`.
    """

    text: str
    compiled: jinja2.Template
    names: frozenset[str]
    secrets: frozenset[str]

    @property
    def fixed(self) -> bool:
        """Whether it is plain text."""
        return not any(mark in self.text for mark in ("{{", "{%", "{#"))

    def render(self, values: Mapping[str, object]) -> str:
        """Render it. Raises BadTemplate when an expression of it fails."""
        try:
            return self.compiled.render(values)
        except Exception as error:  # whatever an expression of the user's raises
            raise BadTemplate(_said(error), _line_of(error, self.compiled)) from None


def compiled(text: str, known: Collection[str] | None, *, marked: Collection[str] = ()) -> Template:
    """Compile a template and check what can be checked without values.

    Args:
        text: of the template.
        known: the variables that there are; None where they are known later.
        marked: those of them that have to stand alone, because the export writes shell variables for them. So does
            `env.NAME` always.

    Raises:
        BadTemplate: it does not compile, uses an unknown variable, or makes more of one that has to stand alone.
    """
    try:
        tree = _ENVIRONMENT.parse(text)
        template = _ENVIRONMENT.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise BadTemplate(error.message or "not a template", error.lineno) from None
    names = frozenset(meta.find_undeclared_variables(tree)) - _ENVIRONMENT.globals.keys()
    if known is not None:
        _require_known(tree, names, known)
    for node, alone in _uses(tree, {"env", *marked}):
        if not alone:
            name = node.name if isinstance(node, nodes.Name) else "env.NAME"
            raise BadTemplate(_not_alone(name), node.lineno)
    return Template(text, template, names, frozenset(_secrets(tree)))


def mark(name: str) -> str:
    """Return what stands for a shell variable in a rendered text, see `MARK`."""
    return f"\ue000{name}\ue001"


def _require_known(tree: nodes.Template, names: Iterable[str], known: Collection[str]) -> None:
    for name in sorted(set(names) - set(known)):
        line = next(node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
        raise BadTemplate(undefined(name, known), line)


def undefined(name: str, known: Collection[str]) -> str:
    """Say that there is no such variable, and what there is."""
    if name in _ELSEWHERE:
        return f"`{name}` is not for this template: {_ELSEWHERE[name]}"
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(sorted(known)) or 'nothing'}"
    return f"`{name}` is undefined; {hint}"


def _uses(node: nodes.Node, names: Collection[str], *, captured: bool = False) -> Iterator[tuple[nodes.Node, bool]]:
    """Yield each use of the names, `env` with its attribute, and whether its value is written out as it is."""
    captured = captured or isinstance(node, _CAPTURING)
    for child in node.iter_child_nodes():
        if _of_env(child):
            yield child, isinstance(node, nodes.Output) and not captured
        elif isinstance(child, nodes.Name) and child.ctx == "load" and child.name in names:
            yield child, isinstance(node, nodes.Output) and not captured and child.name != "env"
        else:
            yield from _uses(child, names, captured=captured)


def _of_env(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == "env"


def _not_alone(name: str) -> str:
    if name in ("env", "env.NAME"):
        return "a variable of the environment stands alone, as `{{ env.NAME }}`: the export keeps its name"
    second = "; a second port is `metrics_port`" if name == "port" else ""
    return f"`{name}` stands alone here, as `{{{{ {name} }}}}`: the export keeps it variable{second}"


def _secrets(tree: nodes.Template) -> Iterator[str]:
    yield from (node.attr for node in tree.find_all(nodes.Getattr) if _of_env(node))


def _said(error: Exception) -> str:
    if isinstance(error, jinja2.TemplateError):
        return error.message or type(error).__name__
    return f"{type(error).__name__}: {error}"


def _line_of(error: Exception, template: jinja2.Template) -> int:
    """Return the template's line that raised an error: jinja2 puts it into the traceback."""
    line, frame = 0, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename in ("<template>", template.filename):
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
