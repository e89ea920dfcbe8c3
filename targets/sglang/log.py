"""What SGLang's log tells: why it ended."""

import re

# `[2025-11-25 19:42:20 TP0] `, in front of what a process logs; a traceback has it in its first line only.
_PREFIX = re.compile(r"^\[\d{4}-[\d-]+ [\d:]+(?: [A-Z]+\d+)*\] ")
_USAGE = re.compile(r"^(?:sglang serve|launch_server\.py): error: (?P<reason>.*)$")
_EXCEPTION = re.compile(r"^(?P<name>[\w.]*(?:Error|Exception|Exit|Interrupt))(?:: (?P<reason>.*))?$")


def reason(text: str) -> str:
    """Return why SGLang ended: what its command line refuses, or the first exception; "" where it does not say."""
    for line in text.splitlines():
        said = _PREFIX.sub("", line)
        if match := _USAGE.match(said):
            return match["reason"]
        if match := _EXCEPTION.match(said):
            return (match["reason"] or "").strip() or match["name"]
    return ""
