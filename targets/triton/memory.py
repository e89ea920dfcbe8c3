"""Memory that Triton shares: tensors lie there, and requests only say where."""

import base64
import os
from pathlib import Path
from typing import Protocol

from targets.base import TargetError
from targets.guardian import SHARED
from targets.kserve.wire import Place
from targets.triton.cuda import Allocation, Cuda
from targets.triton.server import TritonServer

ALIGNMENT = 64
"""Tensors begin at multiples of this, as the buffers of numpy and of most backends do."""


class Memory(Protocol):
    """A region of memory, filled once and then registered with the server."""

    def put(self, data: bytes) -> Place:
        """Place bytes in it, and return where. Raises TargetError when there is no room."""
        ...

    def reserve(self, size: int) -> Place:
        """Leave room for so many bytes, and return where."""
        ...

    def register(self) -> None:
        """Have the server map it; nothing is placed in it any more.

        Raises:
            ConfigRefused: the server does not; with its own reason.
            TargetError: there is no room.
        """
        ...

    def read(self, place: Place) -> bytes:
        """Return what lies at a place now."""
        ...

    def release(self) -> None:
        """Give it back; the server forgets it too, if it still runs."""
        ...


class _Layout:
    """The end of what was placed, and the place of what is next."""

    def __init__(self, region: str) -> None:
        self.region, self.size = region, ALIGNMENT  # no region is empty

    def next(self, size: int) -> Place:
        """Return the place of the next tensor."""
        place = Place(self.region, self.size, size)
        self.size += -(-size // ALIGNMENT) * ALIGNMENT
        return place


class ShmFile:
    """A file in /dev/shm that tensors are put into: POSIX shared memory.

    Args:
        name: of the region.
        descriptor: of the file, which is empty.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self._name = name
        self._layout = _Layout(name)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._registered = False

    def put(self, data: bytes) -> Place:
        """Write bytes to the file."""
        place, view = self._layout.next(len(data)), memoryview(data)
        try:
            while view:
                view = view[os.pwrite(self._file.fileno(), view, place.offset + len(data) - len(view)) :]
        except OSError as error:
            raise self._no_room(error) from None
        return place

    def reserve(self, size: int) -> Place:
        """Leave room."""
        return self._layout.next(size)

    def fill(self) -> None:
        """Make the file as long as it has to be, every page of it there: a server that finds none is killed."""
        try:
            os.posix_fallocate(self._file.fileno(), 0, self._layout.size)
        except OSError as error:
            raise self._no_room(error) from None

    def _no_room(self, error: OSError) -> TargetError:
        free = os.statvfs(SHARED)
        return TargetError(
            f"target.tensors: {self._layout.size:,} bytes of shared memory do not fit into {SHARED}, where "
            f"{free.f_bavail * free.f_frsize:,} are free ({error.strerror}); send fewer requests that differ, make it "
            "larger (`mount -o remount,size=...`, docker: `--shm-size`), or take `tensors: binary`"
        )


class SystemMemory(ShmFile):
    """Shared memory of this machine, for a server of ours.

    The guardian removes it by its prefix when the server or the tuner ends in any other way than `release`.

    Args:
        server: that it is registered with.
        name: of the region; begins with the server's prefix.
    """

    def __init__(self, server: TritonServer, name: str) -> None:
        self._server = server
        self._path: Path = SHARED / name
        super().__init__(name, os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def register(self) -> None:
        """Have the server map the file by its name, which it keeps."""
        self.fill()
        self._file.close()
        self._server.ask(
            lambda client: client.register_system_shared_memory(self._name, f"/{self._name}", self._layout.size)
        )
        self._registered = True

    def read(self, place: Place) -> bytes:
        """Read from the file."""
        with self._path.open("rb") as file:
            file.seek(place.offset)
            return file.read(place.size)

    def release(self) -> None:
        """Remove the file, then have the server unmap it."""
        self._file.close()
        self._path.unlink(missing_ok=True)
        if self._registered and self._server.alive():
            self._server.ask(lambda client: client.unregister_system_shared_memory(self._name))


class CudaMemory:
    """Memory of a GPU, of which the server gets a handle.

    Args:
        server: that it is registered with.
        name: of the region.
        cuda: the library.
        device: index of the GPU.
    """

    def __init__(self, server: TritonServer, name: str, cuda: Cuda, device: int) -> None:
        self._server, self._name, self._cuda, self._device = server, name, cuda, device
        self._layout = _Layout(name)
        self._content = bytearray()
        self._allocation: Allocation | None = None
        self._registered = False

    def put(self, data: bytes) -> Place:
        """Keep bytes until the size of all is known."""
        place = self._layout.next(len(data))
        self._content += bytes(place.offset - len(self._content)) + data
        return place

    def reserve(self, size: int) -> Place:
        """Leave room."""
        return self._layout.next(size)

    def register(self) -> None:
        """Copy all to the GPU and hand the server the memory's handle."""
        allocation = self._allocation = self._cuda.allocated(self._device, self._layout.size)
        allocation.write(bytes(self._content))
        self._content.clear()
        handle = base64.b64encode(allocation.handle()).decode()
        self._server.ask(
            lambda client: client.register_cuda_shared_memory(self._name, handle, self._device, self._layout.size)
        )
        self._registered = True

    def read(self, place: Place) -> bytes:
        """Copy from the GPU."""
        assert self._allocation is not None, "it is registered"
        return self._allocation.read(place.offset, place.size)

    def release(self) -> None:
        """Have the server forget the handle, then free the memory: the other way round is undefined."""
        if self._registered and self._server.alive():
            self._server.ask(lambda client: client.unregister_cuda_shared_memory(self._name))
        if self._allocation is not None:
            self._allocation.free()
