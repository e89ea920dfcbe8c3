"""`tune manifests` as a user calls it, and the page about it."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.pages import DOCS, blocks, follow, make_commands
from tests.support.tune import tune

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("manifests")
    shutil.copy(STUDIES / "digits.yaml", made)
    shutil.copytree(STUDIES / "digits", made / "digits")
    return made


def test_the_command_writes_a_file_and_says_what_is_left_to_do(folder: Path) -> None:
    (folder / "digits" / "test.npz").write_bytes(bytes(1 << 20))
    ended = tune("manifests", "digits.yaml", "--storage", "postgresql://tune@db/trials", "--to", "out", cwd=folder)
    shutil.copy(STUDIES / "digits" / "test.npz", folder / "digits")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "out/kubernetes.yaml\n"
    assert [one["kind"] for one in yaml.safe_load_all((folder / "out" / "kubernetes.yaml").read_text())] == [
        "ConfigMap",
        "Job",
    ]
    assert "in the ConfigMap: digits.yaml, digits/models/digits (" in ended.stderr
    assert "not in the ConfigMap: digits/test.npz (1,048,576 bytes in 1 file); the image has to have it as " in (
        ended.stderr
    )
    assert "a Secret digits-secrets with PGPASSWORD" in ended.stderr


def test_an_error_is_one_message_and_its_exit_code(folder: Path) -> None:
    ended = tune("manifests", "digits.yaml", "--workers", "2", cwd=folder)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("tune: --storage: workers share their trials in a database")


def test_the_page_about_manifests_can_be_followed(tmp_path: Path) -> None:
    page = DOCS / "manifests.md"
    printed = follow(page, tmp_path, make_commands(tmp_path / "bin"))
    shown = [block.text for block in blocks(page) if block.language == "yml" and not block.file]
    rendered = [one for text in printed for one in yaml.safe_load_all(text) if isinstance(one, dict)]
    rendered += [one for path in tmp_path.glob("*/*.yaml") for one in yaml.safe_load_all(path.read_text())]
    for text in shown:
        part = yaml.safe_load(text)
        assert any(part.items() <= one.items() for one in rendered), text
    assert shown
