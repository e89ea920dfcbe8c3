"""Several hosts work on one study: processes of this machine, each with a simulated server of its own."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.support.hosts import Hosts, check_each_once, hosts, watched
from tests.support.postgres import PASSWORD, Postgres, postgres
from tests.support.simulated_study import write_simulated_study
from tuner.cli import app
from tuner.results import read_result
from tuner.storage import JOURNAL

pytestmark = pytest.mark.long

TRIALS = 6
ENDLESS = ("--set", "search.budget.trials=30")
"""So many that none of two hosts is done while the other one starts."""
NAME = "queue@shared"
LEASE = ("--lease", "3 s")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNE_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    return write_simulated_study(tmp_path, trials=TRIALS)


def tune(*arguments: object) -> Result:
    """Run a command in this process; what it says is made one line."""
    return CliRunner().invoke(app, [*map(str, arguments)])


def said(ended: Result) -> str:
    return " ".join(ended.stderr.split())


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def finisher(folder: Path, running: Hosts) -> Path:
    """Return the run directory of the host that confirmed the best."""
    found = [folder / name for name, _, out, _ in running.ended if "report   " in out]
    assert len(found) == 1, running.ended
    return found[0]


def test_hosts_of_a_database_finish_a_study_though_some_are_killed(
    server: Postgres, study: Path, tmp_path: Path
) -> None:
    with (
        watched(server.url, NAME) as book,
        hosts(tmp_path, study.name, "--storage", server.url, *LEASE, TUNE_PASSWORD=PASSWORD) as running,
    ):
        running.start()
        running.start()
        running.until(lambda: bool(book().told))
        assert running.survive(2, (0.2, 1.5), random.Random(7)) > 0
        ended = running.wait()
        check_each_once(book(), TRIALS)
    assert {code for _, code, _, _ in ended} <= {0, 5}, ended
    run = finisher(tmp_path, running)
    result = read_result(run)
    assert result.state == "done"
    assert len(result.trials) == TRIALS + 1
    assert {trial.host for trial in result.trials} <= {host.name for host in result.hosts}
    assert sum(host.trials for host in result.hosts) == TRIALS
    page = (run / "report.html").read_text()
    assert all(f'<th scope="row">{host.name}</th>' in page for host in result.hosts)
    assert "host" in (run / "trials.csv").read_text().splitlines()[0].split(",")
    assert PASSWORD.encode() not in written(tmp_path)
    assert all(PASSWORD not in out + error for _, _, out, error in ended)


def test_a_database_that_restarts_is_waited_for_and_one_that_stays_away_is_an_error(
    study: Path, tmp_path: Path
) -> None:
    with (
        postgres() as own,
        watched(own.url, NAME) as book,
        hosts(tmp_path, study.name, "--storage", own.url, *ENDLESS, TUNE_PASSWORD=PASSWORD) as running,
    ):
        patient = running.start()
        hasty = running.start("--wait", "1 s")
        running.until(lambda: len(book().told) >= 2 and len(book().hosts()) >= 2)
        before = list(book().told)
        own.stop()
        running.until(lambda: hasty not in running.running)
        running.until(lambda: "the storage does not answer" in running.errors_of(patient).read_text())
        own.start()
        running.until(lambda: "the storage answers again" in running.errors_of(patient).read_text())
        running.until(lambda: len(book().told) > len(before))
        with watched(own.url, NAME) as fresh:
            assert set(before) <= set(fresh().told)
        ((_, code, _, error),) = running.ended
    assert code == 2, error
    assert re.search(r"what keeps the trials failed: .*the same command resumes; it stayed away for \d+ s", error)
    assert PASSWORD not in error + running.errors_of(patient).read_text()


def test_hosts_share_a_journal_in_a_folder_and_anybody_may_look(study: Path, tmp_path: Path) -> None:
    journal = tmp_path / "shared" / "study.log"
    journal.parent.mkdir()
    with (
        watched(f"{JOURNAL}{journal}", NAME) as book,
        hosts(tmp_path, study.name, "--storage", str(journal), *LEASE) as running,
    ):
        running.start()
        running.start()
        running.until(lambda: bool(book().told) and len(book().hosts()) >= 2)
        seen = json.loads(tune("status", study.name, "--storage", journal, "--json").stdout)
        assert {host["name"].split(".")[0] for host in seen["hosts"]} == {"host1", "host2"}
        assert seen["budget_trials"] == TRIALS
        assert sum(seen["told"].values()) >= 1
        ended = running.wait()
        check_each_once(book(), TRIALS)
    (code,) = {code for _, code, _, _ in ended}  # all end with the code of the one that confirmed
    assert code in (0, 5), ended
    shown = tune("status", study.name, "--storage", journal)
    assert "queue, run shared: done" in shown.stdout, shown.stderr
    assert f"{TRIALS} of {TRIALS} told" in shown.stdout
    listed = json.loads(tune("status", study.name, "--storage", journal, "--list", 2, "--json").stdout)
    assert [one["trial"] for one in listed["trials"]][:1] == [listed["best"][0]["trial"]]
    assert (len(listed["trials"]), listed["not_listed"]) == (2, TRIALS - 2)
    every = json.loads(tune("status", study.name, "--storage", journal, "--json").stdout)
    assert sorted(one["trial"] for one in every["trials"]) == list(range(1, TRIALS + 1))
    other = ("--set", "objectives=[minimize p99]", "--set", "search.budget.trials=99")
    assert tune("status", study.name, "--storage", journal, *other).stdout == shown.stdout, "it is that of the hosts"
    late = tune("worker", study.name, "--storage", journal)
    assert late.exit_code == code
    assert "confirmed" in late.stdout, late.stderr


def slower(folder: Path, times: int = 10) -> None:
    """Make the server of hosts that start from now on so many times as slow."""
    path = folder / "models" / "queue" / "queue.json"
    config = json.loads(path.read_text())
    slow = {name: times * config[name] for name in ("fixed_ms", "each_ms")}
    path.write_text(json.dumps({**config, **slow}))


def test_a_host_that_differs_is_refused_or_gets_a_group_of_its_own(study: Path, tmp_path: Path) -> None:
    journal = tmp_path / "study.log"
    with (
        watched(f"{JOURNAL}{journal}", NAME) as book,
        hosts(tmp_path, study.name, "--storage", str(journal)) as running,
    ):
        first = running.start()
        running.until(lambda: bool(book().told))
        running.kill(first)
        other = tune("worker", study.name, "--storage", journal, "--set", "slo.p90=1 s")
        slower(tmp_path)
        running.start("--within", "10%")
        running.until(lambda: bool(running.ended))
        running.start("--within", "10%", "--groups")
        running.until(lambda: len(book().hosts()) == 3 and book().hosts()[2].decided)
        groups = {book().name(host.number): host.group for host in book().hosts()}
        ((refused, code, _, error),) = running.ended
    assert other.exit_code == 2
    assert "host1 began this run with another study: slo.p90 is 900 ms there and 1 s here" in said(other)
    assert (refused, code) == ("host2", 5)
    differs = (
        r"differs from host1, on which the study began: files of the server are not the same: queue\.json; .* at \d+"
    )
    assert re.search(differs, " ".join(error.split()))
    assert "--groups" in error
    assert groups["host1"] == 0
    assert groups["host2"] is None
    assert groups["host3"] not in (None, 0)


def test_a_host_that_comes_with_more_trials_raises_the_budget_of_all(study: Path, tmp_path: Path) -> None:
    journal, more = tmp_path / "study.log", TRIALS + 2
    with (
        watched(f"{JOURNAL}{journal}", NAME) as book,
        hosts(tmp_path, study.name, "--storage", str(journal), *LEASE) as running,
    ):
        first = running.start()
        running.until(lambda: bool(book().told))
        running.kill(first)
        running.start("--set", f"search.budget.trials={more}")
        running.until(lambda: len(book().hosts()) == 2 and book().hosts()[1].decided)
        seen = json.loads(tune("status", study.name, "--storage", journal, "--json").stdout)
        running.start()
        ended = running.wait()
        check_each_once(book(), more)
    assert seen["budget_trials"] == more
    assert {code for _, code, _, _ in ended} <= {0, 5}, ended


def of_another_kind(folder: Path) -> Path:
    """Write the same study for hosts of a slower server; their requests differ too, which no busy machine blurs."""
    write_simulated_study(folder, trials=TRIALS)
    slower(folder, 3)
    np.savez(folder / "requests.npz", INPUT=np.ones((100, 4)))
    return folder


def test_each_of_two_groups_searches_and_confirms_for_itself_on_one_budget(study: Path, tmp_path: Path) -> None:
    journal = tmp_path / "study.log"
    # Each group has 4 proposals at most, so of 7 both measure at least 3, whoever is faster.
    space = "space={max_batch_size: [1, 4, 16], concurrency: [2, 8]}"
    given = ("--storage", str(journal), "--set", space, "--set", "search.budget.trials=7")
    arguments = (study.name, *given, "--groups")
    with (
        watched(f"{JOURNAL}{journal}", NAME) as book,
        hosts(tmp_path, *arguments) as fast,
        hosts(of_another_kind(tmp_path / "other"), *arguments) as slow,
    ):
        for name in ("fast1", "fast2"):
            fast.start("--name", name)
        slow.start("--name", "slow1")
        ended = [*fast.wait(), *slow.wait()]
        check_each_once(book(), 7)
        group = {book().name(host.number): host.group for host in book().hosts()}
    assert {code for _, code, _, _ in ended} <= {0, 5}, ended
    assert group["fast1"] == group["fast2"] != group["slow1"]
    assert None not in group.values()
    results = [read_result(finisher(folder, of)) for folder, of in ((tmp_path, fast), (tmp_path / "other", slow))]
    for result, mine in zip(results, ({"fast1", "fast2"}, {"slow1"}), strict=True):
        assert result.state == "done"
        assert len(result.trials) - 1 in (3, 4)
        assert {trial.host for trial in result.trials} <= mine, "nothing of the other group is compared"
        assert {host.name: host.group for host in result.hosts} == group
        assert {host.name for host in result.hosts if host.trials} <= mine
    numbers = [trial.number for result in results for trial in result.trials[1:]]
    assert len(set(numbers)) == len(numbers) == 7
    status = json.loads(tune("status", study.name, *given, "--json").stdout)
    assert status["state"] == "done"
    assert sorted(best["group"] for best in status["best"]) == sorted(set(group.values()))
    assert all(group[best["host"]] == best["group"] for best in status["best"])
    assert sorted(group[outcome["host"]] for outcome in status["outcomes"]) == sorted(set(group.values()))
    shown = " ".join(tune("status", study.name, *given).stdout.split())
    for number in set(group.values()):
        assert re.search(rf"best of group {number}: trial \d+ on (fast|slow)", shown), shown
        assert re.search(rf"done in group {number}: (fast|slow)\d confirmed it", shown), shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("worker", "study.yaml"), "search.storage: `sqlite` is a file of one run"),
        (("worker", "study.yaml", "--storage", "postgresql://tune:secret@db/x"), "--storage: .*holds a password"),
        (("worker", "study.yaml", "--storage", "a.log", "--lease", "1 ms"), "--lease 0.001 s: at least 1 s"),
        (("status", "study.yaml", "--storage", "a.log"), "a.log: no host has worked there yet"),
    ],
)
@pytest.mark.usefixtures("study")
def test_what_cannot_be_shared_is_said(arguments: tuple[str, ...], words: str) -> None:
    ended = tune(*arguments)
    assert ended.exit_code == 2, ended.stderr
    assert re.search(words, said(ended)), ended.stderr
    assert "secret@" not in ended.stderr
    assert not Path("a.log").exists(), "who looks makes nothing"
