"""What a page carries beside its text: scripts, and data that is deflated to keep the page small."""

import base64
import json
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from markupsafe import Markup

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


def packed_files(texts: Mapping[str, str]) -> Markup:
    """Return files, name to content, as the element that static/files.js takes downloads from."""
    return packed("packed-files", json.dumps(texts, ensure_ascii=False))


@cache
def packed_library(text: str) -> Markup:
    """Return plotly's script as an element; it is the same for every page of a process."""
    return packed("packed-plotly", text)
