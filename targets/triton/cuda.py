"""The few calls of CUDA's runtime that shared GPU memory takes, through ctypes.

Source: the CUDA Runtime API, "Memory Management" and "Device Management";
https://docs.nvidia.com/cuda/cuda-runtime-api/index.html
"""

import ctypes
from ctypes.util import find_library

from targets.base import TargetError

LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")
HANDLE_BYTES = 64
"""sizeof(cudaIpcMemHandle_t)."""
_TO_DEVICE, _FROM_DEVICE = 1, 2


class _Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_ubyte * HANDLE_BYTES),)


class Cuda:
    """CUDA's runtime.

    Raises:
        TargetError: it is not installed, or finds no GPU; with the reason.
    """

    def __init__(self) -> None:
        self._library = _loaded()
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        self._library.cudaMalloc.argtypes = (ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t)
        self._library.cudaFree.argtypes = (ctypes.c_void_p,)
        self._library.cudaMemcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._library.cudaIpcGetMemHandle.argtypes = (ctypes.POINTER(_Handle), ctypes.c_void_p)
        count = ctypes.c_int()
        self.call("cudaGetDeviceCount", ctypes.byref(count))
        self.devices = count.value

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the library. Raises TargetError with CUDA's own reason when it fails."""
        if code := getattr(self._library, name)(*arguments):
            reason = self._library.cudaGetErrorString(code).decode(errors="replace")
            raise TargetError(
                f"cuda_shared_memory: {name} failed: {reason} (CUDA error {code}); it needs an NVIDIA GPU with its "
                "driver, else take `shared_memory`"
            )

    def allocated(self, device: int, size: int) -> "Allocation":
        """Allocate bytes on a GPU."""
        return Allocation(self, device, size)


class Allocation:
    """Memory on a GPU.

    Args:
        cuda: the runtime.
        device: index of the GPU.
        size: in bytes.
    """

    def __init__(self, cuda: Cuda, device: int, size: int) -> None:
        self._cuda, self._device = cuda, device
        self._pointer = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(self._pointer), size)

    def write(self, data: bytes) -> None:
        """Copy bytes to its beginning."""
        self._call("cudaMemcpy", self._pointer, data, len(data), _TO_DEVICE)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of it."""
        found = ctypes.create_string_buffer(size)
        self._call("cudaMemcpy", found, (self._pointer.value or 0) + offset, size, _FROM_DEVICE)
        return found.raw

    def handle(self) -> bytes:
        """Return what another process opens it with."""
        found = _Handle()
        self._call("cudaIpcGetMemHandle", ctypes.byref(found), self._pointer)
        return bytes(found)

    def free(self) -> None:
        """Give it back."""
        self._call("cudaFree", self._pointer)

    def _call(self, name: str, *arguments: object) -> None:
        self._cuda.call("cudaSetDevice", self._device)
        self._cuda.call(name, *arguments)


def _loaded() -> ctypes.CDLL:
    found = find_library("cudart")
    for name in (*LIBRARIES, *((found,) if found else ())):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise TargetError(
        f"cuda_shared_memory: CUDA's runtime library is not installed (looked for {', '.join(LIBRARIES)}); install it "
        "and put its folder into LD_LIBRARY_PATH, or take `shared_memory`"
    )
