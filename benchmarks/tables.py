"""The benchmarks' sections of the documentation: each script writes its own."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def machine() -> str:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} CPUs ({model}), Linux {kernel}, Python {platform.python_version()}"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def write_section(name: str, body: str, page: Path = PAGE) -> None:
    """Replace what stands between a page's marks for this benchmark.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    text = page.read_text()
    if begin not in text or end not in text:
        raise ValueError(f"{page}: no {begin} ... {end}")
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    section = f"{begin}\n{today}, {machine()}\n\n{body}\n{end}"
    page.write_text(re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: section, text, flags=re.DOTALL))
