"""The run directory: what is continued, what is kept, and that one process works in it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tuner.rundir import (
    RunDirectory,
    RunDirectoryError,
    StudyMark,
    back_up,
    locked,
    open_run,
    opened_anew,
    read_files,
    write_files,
)


def opened(root: Path, fingerprint: str = "f1", out: Path | None = None, *, fresh: bool = False) -> RunDirectory:
    return open_run(root / "runs", "digits", StudyMark(fingerprint), out, fresh=fresh)


def done(run: RunDirectory) -> None:
    run.result.write_text('{"state": "done"}')


# Under `runs`.


def test_a_new_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    run = opened(tmp_path)
    assert run.path.parent == tmp_path / "runs/digits"
    assert run.records.is_dir()
    assert (tmp_path / "runs/digits/latest").resolve() == run.path


def test_the_same_study_is_continued(tmp_path: Path) -> None:
    first = opened(tmp_path)
    (first.path / "study.db").write_text("x")
    assert opened(tmp_path) == first
    assert first.study_db.read_text() == "x"


def test_another_study_gets_another_folder_once_the_run_is_done(tmp_path: Path) -> None:
    first = opened(tmp_path, "f1")
    done(first)
    second = opened(tmp_path, "f2")
    assert first != second
    assert first.path.is_dir()
    assert (tmp_path / "runs/digits/latest").resolve() == second.path


def test_fresh_starts_over_and_keeps_the_old_run(tmp_path: Path) -> None:
    first = opened(tmp_path)
    second = opened(tmp_path, fresh=True)
    assert first != second
    assert first.path.is_dir()
    assert opened(tmp_path) == second


def test_many_fresh_runs_in_a_second_do_not_meet(tmp_path: Path) -> None:
    runs = {opened(tmp_path, fresh=True).path for _ in range(5)}
    assert len(runs) == 5


def test_the_latest_link_is_relative_so_that_runs_can_be_moved(tmp_path: Path) -> None:
    run = opened(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved/digits/latest").resolve() == tmp_path / "moved/digits" / run.path.name


@pytest.mark.parametrize("marker", ["", "{", "[]", "{}", "null", '"f1"'])
def test_a_spoiled_marker_is_no_run_to_continue(tmp_path: Path, marker: str) -> None:
    first = opened(tmp_path)
    (first.path / "run.json").write_text(marker)
    assert opened(tmp_path) != first


def test_a_dangling_latest_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "runs/digits").mkdir(parents=True)
    (tmp_path / "runs/digits/latest").symlink_to("gone")
    run = opened(tmp_path)
    assert (tmp_path / "runs/digits/latest").resolve() == run.path


def test_a_file_where_the_runs_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunDirectoryError, match=r"cannot be written \(Not a directory\); name another with --out"):
        opened(tmp_path)


def test_every_file_of_a_run_stands_in_its_folder(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    paths = (run.study_db, run.result, run.records, run.best, run.yours, run.log)
    assert [path.name for path in paths] == ["study.db", "result.json", "records", "best", "yours", "log.txt"]
    assert all(path.parent == tmp_path for path in paths)


# --out


def test_out_names_the_directory_itself(tmp_path: Path) -> None:
    run = opened(tmp_path, out=tmp_path / "a/b")
    assert run.path == tmp_path / "a/b"
    assert run.records.is_dir()
    assert not (tmp_path / "runs").exists()


def test_an_empty_out_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert opened(tmp_path, out=tmp_path / "out").path == tmp_path / "out"


def test_a_run_of_the_same_study_in_out_is_continued(tmp_path: Path) -> None:
    first = opened(tmp_path, out=tmp_path / "out")
    (first.path / "study.db").write_text("x")
    assert opened(tmp_path, out=tmp_path / "out") == first
    assert first.study_db.read_text() == "x"


def test_a_run_of_another_study_in_out_is_refused(tmp_path: Path) -> None:
    opened(tmp_path, "f1", tmp_path / "out")
    with pytest.raises(RunDirectoryError, match=r"--out .*/out: holds another run: it is of another study.*--fresh"):
        opened(tmp_path, "f2", tmp_path / "out")


@pytest.mark.parametrize("fingerprint", ["f1", "f2"])
def test_fresh_moves_the_run_in_out_aside(tmp_path: Path, fingerprint: str) -> None:
    first = opened(tmp_path, "f1", tmp_path / "out")
    (first.path / "study.db").write_text("x")
    run = opened(tmp_path, fingerprint, tmp_path / "out", fresh=True)
    assert run.path == tmp_path / "out"
    assert not run.study_db.exists()
    assert (tmp_path / "out.old/study.db").read_text() == "x"


def test_fresh_never_deletes_an_old_run(tmp_path: Path) -> None:
    for number in range(4):
        run = opened(tmp_path, out=tmp_path / "out", fresh=True)
        run.log.write_text(str(number))
    kept = [(tmp_path / name / "log.txt").read_text() for name in ("out.old", "out.old-2", "out.old-3", "out")]
    assert kept == ["0", "1", "2", "3"]


@pytest.mark.parametrize("fresh", [False, True])
def test_an_out_with_something_else_in_it_is_refused(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(RunDirectoryError, match="exists and is no run of Paretune; name another directory"):
        opened(tmp_path, out=tmp_path / "out", fresh=fresh)
    assert (tmp_path / "out/thesis.tex").read_text() == "years of work"


def test_an_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(RunDirectoryError, match="exists and is no run of Paretune"):
        opened(tmp_path, out=tmp_path / "out")


def test_an_out_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        opened(tmp_path, out=tmp_path / "file/out")


# The lock.


def test_only_one_process_works_on_a_run(tmp_path: Path) -> None:
    run = opened(tmp_path)
    with locked(run), pytest.raises(RunDirectoryError, match="another tune works on this run"), locked(run):
        pass


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    run = opened(tmp_path)
    for _ in range(2):
        with locked(run):
            assert (run.path / ".lock").exists()


def test_the_lock_ends_with_an_error_too(tmp_path: Path) -> None:
    run = opened(tmp_path)

    def fail() -> None:
        with locked(run):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    with locked(run):
        pass


# Backups.


def test_nothing_needs_no_backup(tmp_path: Path) -> None:
    assert back_up(tmp_path / "config.pbtxt") is None


def test_a_file_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_text("mine")
    assert back_up(path) == tmp_path / "config.pbtxt.bak"
    assert not path.exists()
    assert (tmp_path / "config.pbtxt.bak").read_text() == "mine"


def test_a_folder_is_moved_aside_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "digits/1").mkdir(parents=True)
    (tmp_path / "digits/1/model.py").write_text("mine")
    assert back_up(tmp_path / "digits") == tmp_path / "digits.bak"
    assert (tmp_path / "digits.bak/1/model.py").read_text() == "mine"


def test_an_earlier_backup_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    for text in ("first", "second", "third"):
        path.write_text(text)
        back_up(path)
    names = ("config.pbtxt.bak", "config.pbtxt.bak-2", "config.pbtxt.bak-3")
    assert [(tmp_path / name).read_text() for name in names] == ["first", "second", "third"]


def test_a_backup_may_be_given_as_text_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").write_text("mine")
    assert back_up(Path("out")) == Path("out.bak")


# A study that changed.

GIVEN = {"slo": {"p99": "10 ms"}, "search": {"budget": {"trials": 40}, "seed": 7}}


def changed(root: Path, given: Mapping[str, object], files: str = "a") -> RunDirectory:
    fingerprint = json.dumps([given, files])
    return open_run(root / "runs", "digits", StudyMark(fingerprint, files, given), None, fresh=False)


def test_an_unfinished_run_is_not_resumed_with_another_slo_and_the_difference_is_named(tmp_path: Path) -> None:
    changed(tmp_path, GIVEN)
    with pytest.raises(RunDirectoryError, match=r"slo.p99 was 10 ms and is 8 ms; change that back .* or .* --fresh"):
        changed(tmp_path, {**GIVEN, "slo": {"p99": "8 ms"}})


def test_an_unfinished_run_goes_on_with_another_budget(tmp_path: Path) -> None:
    first = changed(tmp_path, GIVEN)
    more = {**GIVEN, "search": {"budget": {"trials": 80, "patience": 9}, "seed": 7}}
    assert changed(tmp_path, more) == first
    assert changed(tmp_path, more) == first


def test_a_finished_run_is_not_gone_on_with(tmp_path: Path) -> None:
    first = changed(tmp_path, GIVEN)
    done(first)
    assert changed(tmp_path, {**GIVEN, "search": {"budget": {"trials": 80}, "seed": 7}}) != first


def test_a_budget_and_a_seed_are_not_taken_for_a_budget(tmp_path: Path) -> None:
    changed(tmp_path, GIVEN)
    with pytest.raises(RunDirectoryError, match=r"search.seed was 7 and is 8"):
        changed(tmp_path, {**GIVEN, "search": {"budget": {"trials": 80}, "seed": 8}})


def test_a_model_that_changed_is_named(tmp_path: Path) -> None:
    changed(tmp_path, GIVEN)
    with pytest.raises(RunDirectoryError, match="its model or its requests have changed since"):
        changed(tmp_path, GIVEN, files="b")


def test_of_many_differences_a_few_are_named(tmp_path: Path) -> None:
    changed(tmp_path, {f"key{number}": number for number in range(6)})
    with pytest.raises(RunDirectoryError, match=r"key0 was 0 and is absent.*\(and 4 more\)"):
        changed(tmp_path, {"other": 1})


def test_a_key_that_is_new_was_absent(tmp_path: Path) -> None:
    changed(tmp_path, GIVEN)
    with pytest.raises(RunDirectoryError, match=r"constraints was absent and is \[a <= b\]"):
        changed(tmp_path, {**GIVEN, "constraints": ["a <= b"]})


def test_every_run_has_an_identity_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    first = opened(tmp_path, out=tmp_path / "out")
    before = first.identity()
    assert opened(tmp_path, out=tmp_path / "out").identity() == before
    assert opened(tmp_path, out=tmp_path / "out", fresh=True).identity() != before


def test_a_run_that_goes_on_with_another_budget_keeps_its_identity(tmp_path: Path) -> None:
    before = changed(tmp_path, GIVEN).identity()
    assert changed(tmp_path, {**GIVEN, "search": {"budget": {"trials": 80}, "seed": 7}}).identity() == before


def test_files_are_read_back_byte_for_byte_and_what_is_no_text_is_left_out(tmp_path: Path) -> None:
    files = {Path("b/config.pbtxt"): "name: \u00e9\r\n", Path("a.json"): "{}"}
    write_files(tmp_path / "best", files)
    (tmp_path / "best" / "model.pyc").write_bytes(b"\xff\xfe")
    assert list(read_files(tmp_path / "best").items()) == sorted(files.items())
    assert read_files(tmp_path / "none") == {}


def refused(root: Path, out: Path | None) -> None:
    with (
        pytest.raises(ValueError, match="nothing to run"),
        opened_anew(root, "digits", StudyMark("x"), out, (ValueError,)),
    ):
        raise ValueError("nothing to run")


def test_a_run_that_is_refused_leaves_nothing_and_what_was_there_stands_again(tmp_path: Path) -> None:
    refused(tmp_path, None)
    refused(tmp_path, tmp_path / "there")
    assert [one.name for one in tmp_path.rglob("*")] == ["digits"]
    first = open_run(tmp_path, "digits", StudyMark("x"), None, fresh=True)
    refused(tmp_path, None)
    assert (tmp_path / "digits" / "latest").resolve() == first.path
    given = open_run(tmp_path, "digits", StudyMark("x"), tmp_path / "there", fresh=True)
    identity = given.identity()
    refused(tmp_path, tmp_path / "there")
    assert given.identity() == identity
    assert sorted(one.name for one in tmp_path.iterdir()) == ["digits", "there"]


def test_a_run_that_fails_otherwise_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyError), opened_anew(tmp_path, "digits", StudyMark("x"), None, (ValueError,)) as run:
        raise KeyError
    assert run.path.is_dir()
