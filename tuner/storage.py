"""Where trials are kept: a file of the run, or a database that several runs share."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import URL, Engine, ExceptionContext, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

FILES = {"sqlite": "study.db", "journal": "study.journal"}
"""What `search.storage` says -> file in the run directory."""
DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
"""Kind of database -> what SQLAlchemy is to take for it, where the URL names no driver."""
EXTRAS = {"psycopg": "pip install 'paretune[postgresql]'"}
"""Module of a driver -> how it is installed."""
JOURNAL = "journal://"
"""Begins the address of a journal that stands in a folder which several hosts share."""
CREATIONS = 5
"""Times that a database is opened while others create its tables too."""
SILENCE_S = 30
"""A database, or a host that has a lock in it, that is not heard of for so long is taken to be gone."""
POSTGRESQL = "postgresql+psycopg"
_NOTICING = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 1000 * SILENCE_S,
}
"""What has this end of a connection to PostgreSQL notice that the other one is gone, where the URL does not say it."""
_NOTICED = ("idle_in_transaction_session_timeout", "lock_timeout")
"""What has the other end do so. It is set once there is a connection: a pooler refuses it in the first word."""
_READ_ONLY = "25006"
"""What PostgreSQL says (SQLSTATE) to whoever writes when another server has taken its place."""
_UNUSED = "no host has worked there yet; start one with `tune worker`"
_BLOCK = 1 << 16
_SECRET = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE)
"""As the drivers of PostgreSQL take one in a text of `name=value`, which is no URL."""
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_MARK = "\x1f"
"""Stands around the name of a variable while an address is taken apart, so that a value is never looked at again."""
_MARKED = re.compile(rf"{_MARK}(\w+){_MARK}")
_PORT = re.compile(rf"(?<=:)[^:/?@]*{_MARK}[^:/?@]*(?=[/?]|$)")
"""A port with a variable in it: behind the last colon of the host, where a password has an `@` behind it."""


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


class StorageAway(StorageError):
    """A storage that does not answer; it may come back."""


class _MendingLock(JournalFileSymlinkLock):
    """The lock of a journal that mends it: a process that was killed may have left half a line at its end."""

    def acquire(self) -> bool:
        held: bool = super().acquire()
        try:
            _mend(Path(self._lock_target_file))
        except BaseException:
            self.release()
            raise
        return held

    def release(self) -> None:
        try:
            super().release()
        except RuntimeError:
            raise _LockLost("search.storage: the journal's lock was taken over by another host") from None


class _LockLost(StorageAway, RuntimeError):
    """A lock that was held for too long; Optuna looks for the second kind."""


def _mend(journal: Path) -> None:
    """Cut a file off behind its last whole line; nothing of the rest was ever said to be written."""
    with journal.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        whole = 0
        while end and not whole:
            start = max(0, end - (_BLOCK if end < size else 1))
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            whole, end = start + found + 1 if found >= 0 else 0, start
        if whole < size:
            file.truncate(whole)


def kept_in(folder: Path, asked: str | None) -> str:
    """Return what keeps the trials of a run, as `open_storage` takes it.

    Args:
        folder: of the run.
        asked: what its study says, None where that cannot be read any more.

    Raises:
        StorageError: its trials are in no file of the folder, and nobody knows where.
    """
    found = next((name for name, file in FILES.items() if (folder / file).is_file()), asked)
    if found is None or (found in FILES and not (folder / FILES[found]).is_file()):
        raise StorageError(f"{folder}: holds no {' and no '.join(FILES.values())}; the trials of this run are gone")
    return found


def open_storage(said: str, folder: Path, *, there: bool = False) -> BaseStorage:
    """Open what keeps the trials.

    Args:
        said: `sqlite` or `journal`, a file in the folder; `journal:///PATH`, a journal elsewhere; or the URL of a
            database that SQLAlchemy knows, in which $NAME stands for an environment variable.
        folder: of the run.
        there: a database, or a journal elsewhere, is there already: nothing is made in its place.

    Raises:
        StorageError: the database cannot be reached, or its driver is not installed; StorageAway where it may come.
    """
    if said == "sqlite":
        return RDBStorage(f"sqlite:///{folder / FILES[said]}", engine_kwargs={"connect_args": {"factory": _Connection}})
    if said == "journal":
        return JournalStorage(JournalFileBackend(str(folder / FILES[said])))
    if said.startswith(JOURNAL):
        return _shared_journal(said, there=there)
    url = _url(said)
    try:
        return _database(url, there=there)
    except (ImportError, RuntimeError, SQLAlchemyError, StorageInternalError, ValueError) as failure:
        error = failure.__cause__ if isinstance(failure, StorageInternalError) and failure.__cause__ else failure
        reason = f"{type(error).__name__}: {_reason(error)}"
        if url.password:
            reason = reason.replace(str(url.password), "...")
        missing = next((how for module, how in EXTRAS.items() if getattr(error, "name", None) == module), "")
        advice = f"; {missing}" if missing else ""
        kind = StorageAway if _is_unreached(error) else StorageError
        raise kind(f"search.storage: {_shown(url)} cannot be used: {reason}{advice}") from None


def _is_unreached(error: BaseException) -> bool:
    """Whether a PostgreSQL cannot be reached, is not ready, or is not the one that is written to: it may be, soon."""
    cause = getattr(error, "orig", None)
    if getattr(cause, "sqlstate", None) == _READ_ONLY:
        return True
    connection = getattr(cause, "pgconn", None)
    asked = connection is not None and (connection.used_password or connection.needs_password)
    return isinstance(error, OperationalError) and type(cause).__module__.startswith("psycopg") and not asked


def _database(url: URL, *, there: bool) -> RDBStorage:
    """Open a database; where others create its tables at the same time, what they created is taken."""
    # A window is measured without a word to the database: whether it is still there is asked before it is told.
    options: dict[str, Any] = {"pool_pre_ping": True}
    is_postgresql = url.drivername == POSTGRESQL
    if is_postgresql:
        options["connect_args"] = {name: value for name, value in _NOTICING.items() if name not in url.query}
    whole = url.render_as_string(hide_password=False)
    if there and not _is_used(whole, options):
        raise StorageError(f"search.storage: {_shown(url)}: {_UNUSED}")
    made = _created(whole, options)
    if is_postgresql:
        _make_noticed(made.engine, str(url.query.get("options", "")))
    return made


def _is_used(url: str, options: dict[str, Any]) -> bool:
    """Whether a database has the tables; none is made."""
    engine = create_engine(url, **options)
    try:
        return bool(inspect(engine).has_table("studies"))
    finally:
        engine.dispose()


def _created(url: str, options: dict[str, Any]) -> RDBStorage:
    for _ in range(CREATIONS - 1):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except (IntegrityError, ProgrammingError):
            time.sleep(0.1 + 0.01 * (os.getpid() % 32))  # not in step with the others
    return RDBStorage(url, engine_kwargs=options)


def _make_noticed(engine: Engine, own: str) -> None:
    """Have a PostgreSQL notice that this host is gone, and this host that another server has taken its place.

    Args:
        engine: its connections.
        own: options of the user's: what is in there is left as it is.
    """
    wanted = [f"SET {name} = '{SILENCE_S}s'" for name in _NOTICED if name not in own]

    def connected(connection: Any, _: object) -> None:
        for statement in wanted:
            connection.execute(statement)
        connection.commit()

    def failed(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
            context.is_disconnect = True  # the connection is all right, but with the wrong server

    event.listen(engine, "connect", connected)
    event.listen(engine, "handle_error", failed)
    engine.dispose()  # of those that were made before


def _shared_journal(said: str, *, there: bool) -> JournalStorage:
    path = Path(_expanded(said.removeprefix(JOURNAL)))
    if not path.is_absolute():
        raise StorageError(f"search.storage: {said} cannot be used: give the whole path, like journal:///shared/a.log")
    if there and not path.exists():
        raise StorageError(f"search.storage: {said}: {_UNUSED}")
    try:
        return JournalStorage(JournalFileBackend(str(path), _MendingLock(str(path))))
    except OSError as error:
        raise StorageError(f"search.storage: {said} cannot be used: {error.strerror}") from None
    except ValueError as error:
        raise StorageError(f"search.storage: {said} cannot be used: it is no journal ({error})") from None


def shared(storage: BaseStorage) -> BaseStorage:
    """Return a storage that reads of what other processes write only what is new."""
    return get_storage(storage)


def close_storage(storage: BaseStorage) -> None:
    """Close the connections to a database; it may be used again."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def kept() -> Iterator[None]:
    """Say what became of a storage that cannot be used any more.

    Raises:
        StorageError: it cannot; StorageAway where it does not answer.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        reason = _reason(cause)
        lost = bool(getattr(cause, "connection_invalidated", False))
        kind = StorageAway if lost or isinstance(cause, (OperationalError, InterfaceError)) else StorageError
        raise kind(
            f"search.storage: what keeps the trials failed: {reason}; what was told before is there, and the same "
            "command resumes"
        ) from None


def _url(said: str) -> URL:
    """Return an address with the values of the variables in it, whatever characters these have, and with its driver.

    A value is taken as it is: what looks like a variable in a password, or like a `%`-escape, is none.
    """
    marked = _VARIABLE.sub(rf"{_MARK}\1\2{_MARK}", said)
    try:
        try:
            url = make_url(_PORT.sub(lambda found: _filled(found[0]), marked))
        except ArgumentError:  # a variable may stand for all of it
            marked, url = "", make_url(_filled(marked))
    except (ArgumentError, ValueError):
        raise StorageError(f"search.storage: {_hidden(said)} cannot be used: it is no URL of a database") from None
    if url.username and "@" in f"{url.host}{url.database}":  # what is behind the first one is no host: nobody is told
        raise StorageError(
            f"search.storage: {_hidden(said)} cannot be used: more than one `@` in it; write %40 for one of the "
            "password, or give the password by a variable of its own"
        )
    named = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    return _with_values(named) if marked else named


def _with_values(url: URL) -> URL:
    """Return an address with a value in the place of each variable that is marked in a part of it."""
    return URL.create(
        url.drivername,
        username=url.username and _filled(url.username),
        password=_filled(str(url.password)) if url.password else None,
        host=url.host and _filled(url.host),
        port=url.port,
        database=url.database and _filled(url.database),
        query={name: _filled(value) if isinstance(value, str) else value for name, value in url.query.items()},
    )


def _expanded(text: str) -> str:
    """Return a text with the values of the environment variables in it. Raises StorageError where one is not set."""
    return _filled(_VARIABLE.sub(rf"{_MARK}\1\2{_MARK}", text))


def _filled(marked: str) -> str:
    """Return a text with the values of the variables that are marked in it. Raises StorageError: one is not set."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise StorageError(f"search.storage: the environment variable {found[1]} is not set")
        return os.environ[found[1]]

    return _MARKED.sub(value, marked)


def _shown(url: URL) -> str:
    """Return an address without what lets somebody in."""
    return _hidden(url.set(query={}).render_as_string())


def _hidden(said: str) -> str:
    return _SECRET.sub(r"\1...", re.sub(r"(?s)//.*@", "//...@", said))


def _reason(error: BaseException) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
