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
