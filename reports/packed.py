"""What a page carries beside its text: scripts, and data that is deflated to keep the page small."""

import base64
import json
import zlib
from collections.abc import Mapping
from functools import cache, partial
from importlib.resources import files

from markupsafe import Markup

from reports.columns import Columns
from reports.compiled import kept

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
    return _element(name, len(content), _deflated(content, level))


def _deflated(content: bytes, level: int = LEVEL) -> bytes:
    deflate = zlib.compressobj(level, zlib.DEFLATED, RAW_DEFLATE)
    return deflate.compress(content) + deflate.flush()


def _element(name: str, size: int, deflated: bytes) -> Markup:
    # A text in base64 has nothing to escape.
    data = Markup(base64.b64encode(deflated).decode())  # noqa: S704
    return Markup('<script type="text/plain" id="{}" data-bytes="{}">{}</script>').format(name, size, data)


def packed_files(contents: Mapping[str, object], digits: int | None = None) -> Markup:
    """Return files, their contents by their names, as the element that static/files.js takes downloads from.

    Args:
        contents: of CSV and JSON by their endings, as `Columns` takes them, and of others as they are.
        digits: significant digits that a number in JSON keeps, None: all.
    """
    columns = Columns(digits)
    apart: dict[str, object] = {}
    for name, content in contents.items():
        if name.endswith(".csv"):
            apart[name] = {"csv": columns.csv(str(content))}
        elif name.endswith(".json"):
            apart[name] = {"json": columns.json(content)}
        else:
            apart[name] = {"text": content}
    document = {"files": apart, "pool": list(columns.pool)}
    return packed("packed-files", json.dumps(document, separators=(",", ":"), ensure_ascii=False))


@cache
def packed_library(text: str) -> Markup:
    """Return plotly's script as an element; it is the same for every page."""
    content = text.encode()
    settings = f"{zlib.ZLIB_RUNTIME_VERSION} {LEVEL} ".encode()
    deflated = kept("plotly.deflated", settings + content, partial(_deflated, content))
    return _element("packed-plotly", len(content), deflated)
