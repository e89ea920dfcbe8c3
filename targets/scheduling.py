"""Ask the kernel to let a process run as soon as it wakes up: the load generator, and the server of known answer."""

import ctypes
import platform

_SYSCALL = {"x86_64": 314, "aarch64": 274}
SLICE_NS = 100_000


class _SchedAttr(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def ask_for_short_slices() -> bool:
    """Give this process a time slice of 0.1 ms; return whether the kernel took it.

    Linux 6.12 and later let a waking task with a shorter slice push aside the one that runs; with the default of some
    3 ms, any background task on the same core delays what is to be sent by that much. It needs no privilege and takes
    no CPU from anybody. Older kernels and other platforms pass over it.
    """
    number = _SYSCALL.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return False
    attributes = _SchedAttr(size=ctypes.sizeof(_SchedAttr), runtime=SLICE_NS)
    return bool(ctypes.CDLL(None).syscall(number, 0, ctypes.byref(attributes), 0) == 0)
