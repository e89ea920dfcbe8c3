"""An export that the study's own server loads as it is written, before anybody relies on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from targets.base import Target, TargetError
from targets.exports import Applying, VerifiesCopy
from tuner.exporting import Exported, ExportError
from tuner.serving import first_requests, verify
from tuner.wiring import Prepared


def check_verifiable(prepared: Prepared, *, copied: bool) -> None:
    """Check that a server can be started on an export of a study.

    Args:
        prepared: the study and its target.
        copied: whether the server is to be started on a copied folder.

    Raises:
        ExportError: none can be, with the reason.
    """
    key, target = prepared.study.spec.target.url_key, prepared.target
    if key is not None:
        instead = ": --apply has it load the configuration, and reads it back" if isinstance(target, Applying) else ""
        raise ExportError(
            f"--verify starts a server for the export, and that of this study runs already (`target.{key}`); "
            f"leave it out{instead}"
        )
    if copied and not isinstance(target, VerifiesCopy):
        raise ExportError("--verify: this kind of target starts no server on a copied folder; leave out --repository")


def verify_export(made: Exported) -> None:
    """Start the study's server, have it load what was exported as it is, ask it once, and stop it.

    Raises:
        TargetError: it does not serve, with the server's own reason.
    """
    with _stopped(made.prepared.target):
        made.prepared.target.start()
        verify(made.prepared.target, made.needed, made.prepared.workloads)


def verify_copy(made: Exported, folder: Path) -> None:
    """Start the study's server on a folder that was copied, with the exported flags, ask it once, and stop it.

    Raises:
        TargetError: it does not serve, with the server's own reason.
    """
    target = made.prepared.target
    assert isinstance(target, VerifiesCopy), "it was checked"
    with _stopped(target):
        target.verify_copy(folder.resolve(), made.needed, first_requests(made.prepared.workloads))


@contextmanager
def _stopped(target: Target) -> Iterator[None]:
    """Stop the server whatever happens, and say of an error what came of it."""
    try:
        yield
    except TargetError as error:
        raise TargetError(f"the export was not verified: {error}; nothing was written") from None
    finally:
        target.stop()
