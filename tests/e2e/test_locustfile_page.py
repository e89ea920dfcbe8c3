"""docs/locustfile.md: its server, its locustfile and its study lead to an answer."""

from pathlib import Path

import pytest

from tests.support.pages import DOCS, follow, make_commands


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    return make_commands(tmp_path / "bin")


def test_the_study_of_the_page_is_tuned(tmp_path: Path, commands: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (printed,) = follow(DOCS / "locustfile.md", folder, commands)
    assert "workers" in printed
    assert "users" in printed
    assert (folder / "runs" / "shop" / "latest" / "locust.log").is_file()
