"""What a host's server is started with, told from that of others by its content. Reads files."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tuner.study.load import Study

WHOLE_BYTES = 16 << 20
"""Files up to this size are read whole; of larger ones SAMPLES pieces are, from the first to the last."""
SAMPLES, SAMPLE_BYTES = 64, 64 << 10
_DIGITS = 12


def contents(study: Study) -> dict[str, str]:
    """Identify the files of the target: what is directly in a folder of them -> what is in it, wherever that stands.

    The name of its folder is in front where there are several. Left out are hidden files and `__pycache__`; what cannot
    be read counts by its size.
    """
    target = study.spec.target
    roots = [study.resolve(path) for path in (*target.files(), *target.files_of_these(study.resolve))]
    digests: dict[str, hashlib._Hash] = {}
    for root in roots:
        before = f"{root.name}/" if root.is_dir() and len(roots) > 1 else ""
        for inside, file in _files(root):
            digest = digests.setdefault(before + inside[0], hashlib.sha256())
            digest.update("\0".join([*inside, str(file.stat().st_size), ""]).encode())
            with suppress(OSError):
                digest.update(_content(file))
    return {name: digest.hexdigest()[:_DIGITS] for name, digest in digests.items()}


def _files(root: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield the path of each file inside of a folder, and the file; a file is its own folder."""
    if root.is_file():
        yield (root.name,), root
    for file in sorted(root.rglob("*")) if root.is_dir() else ():
        inside = file.relative_to(root).parts
        if file.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in inside):
            yield inside, file


def _content(file: Path) -> bytes:
    """Return a digest of a file, of a large one by samples."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= WHOLE_BYTES:
            return hashlib.file_digest(opened, "sha256").digest()
        digest = hashlib.sha256()
        for sample in range(SAMPLES):
            opened.seek(sample * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            digest.update(opened.read(SAMPLE_BYTES))
        return digest.digest()
