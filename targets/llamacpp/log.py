"""What llama-server's log tells: why it ended, and what it took from its configuration."""

import re

_SETTING = re.compile(r'^error while handling (?:environment variable|argument) "(?P<name>[^"]+)": (?P<reason>.*)$')
_ARGUMENT = re.compile(r"^error: (?P<reason>invalid argument: .*)$")
_ASSERTION = re.compile(r"(?P<reason>GGML_ASSERT\(.*\) failed.*)$")
# `0.00.031.117 E llama_init_from_model: ` or `0.00.034.375 E srv  llama_server: `, in front of what is wrong.
_ERROR = re.compile(r"^[\d.]+ E (?:\w+ +)?(?:\w+: )?(?P<reason>.*)$")
_SERVES = " listening on "
_UNIFIED = re.compile(r"\bkv_unified = '(true|false)'")
_THREADS = re.compile(r"\bn_threads = (\d+)")


def reason(text: str) -> str:
    """Return why llama-server ended; "" where it does not say.

    The first error is the cause of the others. Errors of requests come after the server listens, and so are those that
    end it then.
    """
    lines = (text.rpartition(_SERVES)[2] if _SERVES in text else text).splitlines()
    for pattern in (_SETTING, _ARGUMENT, _ASSERTION, _ERROR):
        for line in lines:
            if match := pattern.search(line):
                said = match["reason"].removeprefix("error: ").strip()
                return f"{match['name']}: {said}" if pattern is _SETTING else said
    return ""


def unified(text: str) -> bool | None:
    """Return whether the slots share one KV cache, None where the log does not say."""
    match = _UNIFIED.search(text)
    return match[1] == "true" if match else None


def threads(text: str) -> int | None:
    """Return the threads that compute, None where the log does not say."""
    match = _THREADS.search(text)
    return int(match[1]) if match else None
