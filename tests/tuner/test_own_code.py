"""The modules that a file imports from its own folder."""

from pathlib import Path

from tuner.study.own_code import imported_beside

FILES = {
    "main.py": "import os.path, one\nfrom package.inner import x\ndef late():\n    from two import y\n",
    "one.py": "import three as other, main\n",
    "two.py": "from . import nowhere\nimport json\n",
    "three.py": "this is no Python\n",
    "package/__init__.py": "",
    "package/inner.py": "import four\n",
    "package/__pycache__/inner.py": "",
    "four.py": "",
    "unused.py": "",
}


def test_what_a_file_imports_from_its_folder_is_found_through_others(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [one.relative_to(tmp_path).as_posix() for one in imported_beside(tmp_path / "main.py")]
    assert found == ["four.py", "one.py", "package/__init__.py", "package/inner.py", "three.py", "two.py"]


def test_a_file_that_is_not_there_or_no_python_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("")
    (tmp_path / "odd.py").write_bytes(b"import one\n\0")
    for name in ("missing.py", "odd.py"):
        assert imported_beside(tmp_path / name) == []
