"""Where trials are kept: a file of the run, or a database that several runs share."""

import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError


class _Connection(sqlite3.Connection):
    """A connection that does not wait for the disk at every commit.

    With a write-ahead log that is safe when the process is killed; a host that loses power may lose the last commits.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")


class StorageError(Exception):
    """A storage that cannot be used; the message says which and why, without the password."""


def kept_in(folder: Path, asked: str | None) -> str:
    """Return what keeps the trials of a run, as `open_storage` takes it.

    Args:
        folder: of the run.
        asked: what its study says, None where that cannot be read any more.

    Raises:
        StorageError: its trials are in no file of the folder, and nobody knows where.
    """
    files = {"sqlite": "study.db", "journal": "study.journal"}
    found = next((name for name, file in files.items() if (folder / file).is_file()), asked)
    if found is None or (found in files and not (folder / files[found]).is_file()):
        raise StorageError(f"{folder}: holds no {' and no '.join(files.values())}; the trials of this run are gone")
    return found


def open_storage(said: str, folder: Path) -> BaseStorage:
    """Open what keeps the trials.

    Args:
        said: `sqlite` or `journal`, a file in the folder; or the URL of a database that SQLAlchemy knows, in which
            $NAME stands for an environment variable.
        folder: of the run.

    Raises:
        StorageError: the database cannot be reached, or its driver is not installed.
    """
    if said == "sqlite":
        return RDBStorage(f"sqlite:///{folder / 'study.db'}", engine_kwargs={"connect_args": {"factory": _Connection}})
    if said == "journal":
        return JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    try:
        return RDBStorage(os.path.expandvars(said))
    except (ImportError, RuntimeError, SQLAlchemyError, ValueError) as error:
        address = re.sub(r"//.*@", "//...@", said)
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise StorageError(f"search.storage: {address} cannot be used: {type(error).__name__}: {reason}") from None
