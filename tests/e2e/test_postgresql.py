"""Trials that a PostgreSQL keeps: a real one, that the tests start."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from optuna.storages import RDBStorage

from targets.base import Knob
from tests.support.postgres import PASSWORD, USER, Postgres, postgres
from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune
from tuner.hosts.patience import Patience
from tuner.objective import Objective, parse_goals
from tuner.results import Trial, read_result
from tuner.search import Search
from tuner.space import Parameter, Space
from tuner.storage import StorageAway, StorageError, close_storage, open_storage

pytestmark = pytest.mark.long

GOALS = parse_goals(["maximize throughput", "minimize p99"], "steady")
SPACE = Space((Parameter(Knob("batch", "int", None, None, 1, "", "reload", ""), tuple(range(1, 21)), ordered=True),))


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_PASSWORD", PASSWORD)


def explored(search: Search, count: int) -> list[object]:
    """Ask and tell `count` times; return what was proposed."""
    asked = []
    for _ in range(count):
        proposal = search.ask()
        assert proposal is not None
        batch = float(proposal.config["batch"])
        told = Trial(
            number=proposal.number, config=dict(proposal.config), state="refused", points=[], apply_s=0, wall_s=1
        )
        search.tell(told, Objective((batch, batch), {"steady.p99": batch - 10}))
        asked.append(proposal.config)
    return asked


@contextmanager
def opened(server: Postgres, folder: Path, name: str) -> Iterator[Search]:
    storage = open_storage(server.url, folder)
    try:
        yield Search(storage, SPACE, GOALS, "tpe", 7, name)
    finally:
        close_storage(storage)


@pytest.mark.usefixtures("password")
def test_a_search_goes_on_as_it_would_have_when_it_is_opened_again(server: Postgres, tmp_path: Path) -> None:
    with opened(server, tmp_path, "whole") as search:
        whole = explored(search, 10)
    parts: list[object] = []
    for count in (3, 7):
        with opened(server, tmp_path, "parts") as search:
            parts += explored(search, count)
    assert parts == whole
    with opened(server, tmp_path, "parts") as search:
        assert [trial.config for trial in search.trials()] == whole


def test_a_password_that_is_wrong_is_said_and_not_shown(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_PASSWORD", "wr0ng/one")
    with pytest.raises(StorageError, match=r"search\.storage: .* cannot be used: .*password") as raised:
        open_storage(server.url, tmp_path)
    assert not isinstance(raised.value, StorageAway), "it is no use to wait"
    assert "wr0ng" not in str(raised.value)


@pytest.mark.usefixtures("password")
def test_a_variable_may_stand_for_the_port_or_for_the_whole_address(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", str(server.port))
    close_storage(open_storage(server.url.replace(f":{server.port}", ":$PORT"), tmp_path))
    written = quote(PASSWORD, safe="$")  # as people write it: `$` has no need of an escape
    monkeypatch.setenv("DATABASE_URL", server.url.replace("$TUNE_PASSWORD", written))
    close_storage(open_storage("$DATABASE_URL", tmp_path))


def test_a_password_may_come_from_a_file(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "passwords"
    kept.write_text(f"127.0.0.1:{server.port}:*:tune:{PASSWORD.replace(':', chr(92) + ':')}\n")
    kept.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(kept))
    close_storage(open_storage(server.url.replace(":$TUNE_PASSWORD", ""), tmp_path))


def ask(server: Postgres, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements, and return what the last one says."""
    where = {"host": "127.0.0.1", "port": server.port, "dbname": "postgres"}
    with psycopg.connect(**where, user=USER, password=PASSWORD, autocommit=True) as asked:
        asked.add_notice_handler(lambda _: None)
        for statement in statements[:-1]:
            asked.execute(statement.encode())
        return asked.execute(statements[-1].encode()).fetchall()


@pytest.mark.usefixtures("password")
def test_a_database_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with postgres() as late:
        late.stop()
        said: list[str] = []

        def say(word: str) -> None:
            said.append(word)
            if len(said) == 1:
                late.start()

        close_storage(Patience(60.0, say)(lambda: open_storage(late.url, tmp_path)))
    assert re.search(r"the storage does not answer, trying again for 60 s: search\.storage: .*127\.0\.0\.1", said[0])
    assert said[1:] == ["the storage answers again"]


def consume(steps: Iterable[object]) -> None:
    """Do one step after the other."""
    for _ in steps:
        pass


@pytest.mark.usefixtures("password")
def test_a_server_that_takes_no_writes_any_more_may_come_back_as_another_one(server: Postgres, tmp_path: Path) -> None:
    with opened(server, tmp_path, "moved") as search:
        search.remember("count", -1)
        ask(server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        try:
            with pytest.raises(StorageAway, match="read-only transaction"):
                consume(search.remember("count", count) for count in range(10_000))  # it takes a moment to hold
        finally:
            ask(server, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
        Patience(60.0, lambda _: None)(lambda: search.remember("count", "again"))
        assert search.remembered("count") == "again"


@pytest.mark.usefixtures("password")
def test_a_connection_notices_that_its_other_end_is_gone(server: Postgres, tmp_path: Path) -> None:
    storage = open_storage(server.url, tmp_path)
    assert isinstance(storage, RDBStorage)
    with storage.engine.connect() as connection:
        for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "30s"
        made = connection.connection.driver_connection
        assert isinstance(made, psycopg.Connection)
        assert made.info.get_parameters()["connect_timeout"] == "10"
        assert made.info.options == "", "a pooler would refuse them"
    close_storage(storage)


@pytest.mark.usefixtures("password")
def test_what_the_url_says_of_the_connections_holds(server: Postgres, tmp_path: Path) -> None:
    ask(server, "CREATE SCHEMA IF NOT EXISTS tuning", "SELECT 1")
    options = "options=-csearch_path%3Dtuning%20-clock_timeout%3D5s"
    storage = open_storage(f"{server.url}?{options}&connect_timeout=60", tmp_path)
    assert isinstance(storage, RDBStorage)
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "5s"
        assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one() == "30s"
        made = connection.connection.driver_connection
        assert isinstance(made, psycopg.Connection)
        assert made.info.get_parameters()["connect_timeout"] == "60"
    close_storage(storage)
    assert ("trials",) in ask(server, "SELECT tablename FROM pg_tables WHERE schemaname = 'tuning'")


@pytest.mark.usefixtures("password")
def test_who_looks_into_a_database_makes_nothing_there(server: Postgres, tmp_path: Path) -> None:
    ask(server, "DROP DATABASE IF EXISTS unused", "CREATE DATABASE unused", "SELECT 1")
    url = server.url.removesuffix("postgres") + "unused"
    with pytest.raises(StorageError, match="no host has worked there yet"):
        open_storage(url, tmp_path, there=True)
    close_storage(open_storage(url, tmp_path))
    close_storage(open_storage(url, tmp_path, there=True))


def test_a_run_that_was_killed_is_resumed_and_shows_no_password(server: Postgres, tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path, trials=3)
    study.write_text(study.read_text().replace("search: {", f"search: {{storage: '{server.url}', "))
    killed = subprocess.Popen(
        [sys.executable, "-m", "tuner", study.name, "--events", "--quiet"],
        cwd=tmp_path,
        env={**os.environ, "TUNE_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    measured = (line for line in killed.stdout if '"event": "trial"' in line)
    next(measured), next(measured)  # yours, and a proposal
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    ended = tune(study.name, cwd=tmp_path, TUNE_PASSWORD=PASSWORD)
    assert ended.returncode in (0, 5), ended.stderr
    assert "trials are kept" in ended.stderr
    run = tmp_path / "runs" / "queue" / "latest"
    assert [trial.number for trial in read_result(run).trials] == [0, 1, 2, 3]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in one for one in written)
    assert PASSWORD not in ended.stdout + ended.stderr


@pytest.mark.usefixtures("password")
def test_a_database_that_is_lost_ends_a_search_with_what_to_do(tmp_path: Path) -> None:
    with postgres() as other, opened(other, tmp_path, "lost") as search:
        explored(search, 1)
        other.stop()
        with pytest.raises(StorageError, match=r"what keeps the trials failed: .*the same command resumes"):
            explored(search, 1)
