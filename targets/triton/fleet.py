"""The servers of a study: one for each command line that a deployment needs at the moment."""

from collections.abc import Callable, Sequence

from targets.triton.server import TritonServer

Flags = tuple[str, ...]


class Fleet:
    """Servers by their flags, and which deployment is on which.

    Models are loaded into a server that runs; flags are given when it starts. So a deployment that needs other flags
    gets a server of its own, and one that nobody needs any more makes room for it.

    Args:
        start: starts a server with flags; the second argument says whether another one runs.
    """

    def __init__(self, start: Callable[[Flags, bool], TritonServer]) -> None:
        self._start = start
        self._servers: dict[Flags, TritonServer] = {}
        self._needed: dict[str, Flags] = {}

    def serving(self, flags: Sequence[str], alias: str = "") -> TritonServer:
        """Return the server that has the flags, for a deployment under an alias; it is started where there is none.

        Args:
            flags: of the server's command line.
            alias: of the deployment, "" for none so far.

        Raises:
            TargetError: it does not start.
        """
        wanted = tuple(flags)
        if alias:
            self._needed[alias] = wanted
        for idle in [one for one in self._servers if one not in (wanted, *self._needed.values())]:
            self._servers.pop(idle).stop()
        if wanted not in self._servers:
            self._servers[wanted] = self._start(wanted, bool(self._servers))
        return self._servers[wanted]

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
