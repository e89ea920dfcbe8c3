"""Flags of tritonserver's command line: those that the study gives, and those that are tuned. Pure.

`since` is the release whose notes have the flag; `2.4 or before` and `2.15 or before` where sources of the server from
before that release have it (2.15 brought --rate-limit, which they lack).
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from targets.base import Config, Knob, TargetError, Value

CACHE_CONFIG = "--cache-config=local,size="
RESOURCE = "--rate-limit-resource="
NEEDS_GPU = "needs a GPU"
OLD = "2.15 or before"
FILE = Path("server-flags.txt")
"""Of an export: one flag a line, quoted as a shell wants them."""
MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1
OURS = frozenset(
    {
        "allow-grpc",
        "allow-http",
        "allow-metrics",
        "exit-timeout-secs",
        "grpc-address",
        "grpc-port",
        "grpc-restricted-protocol",
        "grpc-use-ssl",
        "grpc-use-ssl-mutual",
        "help",
        "http-address",
        "http-port",
        "http-restricted-api",
        "load-model",
        "log-error",
        "log-file",
        "log-format",
        "metrics-address",
        "metrics-port",
        "model-control-mode",
        "model-repository",
        "model-store",
        "repository-poll-secs",
        "reuse-grpc-port",
        "reuse-http-port",
    }
)
"""Flags that Paretune sets itself, or that would keep it from its server."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_ROW = re.compile(r"^\| (?P<option>[\w{}]+) +\| (?P<value>.*?) +\|$", re.MULTILINE)


@dataclass(frozen=True)
class _Flag:
    """A flag that is tuned.

    Attributes:
        knob: that sets it.
        start: of the flag, up to its value.
        option: its row in the table that the server logs at its start, "" where it has none.
    """

    knob: Knob
    start: str
    option: str = ""

    def text(self, value: Value) -> str:
        """Return the flag for a value, "" where leaving it out says the same and nothing else does."""
        return "" if self.knob.name == "cache_size" and not value else f"{self.start}{value}"

    def shown(self, value: Value) -> str:
        """Return a value as the server's table has it."""
        if self.knob.name == "cache_size":
            return str(int(bool(value)))
        return {"off": "OFF", "execution_count": "EXEC_COUNT"}.get(str(value), str(value))

    def value(self, text: str) -> Value:
        """Return the value that a flag has. Raises ValueError where it is none of the knob's."""
        rest = text[len(self.start) :]
        if self.knob.type != "choice":
            return int(rest)
        if rest not in self.knob.choices:
            raise ValueError(rest)
        return rest


_FLAGS: Sequence[_Flag] = (
    _Flag(Knob("http_thread_count", "int", 1, MAX_INT32, 8, "", "restart",
               "threads that handle HTTP requests (--http-thread-count)", since="2.4 or before"),
          "--http-thread-count="),
    _Flag(Knob("grpc_infer_allocation_pool_size", "int", 0, MAX_INT32, 8, "", "restart",
               "requests over gRPC whose memory is kept for reuse (--grpc-infer-allocation-pool-size)", since=OLD),
          "--grpc-infer-allocation-pool-size="),
    _Flag(Knob("model_load_thread_count", "int", 1, MAX_INT32, 4, "", "restart",
               "models that are loaded at once (--model-load-thread-count)", since="2.24"),
          "--model-load-thread-count="),
    _Flag(Knob("buffer_manager_thread_count", "int", 0, MAX_INT32, 0, "", "restart",
               "threads that copy inputs and outputs (--buffer-manager-thread-count)", since=OLD),
          "--buffer-manager-thread-count="),
    _Flag(Knob("pinned_memory_pool_size", "int", 0, MAX_INT64, 2**28, "bytes", "restart",
               "pinned memory for copies between host and GPU (--pinned-memory-pool-byte-size)", since=OLD),
          "--pinned-memory-pool-byte-size=", "pinned_memory_pool_byte_size"),
    _Flag(Knob("cuda_memory_pool_size", "int", 0, MAX_INT64, 2**26, "bytes", "restart",
               "memory of GPU 0 for what goes to and from it (--cuda-memory-pool-byte-size=0:...)", since=OLD,
               rule=NEEDS_GPU),
          "--cuda-memory-pool-byte-size=0:", "cuda_memory_pool_byte_size{0}"),
    _Flag(Knob("cache_size", "int", 0, MAX_INT64, 0, "bytes", "restart",
               "memory of the response cache (--cache-config=local,size=...); 0: there is none", since="2.32"),
          CACHE_CONFIG, "cache_enabled"),
    _Flag(Knob("rate_limit", "choice", None, None, "off", "", "restart",
               "whether rate_limiter in config.pbtxt holds (--rate-limit)", choices=("off", "execution_count"),
               since="2.15"),
          "--rate-limit=", "rate_limit"),
)  # fmt: skip

KNOBS: Sequence[Knob] = tuple(flag.knob for flag in _FLAGS)
NAMES = frozenset(knob.name for knob in KNOBS)


def flag_name(name: str) -> str:
    """Return the name of a flag as Triton spells it; dashes before it may be there, underscores stand for dashes.

    Raises:
        ValueError: it is none, or Paretune sets it itself.
    """
    plain = name.removeprefix("--").replace("_", "-")
    if not _NAME.fullmatch(plain):
        raise ValueError(f"expected the name of a flag of tritonserver, like http-thread-count, but got {name!r}")
    if plain in OURS:
        raise ValueError(f"Paretune sets `{plain}` itself, or needs it as it is; take it out")
    return plain


def given_flags(given: Mapping[str, object]) -> list[str]:
    """Return flags as they stand on a command line: `--NAME=VALUE`, once for each value of a list."""
    several = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    return [f"--{name}={_spelled(one)}" for name, values in several.items() for one in values]


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def flag_values(flags: Sequence[str]) -> dict[str, Value]:
    """Return what a command line gives the knobs; the last one of a flag holds, as in the server.

    Raises:
        TargetError: a value that is none of the knob's.
    """
    values: dict[str, Value] = {}
    for text in flags:
        for flag in _FLAGS:
            if text.startswith(flag.start):
                try:
                    values[flag.knob.name] = flag.value(text)
                except ValueError:
                    raise TargetError(f"target.flags: {text}: not a value of it; {_legal(flag.knob)}") from None
    return values


def _legal(knob: Knob) -> str:
    return f"one of {', '.join(knob.choices)}" if knob.choices else "give a whole number"


def server_flags(config: Config, own: Sequence[str] = ()) -> list[str]:
    """Return the flags of a configuration: the user's own with the tuned ones changed where they stand.

    Args:
        config: of all knobs; those that are no flags are passed over.
        own: the user's own flags.
    """
    result = list(own)
    current = flag_values(own)
    for flag in _FLAGS:
        value = config.get(flag.knob.name)
        if value is None or current.get(flag.knob.name) == value:
            continue
        text = flag.text(value)
        places = [index for index, one in enumerate(result) if one.startswith(flag.start)]
        for index in reversed(places[1:] if text else places):
            del result[index]
        if places and text:
            result[places[0]] = text
        elif text:
            result.append(text)
    return result


def to_text(flags: Sequence[str]) -> str:
    """Return flags as the text of `FILE`."""
    return "".join(f"{shlex.quote(flag)}\n" for flag in flags)


def from_text(text: str) -> list[str]:
    """Return the flags that the text of `FILE` has.

    Raises:
        TargetError: it is no list of flags.
    """
    try:
        found = shlex.split(text)
    except ValueError as error:
        raise TargetError(f"{FILE}: not a list of flags: {error}") from None
    if wrong := [one for one in found if not one.startswith("--")]:
        raise TargetError(f"{FILE}: not a flag: {wrong[0]!r}")
    return found


def together(texts: Iterable[str]) -> str:
    """Return the text of `FILE` for models on one server, each of which needs some flags."""
    return to_text(list(dict.fromkeys(flag for text in texts for flag in from_text(text))))


def logged_options(log: str) -> dict[str, str]:
    """Return the table of options that the server logs at its start: option -> value; {} where it logs none."""
    return {row["option"]: row["value"] for row in _ROW.finditer(log) if row["option"] != "Option"}


def mismatches(flags: Sequence[str], options: Mapping[str, str]) -> Iterator[str]:
    """Yield every tuned flag that the server's table of options says otherwise; it does not have all of them."""
    values = flag_values(flags)
    for flag in _FLAGS:
        shown = options.get(flag.option)
        if shown is not None and flag.knob.name in values:
            asked = values[flag.knob.name]
            if shown != flag.shown(asked):
                yield f"{flag.knob.name}: asked {asked}, the server says {flag.option} is {shown}"


def caches(flags: Sequence[str]) -> list[str]:
    """Return the flags that give a server a response cache, of whatever kind."""
    given = [one for one in flags if one.partition("=")[0] in ("--cache-config", "--response-cache-byte-size")]
    return [one for one in given if one != "--response-cache-byte-size=0"]


def resources(flags: Sequence[str]) -> dict[str, int]:
    """Return how much a command line gives each resource of the rate limiter, of those that are no single device's."""
    found: dict[str, int] = {}
    of_devices: set[str] = set()
    for flag in flags:
        if flag.startswith(RESOURCE):
            name, *numbers = flag.removeprefix(RESOURCE).split(":")
            if len(numbers) == 1 and numbers[0].isdigit():
                found[name] = int(numbers[0])
            else:
                of_devices.add(name)
    return {name: count for name, count in found.items() if name not in of_devices}


def gives(flags: Sequence[str], name: str) -> bool:
    """Whether a command line gives a flag."""
    return any(flag.partition("=")[0] == name for flag in flags)
