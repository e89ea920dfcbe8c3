"""What a version of vLLM can be told: its own `vllm serve --help`, read."""

import re
from dataclasses import dataclass

_OPTION = re.compile(r"^  (-\S.*)$")
_FLAG = re.compile(r"(?<![\w-])(--?[A-Za-z][\w.-]*)")
_CHOICES = re.compile(r"\{([^}]*)\}")
_DEFAULT = re.compile(r"\(default: ([^()]*)\)")
_GROUP = re.compile(r"^\S")


@dataclass(frozen=True)
class Option:
    """An option of the command line.

    Attributes:
        flags: all its spellings, with their dashes.
        choices: the values it takes, () where the help does not list them.
        default: as the help writes it, "" where it does not.
    """

    flags: tuple[str, ...]
    choices: tuple[str, ...]
    default: str


def parse(text: str) -> dict[str, Option]:
    """Return the options of an argparse help text by name: each long flag without its dashes."""
    found: dict[str, Option] = {}
    for head, body in _entries(text):
        choices = _CHOICES.search(head)
        said = _DEFAULT.findall(" ".join(body.split()))
        flags = tuple(dict.fromkeys(_FLAG.findall(_CHOICES.sub("", head))))
        option = Option(flags, tuple(choices[1].split(",")) if choices else (), said[-1] if said else "")
        found |= {flag.removeprefix("--"): option for flag in flags if flag.startswith("--")}
    return found


def _entries(text: str) -> list[tuple[str, str]]:
    """Return the line that names an option and the text below it, for each."""
    entries: list[tuple[str, list[str]]] = []
    listed = False
    for line in text.splitlines():
        if match := _OPTION.match(line):
            head, _, rest = match[1].partition("  ")
            entries.append((head, [rest]))
            listed = True
        elif _GROUP.match(line):
            listed = False
        elif listed:
            entries[-1][1].append(line)
    return [(head, "\n".join(body)) for head, body in entries]


def default_is(option: Option, value: object) -> bool:
    """Whether the help says that an option has this value when it is not given."""
    return option.default == str(value)
