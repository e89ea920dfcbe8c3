"""Memory of this machine for a Triton on it that runs already: nobody watches over it."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex

from targets.base import ConfigRefused, ServerDied, TargetError
from targets.guardian import SHARED
from targets.kserve.control import Control
from targets.kserve.wire import Place
from targets.triton.memory import ShmFile
from targets.triton.requesting import RequestOptions

SYSTEM = "shared_memory"


class RemoteMemories:
    """Makes shared memory where a study asks for it.

    Whether the server is on this machine and sees its memory is found out by trying: an address does not tell it, as
    that of a tunnel.
    """

    def __init__(self, options: RequestOptions) -> None:
        self._numbers, self._run = itertools.count(), token_hex(6)
        self._keys = [f"target.{key}" for key in ("tensors", "outputs") if getattr(options, key) == SYSTEM]

    def check(self, control: Control) -> None:
        """Check that the server maps such memory where it is asked for.

        Raises:
            TargetError: it does not; with its own reason.
        """
        if not self._keys:
            return
        memory = RemoteMemory(control, self._name())
        try:
            memory.register()
        except ConfigRefused as error:
            raise TargetError(
                f"{self._keys[0]}: the server does not take this machine's shared memory: {error}; it has to run on "
                "this machine, in a container with its `--ipc=host`, and as root or the same user; else take "
                f"`{SYSTEM}` out"
            ) from None
        finally:
            memory.release()

    def made(self, control: Control, kind: str) -> "RemoteMemory | None":
        """Return a region for one source of requests; None for tensors that do not travel in one."""
        return RemoteMemory(control, self._name()) if kind == SYSTEM else None

    def _name(self) -> str:
        return f"paretune_{self._run}_{next(self._numbers)}"


class RemoteMemory(ShmFile):
    """POSIX shared memory, for a server that is somebody else's.

    The file has a name only while the server maps it, so that a kill -9 leaves none behind.

    Args:
        control: of the server that it is registered with.
        name: of the region.
    """

    def __init__(self, control: Control, name: str) -> None:
        super().__init__(name, os.open(SHARED, os.O_TMPFILE | os.O_RDWR, 0o600))
        self._control = control

    def register(self) -> None:
        """Have the server map the file by a name that it has meanwhile."""
        self.fill()
        with _named(self._file.fileno(), self._name):
            try:
                self._control.share(self._name, self._layout.size)
            except ServerDied:
                raise
            except TargetError as error:
                raise ConfigRefused(str(error)) from None
        self._registered = True

    def read(self, place: Place) -> bytes:
        """Read from the file."""
        return os.pread(self._file.fileno(), place.size, place.offset)

    def release(self) -> None:
        """Close the file and have the server forget it, if it still answers: with that it is gone."""
        self._file.close()
        if self._registered:
            self._registered = False
            with suppress(TargetError):
                self._control.unshare(self._name)


@contextmanager
def _named(descriptor: int, name: str) -> Iterator[None]:
    """Give an open file of the shared memory, which has no name, one for a while."""
    folder = os.open(SHARED, os.O_PATH | os.O_DIRECTORY)
    try:
        # Only with the descriptor of a folder Python has the system follow the link to the open file.
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder)
    finally:
        os.close(folder)
    try:
        yield
    finally:
        (SHARED / name).unlink()
