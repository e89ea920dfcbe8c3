"""What a host's server is started with is told from that of others by its content, wherever it stands."""

import os
from pathlib import Path

import pytest

from tests.support.simulated_study import slow_down, write_simulated_study
from tuner.hosts import contents as module
from tuner.hosts.contents import contents
from tuner.study.load import load_study


def of(folder: Path) -> dict[str, str]:
    return contents(load_study(folder / "study.yaml"))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "other"):
        write_simulated_study(tmp_path / name)
    return tmp_path / "one", tmp_path / "other"


def test_the_same_files_in_other_folders_of_another_time_are_the_same(folders: tuple[Path, Path]) -> None:
    one, other = folders
    for folder in folders:
        (folder / "models" / "queue" / "1").mkdir()
        (folder / "models" / "queue" / "1" / "weights").write_bytes(b"w" * 100)
    os.utime(one / "models" / "queue" / "queue.json", (1, 1))
    (other / "models" / "queue" / ".lock").touch()
    assert of(one) == of(other)
    assert set(of(one)) == {"queue.json", "1"}


def test_another_content_of_the_same_size_differs_and_is_found_by_its_folder(folders: tuple[Path, Path]) -> None:
    one, other = folders
    slow_down(one, 10.0)
    slow_down(other, 20.0)
    for folder, weights in ((one, b"old"), (other, b"new")):
        (folder / "models" / "queue" / "1").mkdir()
        (folder / "models" / "queue" / "1" / "weights").write_bytes(weights)
    there, here = of(one), of(other)
    assert there.keys() == here.keys()
    assert all(there[name] != here[name] for name in there)


@pytest.mark.parametrize("place", [0, 150, 299])
def test_a_large_file_is_read_in_pieces_from_its_first_to_its_last_byte(
    place: int, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE_BYTES", 100)
    monkeypatch.setattr(module, "SAMPLE_BYTES", 10)
    one, other = folders
    changed = bytearray(b"w" * 300)
    changed[place] = 0
    for folder, weights in ((one, b"w" * 300), (other, bytes(changed))):
        (folder / "models" / "queue" / "weights").write_bytes(weights)
    there, here = of(one), of(other)
    assert there["queue.json"] == here["queue.json"]
    assert there["weights"] != here["weights"]


def test_the_folders_of_several_models_are_told_apart(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    lines = study.read_text().replace("kind: simulated, model: queue, repository: models", "kind: triton, TRITON")
    with_variants = "model: queue, repository: models, variants: {other: {model: spare}}"
    study.write_text(lines.replace("TRITON", with_variants))
    (tmp_path / "models" / "spare").mkdir()
    (tmp_path / "models" / "spare" / "queue.json").write_text("{}")
    assert set(of(tmp_path)) == {"queue/queue.json", "spare/queue.json"}
