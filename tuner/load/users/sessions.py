"""Locust's HTTP sessions, watched: what is on its way is told, and paths of the user's model lead to what is tuned."""

from collections.abc import Callable
from typing import Any

from gevent import GreenletExit, getcurrent
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession

from tuner.load.plan import Plan, UsersLoop
from tuner.load.users.recording import Recording

Current = Callable[[], tuple[Recording, Plan] | None]
_ENDS = ("", "/", "?", ":")


def watch(current: Current) -> None:
    """Watch every session of this process from now on.

    Args:
        current: returns what is recorded and the plan of the run that is on, None between runs.
    """
    for session in (HttpSession, FastHttpSession):
        setattr(session, "request", _watched(session.request, current))  # noqa: B010 - an assignment has no type


def _watched(request: Callable[..., Any], current: Current) -> Callable[..., Any]:
    def watched(session: Any, method: str, url: str, *args: Any, **options: Any) -> Any:
        running = current()
        if running is None:
            return request(session, method, url, *args, **options)
        recording, plan = running
        there = renamed(url, plan.load) if isinstance(plan.load, UsersLoop) else url
        if there != url and not args and not options.get("name"):
            options["name"] = session.request_name or url
        slot, begun_ns = recording.begin(getcurrent())
        try:
            return request(session, method, there, *args, **options)
        except GreenletExit:
            recording.cut_off(
                begun_ns, (current() or running)[1].window[1], str(method), str(options.get("name") or url)
            )
            raise
        finally:
            recording.leave(slot)

    return watched


def renamed(url: str, load: UsersLoop) -> str:
    """Return a path with that of the user's model replaced by what the server has; others as they are."""
    own = load.own_path
    if own and isinstance(url, str) and url.startswith(own) and url[len(own) : len(own) + 1] in _ENDS:
        return load.path + url[len(own) :]
    return url
