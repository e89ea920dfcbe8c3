"""The certificates that a client of gRPC is to trust."""

import ssl
from pathlib import Path

from targets.base import TargetError, Tls


def roots_of(tls: Tls) -> bytes | None:
    """Return the certificates to trust, in PEM: those of the system unless a file is named, as for https.

    A client of gRPC has its own list otherwise; None, where the system has no certificates, leaves it that.

    Raises:
        TargetError: they cannot be read.
    """
    system = ssl.get_default_verify_paths()
    named = tls.ca or system.cafile
    hashed = sorted(Path(system.capath).glob("*.[0-9]")) if system.capath else []
    try:
        return b"".join(file.read_bytes() for file in ([Path(named)] if named else hashed)) or None
    except OSError as error:
        raise TargetError(f"the certificates to trust cannot be read: {error.filename}: {error.strerror}") from None
