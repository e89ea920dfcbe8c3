"""The documentation as a static site: it builds without a warning, fetches nothing, and reads as the files do."""

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
STRUCTURE = ("h1", "h2", "h3", "h4", "ul", "ol", "li", "table", "tr", "pre", "img", "blockquote", "strong")
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("form", "action"), ("link", "href")}
"""What a browser asks for by itself; `a href` is asked for by the reader."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A page outside of the navigation, a dead link or a dead anchor ends the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return folder


class Tags(HTMLParser):
    """What a page is made of: the tags of its article, and what a browser loads for it."""

    def __init__(self, html: str, *, inside: bool) -> None:
        super().__init__()
        self.structure: Counter[str] = Counter()
        self.loaded: list[str] = []
        self._inside = inside
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside |= tag == "article"
        if self._inside and tag in STRUCTURE:
            self.structure[tag] += 1
        self.loaded += [value or "" for name, value in attrs if (tag, name) in LOADED]

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "article"


def test_every_page_is_built(site: Path) -> None:
    assert {page.relative_to(DOCS).with_suffix(".html") for page in PAGES} <= {
        page.relative_to(site) for page in site.rglob("*.html")
    }


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    loaded = {one for page in pages for one in Tags(page.read_text(), inside=False).loaded}
    assert len(loaded) > len(STRUCTURE)
    assert not [one for one in loaded if re.match(r"(?:\w+:)?//", one)]


def test_no_style_sheet_loads_anything_from_elsewhere(site: Path) -> None:
    sheets = list(site.rglob("*.css"))
    assert sheets
    named = [
        one for sheet in sheets for one in re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s]+)", sheet.read_text())
    ]
    assert not [one for one in named if re.match(r"(?:https?:)?//", one)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_reads_on_the_site_as_in_the_file_view(page: Path, site: Path) -> None:
    """Two dialects of Markdown: lists, tables and blocks have to come out of both alike."""
    in_file = Tags(MarkdownIt("commonmark").enable("table").render(page.read_text()), inside=True)
    on_site = Tags((site / page.relative_to(DOCS).with_suffix(".html")).read_text(), inside=False)
    assert on_site.structure == in_file.structure
