"""The servers of a study: one for each command line that a deployment needs at the moment."""

from collections.abc import Callable, Sequence
from itertools import count

from targets.triton.server import TritonServer

Flags = tuple[str, ...]
Place = tuple[Flags, int]
"""Flags, and which of the servers with these it is."""


class Fleet:
    """Servers by their flags, and which deployment is on which.

    Models are loaded into a server that runs; flags are given when it starts. So a deployment that needs other flags
    gets a server of its own, and one that nobody needs any more makes room for it. So does one
    that no server with its flags fits, where other deployments need those as they are.

    Args:
        start: starts a server with flags; the second argument says whether another one runs.
    """

    def __init__(self, start: Callable[[Flags, bool], TritonServer]) -> None:
        self._start = start
        self._servers: dict[Place, TritonServer] = {}
        self._needed: dict[str, Place] = {}

    def serving(
        self, flags: Sequence[str], alias: str = "", fits: Callable[[TritonServer], bool] | None = None
    ) -> TritonServer:
        """Return a server that has the flags, for a deployment under an alias; it is started where there is none.

        Args:
            flags: of the server's command line.
            alias: of the deployment, "" for none so far.
            fits: whether a server will do as it is; one that no other deployment needs does in any case. None: all do.

        Raises:
            TargetError: it does not start.
        """
        wanted = self._place(tuple(flags), alias, fits or (lambda _: True))
        if alias:
            self._needed[alias] = wanted
        for idle in [one for one in self._servers if one not in (wanted, *self._needed.values())]:
            self._servers.pop(idle).stop()
        if wanted not in self._servers:
            self._servers[wanted] = self._start(wanted[0], bool(self._servers))
        return self._servers[wanted]

    def _place(self, flags: Flags, alias: str, fits: Callable[[TritonServer], bool]) -> Place:
        """Return which server is taken, that of the alias before others; or the place of a new one."""
        of_others = [place for other, place in self._needed.items() if other != alias]
        running = sorted((place for place in self._servers if place[0] == flags), key=self._mine(alias))
        ready = (place for place in running if fits(self._servers[place]))
        free = (place for place in running if place not in of_others)
        found = next(ready, None) or next(free, None)
        return found or (flags, next(number for number in count() if (flags, number) not in self._servers))

    def _mine(self, alias: str) -> Callable[[Place], bool]:
        """Return a key that sorts the server of an alias to the front."""
        return lambda place: place != self._needed.get(alias)

    def forget(self, alias: str) -> None:
        """Take note that a deployment is gone."""
        self._needed.pop(alias, None)

    def any(self) -> TritonServer | None:
        """Return a server that runs, None where there is none."""
        return next(iter(self._servers.values()), None)

    def settle(self) -> None:
        """Wait until the instances that were unloaded on them have ended."""
        for server in self._servers.values():
            server.settle()

    def alive(self) -> bool:
        """Whether all servers run and answer."""
        return all(server.alive() for server in self._servers.values())

    def stop(self) -> None:
        """Stop all of them."""
        self._needed.clear()
        while self._servers:
            self._servers.popitem()[1].stop()
