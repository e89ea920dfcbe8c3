"""Trials that a PostgreSQL keeps: a real one, that the tests start."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from targets.base import Knob
from tests.support.postgres import PASSWORD, Postgres, postgres
from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune
from tuner.objective import Objective, parse_goals
from tuner.results import Trial, read_result
from tuner.search import Search
from tuner.space import Parameter, Space
from tuner.storage import StorageError, close_storage, open_storage

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
    assert "wr0ng" not in str(raised.value)


def test_a_password_may_come_from_a_file(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "passwords"
    kept.write_text(f"127.0.0.1:{server.port}:*:tune:{PASSWORD.replace(':', chr(92) + ':')}\n")
    kept.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(kept))
    close_storage(open_storage(server.url.replace(":$TUNE_PASSWORD", ""), tmp_path))


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
