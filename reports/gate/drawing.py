"""Charts as SVG, drawn by hand: a page with them is small and needs no script."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from tuner.gate.document import Measured
from tuner.gate.histogram import upper_s

OLD, NEW, STEP = "#0072B2", "#D55E00", "#009E73"
"""Colours of Okabe and Ito's palette: told apart by colour-blind readers as well."""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 260, 72, 40, 16, 40


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: in the legend; "" where another one of its kind stands there.
        colour: of the line.
        points: (x, y) pairs, in order.
        dots: what is said of each point; () draws a line without dots.
        dashed: whether the line is.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dots: Sequence[str] = ()
    dashed: bool = False


def overlay(old: Measured | None, new: Measured, label: str) -> str:
    """Return both latency distributions in one chart: share of the requests per bucket over a log scale of latency.

    A request that failed has no latency, and is one of them all the same; the legend says how many did.
    """
    sides = [("old", OLD, old), ("new", NEW, new)]
    series = [Series(_named(name, one), colour, _shares(one)) for name, colour, one in sides if one and one.latency]
    return chart(label, series, x=_milliseconds, y=lambda value: f"{value * 100:.3g}%", log_x=True)


def _named(name: str, measured: Measured) -> str:
    failed = sum(one.errors for one in measured.restarts)
    return f"{name}, {failed / sum(one.requests for one in measured.restarts):.2%} failed" if failed else name


def _shares(measured: Measured) -> list[tuple[float, float]]:
    buckets = measured.latency
    total = max(sum(buckets.values()), sum(one.requests for one in measured.restarts))
    first, last = min(buckets) - 1, max(buckets) + 1
    return [(upper_s(one), buckets.get(one, 0) / total) for one in range(first, last + 1)]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def chart(
    label: str,
    series: Sequence[Series],
    *,
    x: Callable[[float], str],
    y: Callable[[float], str],
    log_x: bool = False,
    from_zero: bool = True,
    ticks_x: Sequence[float] = (),
) -> str:
    """Return a chart as SVG.

    Args:
        label: what it shows, for readers that see no picture.
        series: its lines; without a point there is nothing but the axes.
        x: how a position on the horizontal axis is written.
        y: the same of the vertical axis.
        log_x: whether the horizontal axis is logarithmic.
        from_zero: whether the vertical axis begins at 0.
        ticks_x: what is written below the horizontal axis; () for five places at the same distance.
    """
    points = [point for one in series for point in one.points]
    if not points:
        return ""
    across = _axis([point[0] for point in points], LEFT, WIDTH - RIGHT, log=log_x)
    heights = [point[1] for point in points]
    up = _axis([*heights, 0.0] if from_zero else _padded(heights), HEIGHT - BOTTOM, TOP, log=False)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label, quote=True)}">']
    parts += [_tick_x(at, across(at), x) for at in ticks_x or across.ticks] + [
        _tick_y(at, up(at), y) for at in up.ticks
    ]
    parts += [part for one in series for part in _drawn(one, across, up)]
    for number, one in enumerate(one for one in series if one.name):
        place = LEFT + 8 + 150 * number
        parts.append(f'<rect x="{place}" y="{HEIGHT - 10}" width="14" height="4" fill="{one.colour}"/>')
        parts.append(f'<text x="{place + 20}" y="{HEIGHT - 4}">{escape(one.name)}</text>')
    return "".join([*parts, "</svg>"])


def _drawn(one: Series, across: "_Axis", up: "_Axis") -> list[str]:
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in one.points)
    dash = ' stroke-dasharray="6 4"' if one.dashed else ""
    parts = [f'<polyline points="{path}" fill="none" stroke="{one.colour}" stroke-width="2"{dash}/>']
    for (x, y), said in zip(one.points, one.dots, strict=False):
        dot = f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="4" fill="{one.colour}">'
        parts.append(f"{dot}<title>{escape(said)}</title></circle>")
    return parts


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        return self.start + (self.end - self.start) * ((at - low) / (high - low) if high > low else 0.5)


def _axis(values: Sequence[float], start: float, end: float, *, log: bool) -> _Axis:
    low, high = min(values), max(values)
    steps = [index / 4 for index in range(5)]
    if log:
        ticks = tuple(low * (high / low) ** step for step in steps)
    else:
        ticks = tuple(low + (high - low) * step for step in steps)
    return _Axis(low, high, start, end, log, ticks if high > low else (low,))


def _padded(values: Sequence[float]) -> list[float]:
    room = (max(values) - min(values)) * 0.1 or abs(values[0]) * 0.05 or 1.0
    return [min(values) - room, max(values) + room]


def _tick_x(at: float, place: float, said: Callable[[float], str]) -> str:
    return f'<text x="{place:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(said(at))}</text>'


def _tick_y(at: float, place: float, said: Callable[[float], str]) -> str:
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}" class="grid"/>'
    return f'{line}<text x="{LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{escape(said(at))}</text>'
