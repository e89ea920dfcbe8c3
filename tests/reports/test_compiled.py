"""What is made of packages' own files is made once, and anew where they are others or what was kept is spoiled."""

import importlib.util
import sys
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment

from reports import compiled


@pytest.fixture(autouse=True)
def kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is written into."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    return Path(importlib.util.cache_from_source(compiled.__file__)).parent


def never() -> bytes:
    pytest.fail("made though it was kept")


def test_what_was_kept_is_taken(kept_in: Path) -> None:
    assert compiled.kept("one", b"sources", lambda: b"made") == b"made"
    assert compiled.kept("one", b"sources", never) == b"made"
    assert [path.name for path in kept_in.iterdir()] == ["one"]


def test_other_sources_are_made_anew() -> None:
    compiled.kept("one", b"sources", lambda: b"made")
    assert compiled.kept("one", b"others", lambda: b"anew") == b"anew"
    assert compiled.kept("one", b"others", never) == b"anew"


@pytest.mark.parametrize("spoil", [lambda content: content[:-1], lambda _: b"", lambda content: content + b"x"])
def test_a_spoiled_file_is_made_anew(spoil: object, kept_in: Path) -> None:
    assert callable(spoil)
    compiled.kept("one", b"sources", lambda: b"made")
    (kept_in / "one").write_bytes(spoil((kept_in / "one").read_bytes()))
    assert compiled.kept("one", b"sources", lambda: b"anew") == b"anew"


def test_nothing_is_written_where_python_may_not_either(kept_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert compiled.kept("one", b"sources", lambda: b"made") == b"made"
    assert not kept_in.exists()


def test_a_place_that_cannot_be_written_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "file"))
    assert compiled.kept("one", b"sources", lambda: b"made") == b"made"


def said(template: str, name: str = "page") -> str:
    made = Environment(loader=DictLoader({"one": template}), autoescape=True, bytecode_cache=compiled.Templates(name))
    return made.get_template("one").render(word="<b>")


def test_templates_are_kept_and_compiled_anew_where_they_are_others(kept_in: Path) -> None:
    assert said("a {{ word }}") == said("a {{ word }}") == "a &lt;b&gt;"
    assert said("b {{ word }}") == "b &lt;b&gt;"
    assert len(list(kept_in.iterdir())) == 1
    assert said("b {{ word }}", "mail") == "b &lt;b&gt;"
    assert len(list(kept_in.iterdir())) == 2


def test_a_spoiled_template_is_compiled_anew(kept_in: Path) -> None:
    said("a {{ word }}")
    (path,) = kept_in.iterdir()
    for content in (b"", path.read_bytes()[:-7], b"x"):
        path.write_bytes(content)
        assert said("a {{ word }}") == "a &lt;b&gt;"
