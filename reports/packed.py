"""What a page carries beside its text: scripts, and data that is deflated to keep the page small."""

import base64
import json
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from markupsafe import Markup

from reports.columns import Columns

RAW_DEFLATE = -15
LEVEL = 6
"""Of the compression: 9 takes a third longer for a plotly that is 0.2% smaller."""


def script(name: str) -> Markup:
    """Return a script of the package, to stand in a page."""
    return Markup((files("reports") / "static" / name).read_text())  # noqa: S704 - our own, and no data in it


def packed(name: str, text: str, level: int = LEVEL) -> Markup:
    """Return a text as an element that static/unpack.js reads: deflated (RFC 1951), in base64.

    Args:
        name: id of the element.
        text: any text.
        level: of the compression, 0 (none) to 9 (small).
    """
    content = text.encode()
    deflate = zlib.compressobj(level, zlib.DEFLATED, RAW_DEFLATE)
    data = base64.b64encode(deflate.compress(content) + deflate.flush()).decode()
    element = '<script type="text/plain" id="{}" data-bytes="{}">{}</script>'
    return Markup(element).format(name, len(content), data)  # noqa: S704 - what is put in is escaped


def packed_files(texts: Mapping[str, str], digits: int | None = None) -> Markup:
    """Return files, name to content, as the element that static/files.js takes downloads from.

    Args:
        texts: files of CSV and JSON by their endings, as `Columns` takes them, and others as they are.
        digits: significant digits that a number in JSON keeps, None: all.
    """
    columns = Columns(digits)
    apart: dict[str, object] = {}
    for name, text in texts.items():
        if name.endswith(".csv"):
            apart[name] = {"csv": columns.csv(text)}
        elif name.endswith(".json"):
            apart[name] = {"json": columns.json(text)}
        else:
            apart[name] = {"text": text}
    document = {"files": apart, "pool": list(columns.pool)}
    return packed("packed-files", json.dumps(document, separators=(",", ":"), ensure_ascii=False))


@cache
def packed_library(text: str) -> Markup:
    """Return plotly's script as an element; it is the same for every page of a process."""
    return packed("packed-plotly", text)
