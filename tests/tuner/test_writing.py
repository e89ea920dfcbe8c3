"""Files of the user's are written whole, with a backup, or not at all; folders are copied."""

import stat
from pathlib import Path

import pytest

from targets.exports import Export
from tuner import writing
from tuner.exporting import ExportError
from tuner.writing import copy_all, kept, put_back, take_away, without_caches, write_all


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_stood_there_is_kept_and_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for number in range(3):
        (written,) = write_all({path: f"{number}"})
        assert path.read_text() == f"{number}"
    assert (tmp_path / "a.yaml.bak").read_text() == "0"
    assert written.backup == tmp_path / "a.yaml.bak-2"
    assert written.backup.read_text() == "1"
    assert "a.yaml.bak-2" in kept([written])


def test_a_file_that_says_so_already_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a\r\n")
    before = path.stat()
    (written,) = write_all({path: "a\r\n"})
    assert (written.changed, written.backup) == (False, None)
    assert path.stat().st_ino == before.st_ino
    assert names(tmp_path) == ["a.yaml"]


def test_a_difference_in_line_ends_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a\n")
    write_all({path: "a\r\n"})
    assert path.read_bytes() == b"a\r\n"


def test_permissions_stay_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "start.sh", tmp_path / "start.sh"
    real.write_text("old")
    real.chmod(0o750)
    link.symlink_to(real)
    write_all({link: "new"})
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o750
    assert (tmp_path / "real" / "start.sh.bak").read_text() == "old"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_all({tmp_path / "a" / "b" / "c.yaml": "x"})
    assert (tmp_path / "a" / "b" / "c.yaml").read_text() == "x"


def read_only(path: Path) -> None:
    path.write_text("old")
    path.chmod(0o444)


def folder(path: Path) -> None:
    path.mkdir()


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (read_only, r"b\.yaml: is read-only; make it writable \(chmod u\+w\), or write elsewhere with --to DIR"),
        (folder, r"b\.yaml: is a folder, where a file is to be written"),
        (below_a_file, r"sub: is a file, where a folder is needed"),
    ],
)
def test_nothing_is_written_when_one_place_cannot_be(spoil: object, message: str, tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "sub" / "b.yaml"
    second.parent.mkdir()
    first.write_text("mine")
    spoil(second)  # type: ignore[operator]
    with pytest.raises(ExportError, match=message):
        write_all({first: "new", second: "new"})
    assert first.read_text() == "mine"
    assert not list(tmp_path.glob("*.bak"))


def test_a_failure_in_between_names_the_backups_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("mine")
    second.write_text("mine too")
    whole = writing.write_atomically

    def full(path: Path, content: bytes, mode: int) -> None:
        if path == second:
            raise OSError(28, "No space left on device", str(path))
        whole(path, content, mode)

    monkeypatch.setattr(writing, "write_atomically", full)
    with pytest.raises(ExportError, match=r"b\.yaml: cannot be written: No space left .* kept in .*a\.yaml\.bak"):
        write_all({first: "new", second: "new"})
    assert (tmp_path / "a.yaml.bak").read_text() == "mine"
    assert second.read_text() == "mine too"


def test_what_was_written_can_be_put_back(tmp_path: Path) -> None:
    old, same, new = tmp_path / "old", tmp_path / "same", tmp_path / "new"
    old.write_text("mine")
    same.write_text("new")
    put_back(write_all({old: "new", same: "new", new: "new"}))
    assert old.read_text() == "mine"
    assert same.read_text() == "new"
    assert names(tmp_path) == ["old", "same"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two models, one with a link to its weights, and what Python leaves behind."""
    for name in ("one", "two"):
        (tmp_path / "models" / name / "1" / "__pycache__").mkdir(parents=True)
        (tmp_path / "models" / name / "config.pbtxt").write_text("mine")
        (tmp_path / "models" / name / "1" / "model.py").write_text(name)
    (tmp_path / "weights.bin").write_text("heavy")
    (tmp_path / "models" / "one" / "1" / "weights.bin").symlink_to(tmp_path / "weights.bin")
    return tmp_path / "models"


def export_of(models: Path, *names: str) -> Export:
    path = Path("one/config.pbtxt")
    return Export({path: "tuned"}, {}, places={path: models / path}, folders={Path(n): models / n for n in names})


@pytest.mark.parametrize("link", [False, True])
def test_folders_are_copied_whole_but_for_what_is_written_anew(link: bool, models: Path, tmp_path: Path) -> None:
    to = tmp_path / "out" / "models"
    assert copy_all(export_of(models, "one", "two"), to, link=link) == [to / "one", to / "two"]
    found = sorted(str(path.relative_to(to)) for path in to.rglob("*") if path.is_file())
    assert found == ["one/1/model.py", "one/1/weights.bin", "two/1/model.py", "two/config.pbtxt"]
    weights = to / "one" / "1" / "weights.bin"
    assert not weights.is_symlink()
    assert weights.samefile(tmp_path / "weights.bin") == link


def test_what_was_copied_goes_again_and_nothing_else(models: Path, tmp_path: Path) -> None:
    (models / "environment.tar.gz").write_text("packed")
    (models / "group" / "three").mkdir(parents=True)
    to = tmp_path / "out"
    (to / "other").mkdir(parents=True)
    take_away(copy_all(export_of(models, "one", "environment.tar.gz", "group/three"), to, link=True), to)
    assert names(to) == ["other"]
    assert (tmp_path / "weights.bin").read_text() == "heavy"
    take_away(copy_all(export_of(models, "one"), tmp_path / "new", link=False), tmp_path / "new")
    assert names(tmp_path / "new") == []


def test_what_python_keeps_beside_its_modules_goes_from_a_copy(models: Path, tmp_path: Path) -> None:
    places = copy_all(export_of(models, "one"), tmp_path / "out", link=False)
    (places[0] / "1" / "__pycache__").mkdir()
    (places[0] / "1" / "__pycache__" / "model.pyc").write_bytes(b"x")
    without_caches(places)
    assert names(places[0] / "1") == ["model.py", "weights.bin"]


def test_a_file_beside_the_models_is_copied_too(models: Path, tmp_path: Path) -> None:
    (models / "environment.tar.gz").write_text("packed")
    copy_all(export_of(models, "one", "environment.tar.gz"), tmp_path / "out", link=False)
    assert (tmp_path / "out" / "environment.tar.gz").read_text() == "packed"


def test_a_whole_folder_is_copied_to_the_place_itself(models: Path, tmp_path: Path) -> None:
    export = Export({}, {}, folders={Path(): models})
    (tmp_path / "out").mkdir()
    copy_all(export, tmp_path / "out", link=False)
    assert (tmp_path / "out" / "two" / "config.pbtxt").read_text() == "mine"


def test_nothing_is_copied_over_what_stands_there(models: Path) -> None:
    with pytest.raises(ExportError, match=r"two: stands there already; give an empty folder with --to"):
        copy_all(export_of(models, "two", "one"), models, link=False)


def test_a_model_is_not_copied_into_itself(models: Path) -> None:
    with pytest.raises(ExportError, match="is inside of what is to be copied"):
        copy_all(export_of(models, "one"), models / "one" / "copy", link=False)


def test_a_copy_that_fails_leaves_nothing_half_done(models: Path, tmp_path: Path) -> None:
    (models / "one" / "1" / "gone.bin").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ExportError, match=r"not everything could be copied: .*gone"):
        copy_all(export_of(models, "one"), tmp_path / "out", link=False)
    assert names(tmp_path / "out") == []
