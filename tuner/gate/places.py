"""Where the servers of two sides are: whether they are two at all, and whether both may run at a time."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from targets.options import TargetOptions
from tuner.study.load import Study
from tuner.wiring import Prepared

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORTS = {"http": 80, "https": 443, "grpcs": 443}
_VERSIONS = ("/v1", "/v2")
"""The protocol's own end of a URL, which may be left out."""


def told_apart(old: Study, new: Study) -> list[str]:
    """Check that two sides are not the same in the same running server; return what a reader should know of that.

    Raises:
        StudyError: they are: it would be compared with itself, or both would load their configurations in it.
    """
    before, now = old.spec.target, new.spec.target
    shared = {_place(url): url for url in before.urls}.keys() & {_place(url) for url in now.urls}
    if not shared:
        return []
    where = min(shared)
    keys = [key for key in before.asked_by if key in now.asked_by]
    if other := [key for key in keys if getattr(before, key) != getattr(now, key)]:
        named = ", ".join(f"`target.{key}`" for key in other)
        return [f"both sides ask the same server, {where}: they differ in {named} alone"]
    key = next(name for name, url in _named_urls(now) if _place(url) == where)
    if keys:
        why = (
            "both sides ask it in the same way, so that it would be compared with itself: start a server for each side"
        )
    else:
        why = "each side loads its configuration in it, in place of the other's: start a server for each side"
    raise new.source.error(("target", key), f"{where} is the server of the old side, too; {why}, with a URL of its own")


def beside(old: Study, new: Study) -> tuple[Study, list[str]]:
    """Return the new side's study with free ports in the place of those of the old side's server, and say so."""
    taken = set(old.spec.target.ports.values())
    theirs = {key: port for key, port in new.spec.target.ports.items() if port in taken}
    if not theirs:
        return new, []
    target = new.spec.target.model_copy(update=dict.fromkeys(theirs))
    given = ", ".join(f"`target.{key}: {port}`" for key, port in theirs.items())
    note = f"{given}: the old side's server has it in this run; the new side's has a free port"
    return replace(new, spec=new.spec.model_copy(update={"target": target})), [note]


def one_at_a_time(sides: Sequence[tuple[str, Prepared]]) -> str:
    """Say which side's servers must not run beside another, "" where all may."""
    for label, prepared in sides:
        if not elsewhere(prepared) and not prepared.target.side_by_side:
            return f"a server of {label} may not run beside another (`target.side_by_side`, or a port that is given)"
    return ""


def never_restarted(sides: Sequence[tuple[str, Prepared]]) -> list[str]:
    """Return a note on the sides whose servers are not restarted for a redeployment, since they run elsewhere."""
    labels = [label for label, prepared in sides if elsewhere(prepared)]
    if not labels:
        return []
    named = " and ".join(dict.fromkeys(labels))
    return [f"{named}: the server runs elsewhere and is not restarted: what differs by a restart is in no interval"]


def elsewhere(prepared: Prepared) -> bool:
    """Whether the server of a study runs already, and is not started here."""
    return bool(prepared.study.spec.target.urls)


def _named_urls(target: TargetOptions) -> list[tuple[str, str]]:
    """Return (key, URL) of the server that a target asks."""
    return [(key, url) for key in type(target).model_fields for url in target.urls if getattr(target, key) == url]


def _place(url: str) -> str:
    """Return host, port and path of a URL, spelled in one way."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path.rstrip("/")
    for version in _VERSIONS:
        path = path.removesuffix(version)
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return f"{'127.0.0.1' if host in _LOOPBACK else host}:{port}{path}"
