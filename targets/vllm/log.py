"""What vLLM's log tells: why it ended, and what it took from its configuration."""

import ast
import re
from collections.abc import Mapping

# `(EngineCore pid=7) ERROR 11-25 19:21:35 [core.py:1510] `, in front of each line of a traceback too. What is logged
# with less than an error is not why it ended.
_PREFIX = re.compile(r"^\(\w+ pid=\d+\) (?:(?:ERROR|CRITICAL) [\d-]+ [\d:]+ \[[\w.]+:\d+\] ?)?")
_USAGE = re.compile(r"^vllm[\w ]*: error: (?P<reason>.*)$")
_EXCEPTION = re.compile(r"^(?P<name>[\w.]*(?:Error|Exception|Exit|Interrupt))(?:: (?P<reason>.*))?$")
_OF_PYDANTIC = re.compile(r"^\d+ validation errors? for \w+$")
_PYDANTIC_END = "For further information visit"
_PYDANTIC_DETAIL = re.compile(r" \[type=\w+, input_value=.*$")
_ARGUMENTS = re.compile(r"non-default args: (\{.*\})$", re.MULTILINE)
_ENUM = re.compile(r"<[\w.]+: ([^<>]*)>")
_DEVICE = re.compile(r"\bdevice_config=([\w:]+)")


def reason(text: str) -> str:
    """Return why vLLM ended: what its command line refuses, or the first exception; "" where it does not say."""
    lines = [_PREFIX.sub("", line) for line in text.splitlines()]
    for number, line in enumerate(lines):
        if match := _USAGE.match(line):
            return match["reason"]
        if match := _EXCEPTION.match(line):
            said = (match["reason"] or "").strip()
            if _OF_PYDANTIC.match(said):
                return _validation(lines[number + 1 :])
            return said or match["name"]
    return ""


def _validation(lines: list[str]) -> str:
    """Return the complaints of pydantic: a field's name in a line of its own, unless it is about the whole."""
    complaints, field = [], ""
    for line in lines:
        text = _PYDANTIC_DETAIL.sub("", line.strip())
        if not line.startswith("  "):
            if not re.fullmatch(r"[\w.]+", text):
                break
            field = text
        elif not text.startswith(_PYDANTIC_END):
            complaints.append(f"{field}: {text}" if field else text.removeprefix("Value error, "))
            field = ""
    return "; ".join(complaints)


def arguments(text: str) -> Mapping[str, object] | None:
    """Return the arguments that vLLM says it took and that are not its defaults; None where it does not say."""
    match = _ARGUMENTS.search(text)
    if match is None:
        return None
    try:
        said = ast.literal_eval(_ENUM.sub(r"\1", match[1]))
    except (ValueError, SyntaxError):
        return None
    return said if isinstance(said, dict) else None


def device(text: str) -> str:
    """Return the device that vLLM says it uses, "" where it does not say."""
    match = _DEVICE.search(text)
    return match[1] if match else ""
