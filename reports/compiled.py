"""What is made of packages' own files and is the same for every page: made once, kept where Python keeps its own.

That is `__pycache__`, or what PYTHONPYCACHEPREFIX names. Where nothing can be written there, or PYTHONDONTWRITEBYTECODE
is set, it is made each time.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from tuner.files import write_atomically

_DIGEST_BYTES = 16


def kept(name: str, sources: bytes, make: Callable[[], bytes]) -> bytes:
    """Return what is made of sources: as it was kept, where it was made of the very same ones.

    Args:
        name: of the file that it is kept in.
        sources: everything that it depends on.
        make: makes it.
    """
    digest = _digest(sources)
    found = _read(_place(name))
    content = found[2 * _DIGEST_BYTES :]
    if found[: 2 * _DIGEST_BYTES] != digest + _digest(content):
        content = make()
        _write(_place(name), digest + _digest(content) + content)
    return content


class Templates(BytecodeCache):
    """Keeps templates as the bytecode that they are compiled to."""

    def __init__(self, name: str) -> None:
        """Begin.

        Args:
            name: of the settings that they are compiled with.
        """
        self._name = f"{name}-jinja2-{version('jinja2')}"

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take a template's bytecode, where it is that of the template as it is now."""
        with suppress(EOFError, ValueError, TypeError):  # a file that is none of ours
            bucket.bytecode_from_string(_read(self._file(bucket)))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a template's bytecode."""
        _write(self._file(bucket), bucket.bytecode_to_string())

    def _file(self, bucket: Bucket) -> Path:
        return _place(f"{self._name}-{bucket.key}")


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _place(name: str) -> Path:
    return Path(cache_from_source(__file__)).with_name(name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _write(path: Path, content: bytes) -> None:
    if sys.dont_write_bytecode:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
