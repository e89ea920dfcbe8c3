"""Several hosts work on one study: processes of this machine, each with a simulated server of its own."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Hosts, check_each_once, hosts, read_book
from tests.support.postgres import PASSWORD, Postgres, postgres
from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune
from tuner.results import read_result
from tuner.storage import JOURNAL

TRIALS = 8
NAME = "queue@shared"
LEASE = ("--lease", "3 s")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_simulated_study(tmp_path, trials=TRIALS)


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def finisher(folder: Path, running: Hosts) -> Path:
    """Return the run directory of the host that confirmed the best."""
    found = [folder / name for name, _, out, _ in running.ended if "report   " in out]
    assert len(found) == 1, running.ended
    return found[0]


def test_hosts_of_a_database_finish_a_study_though_some_are_killed(
    server: Postgres, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_PASSWORD", PASSWORD)
    with hosts(tmp_path, study.name, "--storage", server.url, *LEASE, TUNE_PASSWORD=PASSWORD) as running:
        for _ in range(3):
            running.start()
        running.until(lambda: any(told(server.url)))
        assert running.survive(3, (0.5, 2.0), random.Random(7)) > 0
        ended = running.wait()
    assert {code for _, code, _, _ in ended} <= {0, 5}, ended
    check_each_once(read_book(server.url, NAME), TRIALS)
    run = finisher(tmp_path, running)
    result = read_result(run)
    assert result.state == "done"
    assert len(result.trials) == TRIALS + 1
    assert {trial.host for trial in result.trials} <= {host.name for host in result.hosts}
    assert sum(host.trials for host in result.hosts) == TRIALS
    assert (run / "report.html").exists()
    assert "host" in (run / "trials.csv").read_text().splitlines()[0].split(",")
    assert PASSWORD.encode() not in written(tmp_path)
    assert all(PASSWORD not in out + error for _, _, out, error in ended)


def told(storage: str) -> list[int]:
    try:
        return read_book(storage, NAME).told
    except Exception:
        return []


def test_a_database_that_restarts_is_waited_for(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_PASSWORD", PASSWORD)
    with (
        postgres() as own,
        hosts(tmp_path, study.name, "--storage", own.url, TUNE_PASSWORD=PASSWORD) as running,
    ):
        running.start()
        running.until(lambda: len(told(own.url)) >= 2)
        before = told(own.url)
        own.stop()
        running.until(lambda: "the storage does not answer, trying again" in (tmp_path / "host1.err").read_text())
        own.start()
        ((_, code, _, error),) = running.wait()
        book = read_book(own.url, NAME)
    assert code in (0, 5), error
    assert "the storage answers again" in error
    assert book.told[: len(before)] == before
    check_each_once(book, TRIALS)


def test_a_database_that_stays_away_ends_a_host_with_what_to_do(study: Path, tmp_path: Path) -> None:
    with (
        postgres() as own,
        hosts(tmp_path, study.name, "--storage", own.url, "--wait", "1 s", TUNE_PASSWORD=PASSWORD) as running,
    ):
        running.start()
        running.until(lambda: "baseline" in (tmp_path / "host1.err").read_text())
        own.stop()
        ((_, code, _, error),) = running.wait()
    assert code == 2, error
    assert re.search(r"what keeps the trials failed: .*the same command resumes; it stayed away for \d+ s", error)
    assert PASSWORD not in error


def test_hosts_share_a_journal_in_a_folder_and_anybody_may_look(study: Path, tmp_path: Path) -> None:
    journal = tmp_path / "shared" / "study.log"
    journal.parent.mkdir()
    with hosts(tmp_path, study.name, "--storage", str(journal), *LEASE) as running:
        running.start()
        running.start()
        running.until(lambda: any(told(f"{JOURNAL}{journal}")))
        seen = json.loads(tune("status", study.name, "--storage", journal, "--json", cwd=tmp_path).stdout)
        assert {host["name"] for host in seen["hosts"]} == {"host1", "host2"}
        assert seen["budget_trials"] == TRIALS
        assert sum(seen["told"].values()) >= 1
        ended = running.wait()
    assert {code for _, code, _, _ in ended} <= {0, 5}, ended
    assert len({code for _, code, _, _ in ended}) == 1, "all end with the code of the one that confirmed"
    check_each_once(read_book(f"{JOURNAL}{journal}", NAME), TRIALS)
    shown = tune("status", study.name, "--storage", journal, cwd=tmp_path)
    assert "queue, run shared: done" in shown.stdout, shown.stderr
    assert f"{TRIALS} of {TRIALS} told" in shown.stdout
    late = tune("worker", study.name, "--storage", journal, cwd=tmp_path)
    assert late.returncode == ended[0][1]
    assert "confirmed" in late.stdout, late.stderr


def slower(folder: Path) -> None:
    """Make the server of hosts that start from now on ten times as slow."""
    path = folder / "models" / "queue" / "queue.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "fixed_ms": 10 * config["fixed_ms"], "each_ms": 10 * config["each_ms"]}))


def test_a_host_that_differs_is_refused_or_gets_a_group_of_its_own(study: Path, tmp_path: Path) -> None:
    journal = tmp_path / "study.log"
    with hosts(tmp_path, study.name, "--storage", str(journal)) as running:
        running.arguments = (study.name, "--storage", str(journal), "--set", "search.budget.trials=5")
        running.start()
        running.until(lambda: any(told(f"{JOURNAL}{journal}")))
        slower(tmp_path)
        running.start("--within", "100%")
        running.until(lambda: any(name == "host2" for name, _, _, _ in running.ended))
        (refused,) = [one for one in running.ended if one[0] == "host2"]
        assert refused[1] == 5
        assert re.search(
            r"this host differs from host1, on which the study began: your configuration at \d+", refused[3]
        )
        assert "--groups" in refused[3]
        running.start("--within", "100%", "--groups")
        running.wait()
    book = read_book(f"{JOURNAL}{journal}", NAME)
    groups = {book.name(host.number): host.group for host in book.hosts()}
    assert groups["host1"] == 0
    assert groups["host2"] is None
    assert groups["host3"] not in (None, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("worker", "study.yaml"), "search.storage: `sqlite` is a file of one run"),
        (("worker", "study.yaml", "--storage", "postgresql://tune:secret@db/x"), "search.storage: .*holds a password"),
        (("worker", "study.yaml", "--storage", "a.log", "--lease", "1 ms"), "--lease 0.001 s: at least 1 s"),
        (("status", "study.yaml", "--storage", "a.log"), "no host has worked on queue@shared there yet"),
    ],
)
def test_what_cannot_be_shared_is_said(arguments: tuple[str, ...], said: str, study: Path, tmp_path: Path) -> None:
    ended = tune(*arguments, cwd=study.parent)
    assert ended.returncode == 2, ended.stderr
    assert re.search(said, ended.stderr), ended.stderr
    assert "secret@" not in ended.stderr
    assert not list(tmp_path.glob("runs/*/*/report.html"))


def test_a_host_with_another_study_is_refused(study: Path, tmp_path: Path) -> None:
    journal = tmp_path / "study.log"
    with hosts(tmp_path, study.name, "--storage", str(journal)) as running:
        running.start()
        running.until(lambda: journal.exists() and "paretune:about" in journal.read_text())
        other = tune("worker", study.name, "--storage", journal, "--set", "slo.p99=1 s", cwd=tmp_path)
    assert other.returncode == 2
    assert "host1 began this run with another study: slo.p99 is 900 ms there and 1 s here" in other.stderr
