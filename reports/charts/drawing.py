"""A chart as plain data, and as the piece of HTML that the page's script draws it from."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from markupsafe import Markup

from reports.digits import short

Trace: TypeAlias = Mapping[str, object]
"""A trace as plotly's reference describes it."""
Layout: TypeAlias = Mapping[str, object]
DIGITS = 5
"""Significant digits of a number in the page, at least."""
LOG_TICKS = ",~r"
"""How plotly writes the numbers along a logarithmic axis: without powers of ten."""


@dataclass(frozen=True)
class Picture:
    """What is drawn at once.

    Attributes:
        traces: in the order in which they are drawn.
        layout: axes and what stands beside them; colours, fonts and margins are the theme's.
        finding: what it shows, as a sentence for those who do not see it; plain text.
    """

    traces: Sequence[Trace]
    layout: Layout
    finding: str


@dataclass(frozen=True)
class Choice:
    """Something that the reader chooses.

    Attributes:
        name: of the control, unique in the chart; letters and hyphens.
        label: what stands before it.
        options: what is chosen among, the first to begin with.
    """

    name: str
    label: str
    options: Sequence[str]


@dataclass(frozen=True)
class Drawing:
    """A chart.

    Attributes:
        name: unique in the page, letters and hyphens.
        choices: what the reader chooses.
        pictures: one for each combination of options, by their positions joined with hyphens; "" without choices.
        note: how it is read, plain text.
        height: in pixels.
    """

    name: str
    pictures: Mapping[str, Picture]
    choices: Sequence[Choice] = ()
    note: str = ""
    height: int = 480

    @property
    def first(self) -> Picture:
        """What is seen before anything is chosen."""
        return self.pictures["-".join("0" for _ in self.choices)]


def one(name: str, picture: Picture, note: str = "", height: int = 480) -> Drawing:
    """Return a chart without choices."""
    return Drawing(name, {"": picture}, (), note, height)


def html(drawing: Drawing | None, *, controls: str = "", after: str = "") -> Markup:
    """Return a chart as HTML, "" for None; the page has to have the scripts of `plot.library`.

    Args:
        drawing: the chart.
        controls: HTML of further controls, beside those of its choices.
        after: HTML behind its caption.
    """
    if drawing is None:
        return Markup("")
    content = {
        key: {"data": picture.traces, "layout": picture.layout, "finding": picture.finding}
        for key, picture in drawing.pictures.items()
    }
    # Every text below is escaped by Markup.format; what is passed as HTML was made of escaped parts.
    chosen = Markup("").join(
        select(drawing.name, choice.name, choice.label, choice.options, "choice") for choice in drawing.choices
    )
    bar = chosen + Markup(controls)  # noqa: S704
    return Markup(
        '<figure class="drawing" id="{name}" data-height="{height}" style="margin:0">\n'
        '{bar}<div class="plot" role="img" aria-label="{finding}" style="min-height:{height}px"></div>\n'
        '<figcaption class="faint"><span class="finding">{finding}</span> {note}</figcaption>\n'
        '<script type="application/json" class="pictures">{content}</script>{after}</figure>'
    ).format(
        name=drawing.name,
        height=drawing.height,
        bar=Markup('<div class="controls">{}</div>\n').format(bar) if bar else "",
        finding=drawing.first.finding,
        note=drawing.note,
        content=as_json(content),
        after=Markup(after),  # noqa: S704 - as above
    )


def select(figure: str, name: str, label: str, options: Iterable[str], kind: str = "") -> Markup:
    """Return a labelled <select> whose values are the options' positions, hidden with one; `kind` is its class."""
    identity = f"{figure}-{name}"
    made = [Markup('<option value="{}">{}</option>').format(index, option) for index, option in enumerate(options)]
    listed = Markup("").join(made)
    return Markup(
        '<label for="{id}"{hidden}>{label} <select id="{id}" name="{name}" class="{kind}">{listed}</select></label> '
    ).format(
        id=identity,
        label=label,
        name=name,
        kind=kind,
        listed=listed,
        hidden=Markup("") if len(made) > 1 else Markup(" hidden"),
    )


def as_json(content: object) -> Markup:
    """Return data as JSON that can stand inside a <script> element; what is not finite becomes null."""
    text = json.dumps(_plain(content), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028"))  # noqa: S704 - no tag can begin in it


def _plain(value: object) -> object:
    """Return a value as `json` takes it; what there is most of is asked for first."""
    if isinstance(value, float):
        return significant(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict | Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return _plain_ones(value) if isinstance(value, list | Sequence) else value


def _plain_ones(values: Sequence[object]) -> Sequence[object]:
    """Return the items of a list as `json` takes them; most are numbers."""
    floats = [value for value in values if isinstance(value, float)]
    if not floats:
        return [_plain(value) for value in values]
    numbers = map(_significant, floats, short(floats, DIGITS))
    return [next(numbers) if isinstance(value, float) else _plain(value) for value in values]


def significant(value: float) -> float | int | None:
    """Return a number with DIGITS significant digits, whole numbers as such; None for what is not finite.

    A larger number has all its digits before the point: tables elsewhere in the page have them. A number whose short
    form ends with a 5 keeps all its digits: it is rounded once more where it is shown, and might go the other way.
    """
    return _significant(value, f"{value:.{DIGITS}g}")


def _significant(value: float, few: str) -> float | int | None:
    """Return a number as `significant` does, of which it is known how it is spelled with DIGITS digits."""
    if not math.isfinite(value):
        return None
    if abs(value) >= 10**DIGITS:
        return round(value)
    rounded = float(few)
    if rounded == int(rounded):
        return int(rounded)
    return value if few.partition("e")[0].endswith("5") else rounded


def text_of(value: str) -> str:
    """Return a text as plotly shows it unchanged: it takes some HTML for markup in titles, names and hover texts."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
