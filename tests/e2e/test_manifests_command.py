"""`tune manifests` as a user calls it, and the page about it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.support.pages import DOCS, blocks, follow, make_commands
from tuner.cli.deploying import manifests

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where somebody stands, with a study whose requests are too large for a ConfigMap."""
    shutil.copy(STUDIES / "digits.yaml", tmp_path)
    shutil.copytree(STUDIES / "digits", tmp_path / "digits")
    (tmp_path / "digits" / "test.npz").write_bytes(bytes(1 << 20))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))


def test_the_command_writes_a_file_and_says_what_is_left_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests(Path("digits.yaml"), storage="postgresql://tune@db/trials", to=Path("out"))
    printed, said = capsys.readouterr()
    assert printed == "out/kubernetes.yaml\n"
    assert [one["kind"] for one in documents(folder / "out" / "kubernetes.yaml")] == ["ConfigMap", "Job"]
    assert "in the ConfigMap: digits.yaml, digits/models/digits (" in said
    assert "not in the ConfigMap: digits/test.npz (1,048,576 bytes in 1 file); the image has to have it as " in said
    assert "/study/digits/test.npz; or give --volume CLAIM" in said
    assert "a Secret digits-secrets with PGPASSWORD" in said


def test_with_a_volume_nothing_is_left_to_the_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = ["target.launch=remote", "target.url=http://triton:8000"]
    manifests(Path("digits.yaml"), agents=1, volume="data", results="runs", to=folder, overrides=elsewhere)
    said = capsys.readouterr().err
    assert "in the volume data: digits/test.npz (1,048,576 bytes in 1 file)" in said
    assert "the image" not in said
    assert "--results" not in said


def test_a_compose_file_has_the_folders_that_it_needs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifests(Path("digits.yaml"), "compose", workers=2, to=Path("out"))
    assert "a file .env beside it with PGPASSWORD" in capsys.readouterr().err
    (document,) = documents(folder / "out" / "compose.yaml")
    for service in ("worker-0", "worker-1"):
        for mount in document["services"][service]["volumes"]:
            assert (folder / "out" / mount["source"]).is_dir(), "compose makes none"


def test_an_error_is_one_message_and_its_exit_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        manifests(folder / "digits.yaml", workers=2)
    printed, said = capsys.readouterr()
    assert (ended.value.exit_code, printed) == (2, "")
    assert said.startswith("tune: --storage: workers share their trials in a database")


def test_agents_of_a_server_that_only_the_run_reaches_are_a_usage_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        manifests(Path("digits.yaml"), agents=3, to=Path("out"))
    printed, said = capsys.readouterr()
    assert (ended.value.exit_code, printed) == (2, "")
    assert said.startswith("tune: digits.yaml:5: target: Paretune starts this server, ")
    assert not (folder / "out").exists()


def mappings(data: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a document."""
    if isinstance(data, dict):
        yield data
    for inner in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from mappings(inner)


def test_the_page_about_manifests_can_be_followed(tmp_path: Path) -> None:
    page = DOCS / "manifests.md"
    follow(page, tmp_path, make_commands(tmp_path / "bin"))
    rendered = [one for path in tmp_path.glob("*/*.yaml") for one in documents(path)]
    shown = [yaml.safe_load(block.text) for block in blocks(page) if block.language == "yml"]
    assert shown
    for part in shown:
        assert any(all(one.get(key) == value for key, value in part.items()) for one in mappings(rendered)), part
